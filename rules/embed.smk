# Embed: clips, queries or tracked objects of one chunk as features on a grid of time.
#
# NEEDS    the manifest; for texts the queries, for objects the chunk's tracks; a folder of features that stand as files,
#          and a table of other words for queries, enter by a digest
# MAKES    chunk={chunk}.safetensors (a tensor per video or query; objects with a mask) and chunk={chunk}.index.parquet
#          (unit, video, steps, width, stride, window, fps). Made only where something asks for it. [GPU for networks]


rule embed:
    input:
        manifest="results/videos/{dataset}/manifest.parquet",
        queries=inputs.embedded_queries,
        tracks=inputs.embedded_tracks,
    output:
        features="results/features/{dataset}/{featureset}/chunk={chunk}.safetensors",
        index="results/features/{dataset}/{featureset}/chunk={chunk}.index.parquet",
        meta="results/features/{dataset}/{featureset}/chunk={chunk}.meta.json",
    log:
        "results/logs/features/{dataset}/{featureset}/chunk={chunk}.log",
    benchmark:
        "results/benchmarks/features/{dataset}/{featureset}/chunk={chunk}.tsv"
    conda:
        "../envs/vision.yaml"
    threads: 1
    resources:
        gpu=embed_gpus,
        mem_mb=8_000,
        runtime=240,
    params:
        settings=jobs.embed,
        chunks=jobs.chunks,
        digest=inputs.features_digest,
    message:
        "Encoding chunk {wildcards.chunk} of {wildcards.dataset} as {wildcards.featureset}."
    shell:
        "python -m workflow_scripts.embed --settings {params.settings:q} --manifest {input.manifest:q}"
        " --chunk {wildcards.chunk:q} --chunks {params.chunks:q} --queries {input.queries:q} --tracks {input.tracks:q}"
        " --output {output.features:q} > {log:q} 2>&1"
