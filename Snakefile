# Vipersight: video-understanding experiments as one DAG, from videos to a leaderboard.
#
#   snakemake -c2                                          the embedded demo study (config/config.yaml)
#   snakemake -c2 --configfile config/studies/NAME.yaml    another study
#   snakemake -n                                           what would run; add a file name to ask for that file only
#
# The stages are included below in the order in which a frame travels. rules/common.smk holds what they share.

from snakemake.utils import min_version

min_version("9.27")


include: "rules/common.smk"
include: "rules/resources.smk"


report: "rules/report/workflow.rst"


# The default target stands here and before any other rule: in an included file plain `snakemake` would not find it.
rule all:
    input:
        targets("arms"),
        targets("metrics"),
        targets("leaderboards"),
        targets("figures"),
        targets("exports"),
        targets("summaries"),
        targets("submissions"),


include: "rules/download.smk"
include: "rules/weights.smk"
include: "rules/detect.smk"
include: "rules/track.smk"
include: "rules/embed.smk"
include: "rules/shard.smk"
include: "rules/subsample.smk"
include: "rules/train.smk"
include: "rules/predict.smk"
include: "rules/export.smk"
include: "rules/submission.smk"
include: "rules/evaluate.smk"
include: "rules/leaderboard.smk"
include: "rules/compare.smk"
include: "rules/report.smk"


# Named targets, to stop half way: snakemake -c2 data
rule data:
    input:
        targets("videos"),
        targets("tracks"),
        targets("shards"),


rule models:
    input:
        targets("arms"),
        targets("models"),


rule leaderboards:
    input:
        targets("leaderboards"),


onstart:
    begin_run()


onsuccess:
    end_run()
    print(
        f"\nStudy {STUDY.study}: all that was asked for is made.",
        *(f"  {path}" for path in board_pages()),
        sep="\n",
        file=sys.stderr,
    )
    notify("success")


onerror:
    end_run()
    print(
        "\nThe run stopped. Logs: results/logs/, one per output under the same path; the failed ones are named above.",
        "Hint: the same command goes on from here; `python -m workflow_scripts.status --failed` says why jobs failed.",
        "After a killed run: make resume.",
        sep="\n",
        file=sys.stderr,
    )
    notify("error")
