# Report: pictures of trainings for `snakemake --report`, from the history that each training leaves.
#
# NEEDS    history.csv of a trained variant
# MAKES    curves.png. Restyling it never trains again.


rule plot_curves:
    localrule: True
    input:
        code=code("workflow_scripts/report.py", "lib/reporting/plots.py", "lib/reporting/style.py"),
        history="results/train/{dataset}/{variant}/seed={seed}/history.csv",
    output:
        report(
            "results/figures/{dataset}/{variant}/seed={seed}/curves.png",
            caption="report/curves.rst",
            category="Trainings",
            subcategory="{dataset}",
            labels={"variant": "{variant}", "seed": "{seed}", "figure": "curves"},
        ),
    log:
        "results/logs/figures/{dataset}/{variant}/seed={seed}/curves.log",
    benchmark:
        "results/benchmarks/figures/{dataset}/{variant}/seed={seed}/curves.tsv"
    conda:
        "../envs/report.yaml"
    params:
        settings=jobs.figures,
    message:
        "Plotting the training of {wildcards.variant} on {wildcards.dataset}, seed {wildcards.seed}."
    shell:
        "python -m workflow_scripts.report curves --settings {params.settings:q} --history {input.history:q}"
        " --output {output:q} > {log:q} 2>&1"
