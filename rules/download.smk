# Download: media and annotations of a dataset, from a folder, a table of addresses, a mirror or the synthetic world.
#
# NEEDS    the files that the dataset's `source:` block names (annotation files are inputs; folders enter by a digest)
# MAKES    manifest.parquet (one row per video), quality.csv, classes.json, truth/*.parquet: the one form that all later
#          stages read. Media are referenced, not copied. Local rule: compute nodes often have no internet.


rule download:
    input:
        annotations=inputs.annotations,
    output:
        manifest="results/videos/{dataset}/manifest.parquet",
        quality="results/videos/{dataset}/quality.csv",
        classes="results/videos/{dataset}/classes.json",
        frames="results/videos/{dataset}/truth/frames.parquet",
        boxes="results/videos/{dataset}/truth/boxes.parquet",
        tracks="results/videos/{dataset}/truth/tracks.parquet",
        queries="results/videos/{dataset}/truth/queries.parquet",
        relations="results/videos/{dataset}/truth/relations.parquet",
        captions="results/videos/{dataset}/truth/captions.parquet",
        answers="results/videos/{dataset}/truth/answers.parquet",
        detections="results/videos/{dataset}/truth/detections.parquet",
        meta="results/videos/{dataset}/meta.json",
    log:
        "results/logs/videos/{dataset}.log",
    benchmark:
        "results/benchmarks/videos/{dataset}.tsv"
    retries: 2
    localrule: True
    conda:
        "../envs/vision.yaml"
    threads: 4
    params:
        settings=jobs.download,
        digest=inputs.raw_digest,
    message:
        "Getting dataset {wildcards.dataset}: files, splits and truth tables."
    shell:
        "python -m workflow_scripts.download --settings {params.settings:q} --dataset {wildcards.dataset:q}"
        " --output {output.manifest:q} --workers {threads:q} > {log:q} 2>&1"
