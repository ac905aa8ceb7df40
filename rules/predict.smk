# Predict: boxes of one trained variant on the test videos, plain or merged over test-time views. [GPU]
#
# NEEDS    the model and the manifest of the dataset that it is tested on
# MAKES    tta={tta}.parquet (the detections' columns)


rule predict:
    input:
        manifest="results/videos/{dataset}/manifest.parquet",
        classes="results/videos/{dataset}/classes.json",
        model=inputs.tested_model,
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
        " --classes {input.classes:q} --model {input.model:q} --seed {wildcards.seed:q}"
        " --output {output.predictions:q} > {log:q} 2>&1"
