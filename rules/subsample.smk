# Subsample: which training frames (or clips) an arm holds, by fraction per class; nested, stratified by video, drawn by hash.
#
# NEEDS    the shardset's offset index; for a size-matched control also the arm whose size it takes
# MAKES    seed={seed}.parquet (the frames), seed={seed}.counts.json (requested and achieved counts per class; of clips,
#          queries and templates), and per shardset and seed one check that no two arms of the study are the same frames


rule subsample:
    input:
        index=inputs.arm_index,
        matched=inputs.arm_matched,
    output:
        frames="results/subsets/{dataset}/{arm}/seed={seed}.parquet",
        counts="results/subsets/{dataset}/{arm}/seed={seed}.counts.json",
        meta="results/subsets/{dataset}/{arm}/seed={seed}.meta.json",
    log:
        "results/logs/subsets/{dataset}/{arm}/seed={seed}.log",
    benchmark:
        "results/benchmarks/subsets/{dataset}/{arm}/seed={seed}.tsv"
    priority: 1
    localrule: True
    conda:
        "../envs/vision.yaml"
    params:
        settings=jobs.subsample,
    message:
        "Drawing the frames of arm {wildcards.arm} from {wildcards.dataset}, seed {wildcards.seed}."
    shell:
        "python -m workflow_scripts.subsample draw --settings {params.settings:q} --arm {wildcards.arm:q}"
        " --seed {wildcards.seed:q} --index {input.index:q} --size-of {input.matched:q}"
        " --output {output.frames:q} > {log:q} 2>&1"


rule compare_arms:
    input:
        counts=inputs.arm_counts,
    output:
        "results/subsets/{dataset}/{shardset}.arms/seed={seed}.json",
    log:
        "results/logs/subsets/{dataset}/{shardset}.arms/seed={seed}.log",
    benchmark:
        "results/benchmarks/subsets/{dataset}/{shardset}.arms/seed={seed}.tsv"
    # Before trainings that are ready. No training has it as input: even as `ancient` it would keep Snakemake from seeing
    # that a training's own settings changed, in each run in which the study's arms changed too.
    priority: 1
    localrule: True
    conda:
        "../envs/vision.yaml"
    params:
        settings=jobs.arms,
    message:
        "Checking that the arms on {wildcards.shardset} of {wildcards.dataset} are different frames, seed {wildcards.seed}."
    shell:
        "python -m workflow_scripts.subsample compare --settings {params.settings:q} --counts {input.counts:q}"
        " --output {output:q} > {log:q} 2>&1"
