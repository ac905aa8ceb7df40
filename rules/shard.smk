# Shard: samples (image and labels) of chosen splits in WebDataset tars, byte-identical when made again.
#
# NEEDS    manifest and truth tables; where the shardset asks for tracked boxes, the tracks of all chunks
# MAKES    manifest.json (counts, sha256), index.parquet (where each sample lies) and beside them the tars. Every trainer
#          reads its samples from here. Where WDS_SHARDS (`paths.shards`) holds the same shards already, they are
#          checked and linked instead.


rule shard:
    input:
        manifest="results/videos/{dataset}/manifest.parquet",
        classes="results/videos/{dataset}/classes.json",
        frames="results/videos/{dataset}/truth/frames.parquet",
        boxes="results/videos/{dataset}/truth/boxes.parquet",
        tracks=inputs.shard_tracks,
    output:
        manifest="results/shards/{dataset}/{shardset}/manifest.json",
        index="results/shards/{dataset}/{shardset}/index.parquet",
        meta="results/shards/{dataset}/{shardset}/meta.json",
    log:
        "results/logs/shards/{dataset}/{shardset}.log",
    benchmark:
        "results/benchmarks/shards/{dataset}/{shardset}.tsv"
    conda:
        "../envs/vision.yaml"
    threads: 1
    resources:
        mem_mb=8_000,
        runtime=240,
    params:
        settings=jobs.shard,
    message:
        "Packing {wildcards.dataset} into shards as {wildcards.shardset} says."
    shell:
        "python -m workflow_scripts.shard --settings {params.settings:q} --manifest {input.manifest:q}"
        " --tracks {input.tracks:q} --output {output.manifest:q} > {log:q} 2>&1"
