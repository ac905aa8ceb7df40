# Leaderboard: all rows of one board, with intervals, floors, ties and what each row cost.
#
# NEEDS    metrics, model cards and arm counts of every cell that the board lists; or the tracks' metrics
# MAKES    {board}.csv .md .png .html; the picture and the page go into `snakemake --report`. Beside them, undeclared, where
#          arms differ in frames: {board}.frames.png, which the page holds too


BOARD_CODE = [
    f"lib/reporting/{name}.py"
    for name in (
        "leaderboard",
        "track_board",
        "ranking",
        "unit_scores",
        "page",
        "sections",
        "frames_figure",
        "plots",
        "style",
    )
]


rule leaderboard:
    input:
        cells=inputs.board_cells,
    output:
        csv="results/leaderboards/{dataset}/{board}.csv",
        md="results/leaderboards/{dataset}/{board}.md",
        png=report(
            "results/leaderboards/{dataset}/{board}.png",
            caption="report/leaderboard.rst",
            category="Leaderboards",
            labels={"dataset": "{dataset}", "board": "{board}", "form": "picture"},
        ),
        html=report(
            "results/leaderboards/{dataset}/{board}.html",
            caption="report/leaderboard.rst",
            category="Leaderboards",
            labels={"dataset": "{dataset}", "board": "{board}", "form": "table"},
        ),
    log:
        "results/logs/leaderboards/{dataset}/{board}.log",
    benchmark:
        "results/benchmarks/leaderboards/{dataset}/{board}.tsv"
    localrule: True
    conda:
        "../envs/report.yaml"
    params:
        settings=jobs.leaderboard,
        code=inputs.code("workflow_scripts/leaderboard.py", *BOARD_CODE),
    message:
        "Making leaderboard {wildcards.board} of {wildcards.dataset}."
    shell:
        "python -m workflow_scripts.leaderboard --settings {params.settings:q} --board {wildcards.board:q}"
        " --output {output.csv:q} > {log:q} 2>&1"
