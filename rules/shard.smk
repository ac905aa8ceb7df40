# Shard: samples (images and labels, or clips' features and queries) in WebDataset tars, byte-identical when made again.
#
# NEEDS    manifest and truth tables; where the shardset asks for tracked boxes, the tracks of all chunks. A shardset of
#          kind clips: the features of clips, of queries (as asked, then in other words) and, where it asks for them, of
#          objects, of all chunks
# MAKES    manifest.json (counts, sha256), index.parquet (where each sample lies) and beside them the tars. Every trainer
#          reads its samples from here. Where WDS_SHARDS (`paths.shards`) holds the same shards already, they are
#          checked and linked instead.


# Which of both rules packs a shardset is told by its name: those of kind clips, and all others, also unknown ones. A name
# ends before what no name holds: the slash of a result, the point of a log or a benchmark (which `plan` reads).
CLIP_SHARDSET = "|".join(inputs.clip_shardsets()) or "(?!)"
FRAME_SHARDSET = rf"(?!(?:{CLIP_SHARDSET})(?![a-z0-9_-]))[a-z0-9][a-z0-9_-]*"


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
    wildcard_constraints:
        shardset=FRAME_SHARDSET,
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


rule shard_clips:
    input:
        manifest="results/videos/{dataset}/manifest.parquet",
        queries="results/videos/{dataset}/truth/queries.parquet",
        clips=inputs.shard_features("clips"),
        text=inputs.shard_features("text"),
        objects=inputs.shard_features("objects"),
    output:
        manifest="results/shards/{dataset}/{shardset}/manifest.json",
        index="results/shards/{dataset}/{shardset}/index.parquet",
        meta="results/shards/{dataset}/{shardset}/meta.json",
    log:
        "results/logs/shards/{dataset}/{shardset}.log",
    benchmark:
        "results/benchmarks/shards/{dataset}/{shardset}.tsv"
    wildcard_constraints:
        shardset=CLIP_SHARDSET,
    conda:
        "../envs/vision.yaml"
    threads: 1
    resources:
        mem_mb=8_000,
        runtime=240,
    params:
        settings=jobs.shard,
    message:
        "Packing features and queries of {wildcards.dataset} into shards as {wildcards.shardset} says."
    shell:
        "python -m workflow_scripts.shard --settings {params.settings:q} --manifest {input.manifest:q}"
        " --queries {input.queries:q} --clips {input.clips:q} --text {input.text:q} --objects {input.objects:q}"
        " --output {output.manifest:q} > {log:q} 2>&1"
