# Evaluate: scores of predictions and of tracks against the truth.
#
# NEEDS    predictions or tracks, and the truth tables
# MAKES    tta={tta}.json (scores) and tta={tta}.units.parquet (one row per video, what the intervals are drawn from);
#          tracks.json and tracks.units.parquet (counts, lengths, frames/s always; HOTA, MOTA, IDF1 where true tracks exist)


rule evaluate:
    input:
        manifest="results/videos/{dataset}/manifest.parquet",
        classes="results/videos/{dataset}/classes.json",
        truth=inputs.truths,
        predictions="results/predictions/{dataset}/{variant}/seed={seed}/tta={tta}.parquet",
        model=inputs.tested_model,
    output:
        scores="results/metrics/{dataset}/{variant}/seed={seed}/tta={tta}.json",
        units="results/metrics/{dataset}/{variant}/seed={seed}/tta={tta}.units.parquet",
        meta="results/metrics/{dataset}/{variant}/seed={seed}/tta={tta}.meta.json",
    log:
        "results/logs/metrics/{dataset}/{variant}/seed={seed}/tta={tta}.log",
    benchmark:
        "results/benchmarks/metrics/{dataset}/{variant}/seed={seed}/tta={tta}.tsv"
    localrule: True
    conda:
        "../envs/report.yaml"
    params:
        settings=jobs.evaluate,
        code=inputs.scoring_code,
    message:
        "Scoring {wildcards.variant} on {wildcards.dataset}, seed {wildcards.seed}, views {wildcards.tta}."
    shell:
        "python -m workflow_scripts.evaluate scores --settings {params.settings:q} --manifest {input.manifest:q}"
        " --classes {input.classes:q} --truth {input.truth:q}"
        " --predictions {input.predictions:q} --model {input.model:q} --output {output.scores:q} > {log:q} 2>&1"


rule evaluate_tracks:
    input:
        manifest="results/videos/{dataset}/manifest.parquet",
        classes="results/videos/{dataset}/classes.json",
        frames="results/videos/{dataset}/truth/frames.parquet",
        boxes="results/videos/{dataset}/truth/boxes.parquet",
        tracks=inputs.all_chunks("results/tracks/{dataset}/{detector}/{tracker}/chunk={chunk}.parquet"),
        # seconds differ each time they are measured; only new tracks are a reason to score again
        tracking=ancient(inputs.all_chunks("results/tracks/{dataset}/{detector}/{tracker}/chunk={chunk}.stats.parquet")),
        detecting=ancient(inputs.all_chunks("results/detections/{dataset}/{detector}/chunk={chunk}.stats.parquet")),
    output:
        scores="results/metrics/{dataset}/{detector}/{tracker}/tracks.json",
        units="results/metrics/{dataset}/{detector}/{tracker}/tracks.units.parquet",
        meta="results/metrics/{dataset}/{detector}/{tracker}/meta.json",
    log:
        "results/logs/metrics/{dataset}/{detector}/{tracker}/tracks.log",
    benchmark:
        "results/benchmarks/metrics/{dataset}/{detector}/{tracker}/tracks.tsv"
    localrule: True
    conda:
        "../envs/report.yaml"
    params:
        settings=jobs.evaluate_tracks,
        code=inputs.code("workflow_scripts/evaluate.py", "lib/metrics/tracking.py"),
    message:
        "Scoring tracks of {wildcards.detector} with {wildcards.tracker} on {wildcards.dataset}."
    shell:
        "python -m workflow_scripts.evaluate tracks --settings {params.settings:q} --manifest {input.manifest:q}"
        " --classes {input.classes:q} --frames {input.frames:q} --boxes {input.boxes:q} --tracks {input.tracks:q}"
        " --tracking-stats {input.tracking:q} --detecting-stats {input.detecting:q}"
        " --output {output.scores:q} > {log:q} 2>&1"
