# Predict: what one trained variant says of the test videos (boxes, …), plain or merged over test-time views. [GPU]
#
# NEEDS    the model and the manifest of the dataset that it is tested on; its samples, where the task reads those; of an
#          ensemble the predictions of its members
# MAKES    tta={tta}.parquet (the columns of the task's predictions: lib/config/tasks.py, lib/tables.py)


rule predict:
    input:
        manifest="results/videos/{dataset}/manifest.parquet",
        classes="results/videos/{dataset}/classes.json",
        model=inputs.tested_model,
        shards=inputs.tested_shards,
        members=inputs.member_predictions,
    output:
        predictions="results/predictions/{dataset}/{variant}/seed={seed}/tta={tta}.parquet",
        meta="results/predictions/{dataset}/{variant}/seed={seed}/tta={tta}.meta.json",
    log:
        "results/logs/predictions/{dataset}/{variant}/seed={seed}/tta={tta}.log",
    benchmark:
        "results/benchmarks/predictions/{dataset}/{variant}/seed={seed}/tta={tta}.tsv"
    conda:
        "../envs/vision.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=8_000,
        runtime=240,
    params:
        settings=jobs.predict,
    message:
        "Predicting {wildcards.dataset} with {wildcards.variant}, seed {wildcards.seed}, views {wildcards.tta}."
    shell:
        "python -m workflow_scripts.predict --settings {params.settings:q} --manifest {input.manifest:q}"
        " --classes {input.classes:q} --model {input.model:q} --shards {input.shards:q} --seed {wildcards.seed:q}"
        " --members {input.members:q} --output {output.predictions:q} > {log:q} 2>&1"
