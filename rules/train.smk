# Train: one variant with one seed; floors are fitted, pretrained weights and ensembles carded here too, so that all go one way.
#
# NEEDS    the arm's frames, the shards they lie in, starting weights where asked
# MAKES    model.weights, model.json (format, class names, input size, sha256, status), history.csv, meta.json.
#          Beside them, undeclared: state/ (what a killed training goes on from; removed on success) and attempts/. [GPU]


rule train:
    input:
        subset=inputs.train_subset,
        shards=inputs.train_shards,
        weights=inputs.train_weights,
        members=inputs.member_models,
    output:
        weights="results/train/{dataset}/{variant}/seed={seed}/model.weights",
        card="results/train/{dataset}/{variant}/seed={seed}/model.json",
        history="results/train/{dataset}/{variant}/seed={seed}/history.csv",
        meta="results/train/{dataset}/{variant}/seed={seed}/meta.json",
    log:
        "results/logs/train/{dataset}/{variant}/seed={seed}.log",
    benchmark:
        "results/benchmarks/train/{dataset}/{variant}/seed={seed}.tsv"
    conda:
        "../envs/vision.yaml"
    threads: train_threads
    resources:
        gpu=train_gpus,
        mem_mb=train_memory,
        runtime=train_minutes,
        attempt_number=lambda wildcards, attempt: attempt,
    params:
        settings=jobs.train,
    message:
        "Training {wildcards.variant} on {wildcards.dataset}, seed {wildcards.seed}."
    shell:
        "python -m workflow_scripts.train --settings {params.settings:q} --seed {wildcards.seed:q}"
        " --subset {input.subset:q} --shards {input.shards:q} --weights {input.weights:q}"
        " --members {input.members:q} --threads {threads:q} --attempt {resources.attempt_number:q} --runtime {resources.runtime:q}"
        " --output {output.card:q} > {log:q} 2>&1"
