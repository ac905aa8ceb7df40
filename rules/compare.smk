# Compare: the trainings of one board side by side: curves, scores on val, model sizes, learning rates.
#
# NEEDS    model cards, histories and scores on test of the variants that the board trains
# MAKES    leaderboard.csv and three pictures for boards with `compare: true`; hp_lr_scatter.png where these have three
#          learning rates. The same program compares any runs by hand.


COMPARE_CODE = [
    "workflow_scripts/compare.py",
    "lib/history.py",
    "lib/reporting/style.py",
    "lib/reporting/published.py",
    *(f"lib/registry/{name}.py" for name in ("entry", "epochs", "gather", "ours", "tested")),
    *(f"lib/reporting/comparison{name}.py" for name in ("", "_bars", "_curves", "_text")),
]


rule compare:
    input:
        runs=inputs.compared_files,
    output:
        table=report(
            "results/comparisons/{dataset}/{board}/leaderboard.csv",
            caption="report/compare.rst",
            category="Comparisons",
            labels={"dataset": "{dataset}", "board": "{board}", "form": "table"},
        ),
        curves=report(
            "results/comparisons/{dataset}/{board}/training_curves.png",
            caption="report/compare.rst",
            category="Comparisons",
            labels={"dataset": "{dataset}", "board": "{board}", "form": "curves"},
        ),
        bars=report(
            "results/comparisons/{dataset}/{board}/metrics_bar_comparison.png",
            caption="report/compare.rst",
            category="Comparisons",
            labels={"dataset": "{dataset}", "board": "{board}", "form": "scores"},
        ),
        sizes=report(
            "results/comparisons/{dataset}/{board}/model_size_comparison.png",
            caption="report/compare.rst",
            category="Comparisons",
            labels={"dataset": "{dataset}", "board": "{board}", "form": "model sizes"},
        ),
    log:
        "results/logs/comparisons/{dataset}/{board}/leaderboard.log",
    benchmark:
        "results/benchmarks/comparisons/{dataset}/{board}/leaderboard.tsv"
    localrule: True
    conda:
        "../envs/report.yaml"
    params:
        settings=jobs.figures,
        ids=inputs.compared_ids,
        folder="results/comparisons/{dataset}/{board}",
        code=inputs.code(*COMPARE_CODE),
    message:
        "Comparing the trainings of board {wildcards.board} of {wildcards.dataset}."
    shell:
        "python -m workflow_scripts.compare --settings {params.settings:q} --ids {params.ids:q}"
        " --test-on {wildcards.dataset:q} --without-rates --output {params.folder:q} > {log:q} 2>&1"


rule compare_learning_rates:
    input:
        runs=inputs.compared_files,
    output:
        report(
            "results/comparisons/{dataset}/{board}/hp_lr_scatter.png",
            caption="report/compare.rst",
            category="Comparisons",
            labels={
                "dataset": "{dataset}",
                "board": "{board}",
                "form": "learning rates",
            },
        ),
    log:
        "results/logs/comparisons/{dataset}/{board}/hp_lr_scatter.log",
    benchmark:
        "results/benchmarks/comparisons/{dataset}/{board}/hp_lr_scatter.tsv"
    localrule: True
    conda:
        "../envs/report.yaml"
    params:
        settings=jobs.figures,
        ids=inputs.compared_ids,
        code=inputs.code(*COMPARE_CODE),
    message:
        "Plotting scores against learning rates of board {wildcards.board} of {wildcards.dataset}."
    shell:
        "python -m workflow_scripts.compare --settings {params.settings:q} --ids {params.ids:q}"
        " --rates-only {output:q} > {log:q} 2>&1"
