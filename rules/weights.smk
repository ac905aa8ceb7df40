# Weights: pretrained files by path or address, or a model trained in this same DAG.
#
# NEEDS    the file itself, or the trained variant's model.json
# MAKES    weights.json (format, class names, input size, sha256) and beside it the file. Local rule: compute nodes often
#          have no internet.


rule weights:
    input:
        model=inputs.trained_weights,
    output:
        card="results/weights/{weights}/weights.json",
        meta="results/weights/{weights}/meta.json",
    log:
        "results/logs/weights/{weights}.log",
    benchmark:
        "results/benchmarks/weights/{weights}.tsv"
    retries: 2
    localrule: True
    conda:
        "../envs/vision.yaml"
    params:
        settings=jobs.fetch_weights,
    message:
        "Getting weights {wildcards.weights}."
    shell:
        "python -m workflow_scripts.weights --settings {params.settings:q} --model {input.model:q}"
        " --output {output.card:q} > {log:q} 2>&1"
