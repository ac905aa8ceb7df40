# Detect: boxes of every video of one chunk, by a YOLO model, from the truth, or given with the source.
#
# NEEDS    manifest.parquet; the detector's weights (kind yolo) or the truth tables (kinds truth, given)
# MAKES    chunk={chunk}.parquet (video, frame, time_s, class, score, box in px of the original frame) and
#          chunk={chunk}.stats.parquet (per video: frames, seconds of decoding and of the model). [GPU]


rule detect:
    input:
        manifest="results/videos/{dataset}/manifest.parquet",
        weights=inputs.detector_weights,
    output:
        detections="results/detections/{dataset}/{detector}/chunk={chunk}.parquet",
        stats="results/detections/{dataset}/{detector}/chunk={chunk}.stats.parquet",
        meta="results/detections/{dataset}/{detector}/chunk={chunk}.meta.json",
    log:
        "results/logs/detections/{dataset}/{detector}/chunk={chunk}.log",
    benchmark:
        "results/benchmarks/detections/{dataset}/{detector}/chunk={chunk}.tsv"
    conda:
        "../envs/vision.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=8_000,
        runtime=240,
    params:
        settings=jobs.detect,
        chunks=jobs.chunks,
    message:
        "Detecting objects in chunk {wildcards.chunk} of {wildcards.dataset} with {wildcards.detector}."
    shell:
        "python -m workflow_scripts.detect --settings {params.settings:q} --manifest {input.manifest:q}"
        " --chunk {wildcards.chunk:q} --chunks {params.chunks:q} --weights {input.weights:q}"
        " --output {output.detections:q} > {log:q} 2>&1"
