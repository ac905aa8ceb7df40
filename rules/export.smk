# Export: what people and other tools look at: annotated videos and COCO-results JSON. CPU rules, apart from inference, so
# that a new line width never infers again.
#
# NEEDS    predictions or tracks, and the manifest
# MAKES    index.json (what was written) and beside it one mp4 (or jpg) and one JSON per video


rule export_predictions:
    input:
        manifest="results/videos/{dataset}/manifest.parquet",
        classes="results/videos/{dataset}/classes.json",
        predictions="results/predictions/{dataset}/{variant}/seed={seed}/tta={tta}.parquet",
    output:
        index="results/exports/{dataset}/{variant}/seed={seed}/tta={tta}/index.json",
        meta="results/exports/{dataset}/{variant}/seed={seed}/tta={tta}/meta.json",
    log:
        "results/logs/exports/{dataset}/{variant}/seed={seed}/tta={tta}.log",
    benchmark:
        "results/benchmarks/exports/{dataset}/{variant}/seed={seed}/tta={tta}.tsv"
    conda:
        "../envs/vision.yaml"
    resources:
        mem_mb=4_000,
        runtime=120,
    params:
        settings=jobs.export_predictions,
        code=inputs.code(
            "workflow_scripts/export.py",
            "lib/inference/export.py",
            "lib/inference/draw.py",
        ),
    message:
        "Drawing {wildcards.variant}'s boxes (seed {wildcards.seed}, views {wildcards.tta}) on videos of {wildcards.dataset}."
    shell:
        "python -m workflow_scripts.export predictions --settings {params.settings:q} --manifest {input.manifest:q}"
        " --classes {input.classes:q} --boxes {input.predictions:q} --output {output.index:q} > {log:q} 2>&1"


rule export_tracks:
    input:
        manifest="results/videos/{dataset}/manifest.parquet",
        classes="results/videos/{dataset}/classes.json",
        tracks=inputs.all_chunks("results/tracks/{dataset}/{detector}/{tracker}/chunk={chunk}.parquet"),
    output:
        index="results/exports/{dataset}/{detector}/{tracker}/index.json",
        meta="results/exports/{dataset}/{detector}/{tracker}/meta.json",
    log:
        "results/logs/exports/{dataset}/{detector}/{tracker}.log",
    benchmark:
        "results/benchmarks/exports/{dataset}/{detector}/{tracker}.tsv"
    conda:
        "../envs/vision.yaml"
    resources:
        mem_mb=4_000,
        runtime=120,
    params:
        settings=jobs.export_tracks,
        code=inputs.code(
            "workflow_scripts/export.py",
            "lib/inference/export.py",
            "lib/inference/draw.py",
        ),
    message:
        "Drawing tracks of {wildcards.detector} with {wildcards.tracker} on videos of {wildcards.dataset}."
    shell:
        "python -m workflow_scripts.export tracks --settings {params.settings:q} --manifest {input.manifest:q}"
        " --classes {input.classes:q} --boxes {input.tracks:q} --output {output.index:q} > {log:q} 2>&1"
