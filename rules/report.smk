# Report: pictures for `snakemake --report`: how trainings went, and what the arms of a study hold; and a summary per run.
#
# NEEDS    history.csv and model.json of a trained variant; counts of the arms; scores and drawn videos of a run;
#          predicted windows and true ones
# MAKES    curves.png, and arms/seed={seed}.png. Restyling them never trains again. summary.json and class_info.json
#          {board}.lengths.png and tta={tta}.windows.png, of tasks that predict windows in time


rule plot_curves:
    input:
        history="results/train/{dataset}/{variant}/seed={seed}/history.csv",
        card="results/train/{dataset}/{variant}/seed={seed}/model.json",
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
    localrule: True
    conda:
        "../envs/report.yaml"
    params:
        settings=jobs.figures,
        code=inputs.code(
            "workflow_scripts/report.py",
            "lib/history.py",
            "lib/reporting/curves.py",
            "lib/reporting/style.py",
        ),
    message:
        "Plotting the training of {wildcards.variant} on {wildcards.dataset}, seed {wildcards.seed}."
    shell:
        "python -m workflow_scripts.report curves --settings {params.settings:q} --history {input.history:q}"
        " --card {input.card:q} --output {output:q} > {log:q} 2>&1"


rule plot_arms:
    input:
        counts=inputs.arm_counts,
    output:
        report(
            "results/figures/{dataset}/{shardset}.arms/seed={seed}.png",
            caption="report/arms.rst",
            category="Arms",
            subcategory="{dataset}",
            labels={
                "shardset": "{shardset}",
                "seed": "{seed}",
                "figure": "frames per class",
            },
        ),
    log:
        "results/logs/figures/{dataset}/{shardset}.arms/seed={seed}.log",
    benchmark:
        "results/benchmarks/figures/{dataset}/{shardset}.arms/seed={seed}.tsv"
    localrule: True
    conda:
        "../envs/report.yaml"
    params:
        settings=jobs.figures,
        code=inputs.code(
            "workflow_scripts/report.py",
            "lib/reporting/plots.py",
            "lib/reporting/style.py",
        ),
    message:
        "Plotting what the arms on {wildcards.shardset} of {wildcards.dataset} hold, seed {wildcards.seed}."
    shell:
        "python -m workflow_scripts.report arms --settings {params.settings:q} --counts {input.counts:q}"
        " --output {output:q} > {log:q} 2>&1"


rule plot_lengths:
    input:
        manifest="results/videos/{dataset}/manifest.parquet",
        queries="results/videos/{dataset}/truth/queries.parquet",
        predictions=inputs.board_predictions,
    output:
        report(
            "results/figures/{dataset}/{board}.lengths.png",
            caption="report/lengths.rst",
            category="Grounding",
            subcategory="{dataset}",
            labels={"board": "{board}", "figure": "recall by length of the answer"},
        ),
    log:
        "results/logs/figures/{dataset}/{board}.lengths.log",
    benchmark:
        "results/benchmarks/figures/{dataset}/{board}.lengths.tsv"
    localrule: True
    conda:
        "../envs/report.yaml"
    params:
        settings=jobs.lengths,
        code=inputs.code(
            "workflow_scripts/report.py",
            "lib/reporting/grounding_report.py",
            "lib/reporting/grounding_figures.py",
            "lib/reporting/style.py",
            "lib/metrics/grounding.py",
        ),
    message:
        "Plotting recall by length of the answer for board {wildcards.board} of {wildcards.dataset}."
    shell:
        "python -m workflow_scripts.report lengths --settings {params.settings:q} --manifest {input.manifest:q}"
        " --truth {input.queries:q} --predictions {input.predictions:q} --output {output:q} > {log:q} 2>&1"


rule plot_windows:
    input:
        manifest="results/videos/{dataset}/manifest.parquet",
        queries="results/videos/{dataset}/truth/queries.parquet",
        predictions="results/predictions/{dataset}/{variant}/seed={seed}/tta={tta}.parquet",
    output:
        report(
            "results/figures/{dataset}/{variant}/seed={seed}/tta={tta}.windows.png",
            caption="report/windows.rst",
            category="Grounding",
            subcategory="{dataset}",
            labels={
                "variant": "{variant}",
                "seed": "{seed}",
                "figure": "windows of a few queries",
            },
        ),
    log:
        "results/logs/figures/{dataset}/{variant}/seed={seed}/tta={tta}.windows.log",
    benchmark:
        "results/benchmarks/figures/{dataset}/{variant}/seed={seed}/tta={tta}.windows.tsv"
    localrule: True
    conda:
        "../envs/report.yaml"
    params:
        settings=jobs.windows,
        code=inputs.code(
            "workflow_scripts/report.py",
            "lib/reporting/grounding_report.py",
            "lib/reporting/grounding_figures.py",
            "lib/reporting/style.py",
        ),
    message:
        "Plotting windows of {wildcards.variant} on {wildcards.dataset}, seed {wildcards.seed}, views {wildcards.tta}."
    shell:
        "python -m workflow_scripts.report windows --settings {params.settings:q} --manifest {input.manifest:q}"
        " --truth {input.queries:q} --predictions {input.predictions:q} --output {output:q} > {log:q} 2>&1"


rule summarise:
    input:
        card=inputs.tested_model,
        scores="results/metrics/{dataset}/{variant}/seed={seed}/tta={tta}.json",
        counts=inputs.tested_counts,
        exports=inputs.tested_exports,
    output:
        summary="results/summaries/{dataset}/{variant}/seed={seed}/tta={tta}/summary.json",
        classes="results/summaries/{dataset}/{variant}/seed={seed}/tta={tta}/class_info.json",
    log:
        "results/logs/summaries/{dataset}/{variant}/seed={seed}/tta={tta}.log",
    benchmark:
        "results/benchmarks/summaries/{dataset}/{variant}/seed={seed}/tta={tta}.tsv"
    localrule: True
    conda:
        "../envs/report.yaml"
    params:
        settings=jobs.summary,
        code=inputs.code("workflow_scripts/report.py", "lib/reporting/summary.py"),
    message:
        "Summing up {wildcards.variant} on {wildcards.dataset}, seed {wildcards.seed}, views {wildcards.tta}."
    shell:
        "python -m workflow_scripts.report summary --settings {params.settings:q} --card {input.card:q}"
        " --scores {input.scores:q} --counts {input.counts:q} --exports {input.exports:q} --output {output.summary:q}"
        " > {log:q} 2>&1"
