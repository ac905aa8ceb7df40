# Track: identities for the boxes of one chunk; every video starts its own tracker, so ids are never shared.
#
# NEEDS    the chunk's detections and the manifest; with true boxes also which frames are labelled
# MAKES    chunk={chunk}.parquet (the detections' columns and a track id) and chunk={chunk}.stats.parquet (seconds per video)


rule track:
    input:
        manifest="results/videos/{dataset}/manifest.parquet",
        detections="results/detections/{dataset}/{detector}/chunk={chunk}.parquet",
        frames=inputs.looked_at_frames,
    output:
        tracks="results/tracks/{dataset}/{detector}/{tracker}/chunk={chunk}.parquet",
        stats="results/tracks/{dataset}/{detector}/{tracker}/chunk={chunk}.stats.parquet",
        meta="results/tracks/{dataset}/{detector}/{tracker}/chunk={chunk}.meta.json",
    log:
        "results/logs/tracks/{dataset}/{detector}/{tracker}/chunk={chunk}.log",
    benchmark:
        "results/benchmarks/tracks/{dataset}/{detector}/{tracker}/chunk={chunk}.tsv"
    conda:
        "../envs/vision.yaml"
    threads: 1
    resources:
        gpu=track_gpus,
        mem_mb=4_000,
        runtime=120,
    params:
        settings=jobs.track,
        chunks=jobs.chunks,
    message:
        "Tracking {wildcards.detector}'s boxes in chunk {wildcards.chunk} of {wildcards.dataset} with {wildcards.tracker}."
    shell:
        "python -m workflow_scripts.track --settings {params.settings:q} --manifest {input.manifest:q}"
        " --chunk {wildcards.chunk:q} --chunks {params.chunks:q} --detections {input.detections:q}"
        " --frames {input.frames:q} --output {output.tracks:q} > {log:q} 2>&1"
