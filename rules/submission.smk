# Submission: predicted windows as the file that a challenge takes, checked. For datasets of format ego4d_nlq.
#
# NEEDS    predictions of a variant, the manifest and the queries
# MAKES    tta={tta}.json (Ego4D NLQ challenge), where every query has 1 to 5 windows inside of its clip; else an error that
#          names the query. What has no answers cannot be scored, but this is made of it.


rule submission:
    input:
        manifest="results/videos/{dataset}/manifest.parquet",
        queries="results/videos/{dataset}/truth/queries.parquet",
        predictions="results/predictions/{dataset}/{variant}/seed={seed}/tta={tta}.parquet",
    output:
        submission="results/submissions/{dataset}/{variant}/seed={seed}/tta={tta}.json",
        meta="results/submissions/{dataset}/{variant}/seed={seed}/tta={tta}.meta.json",
    log:
        "results/logs/submissions/{dataset}/{variant}/seed={seed}/tta={tta}.log",
    benchmark:
        "results/benchmarks/submissions/{dataset}/{variant}/seed={seed}/tta={tta}.tsv"
    localrule: True
    conda:
        "../envs/report.yaml"
    params:
        settings=jobs.submission,
        code=inputs.code("workflow_scripts/submission.py", "lib/inference/submission.py"),
    message:
        "Packaging {wildcards.variant}'s answers on {wildcards.dataset}, seed {wildcards.seed}, views {wildcards.tta}."
    shell:
        "python -m workflow_scripts.submission package --settings {params.settings:q} --manifest {input.manifest:q}"
        " --truth {input.queries:q} --predictions {input.predictions:q} --output {output.submission:q} > {log:q} 2>&1"
