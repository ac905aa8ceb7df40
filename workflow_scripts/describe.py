"""Print what a study would train and compare, without running anything.

python -m workflow_scripts.describe                                       all variants of the default study
python -m workflow_scripts.describe --configfile config/studies/X.yaml    of another study
python -m workflow_scripts.describe --set training.epochs=25,50           with overrides, as --config set= takes them
python -m workflow_scripts.describe --new 'b=a arm=p50' --only 'b*'       with a variant more, and what `only` would make
python -m workflow_scripts.describe --variant full                        one variant with every resolved setting
python -m workflow_scripts.describe --resolved                            the whole study with every setting, as YAML
python -m workflow_scripts.describe --world --out FOLDER                  pictures of what happens in the synthetic world
python -m workflow_scripts.describe --write-docs                          renew config/README.md and config/schema.json
"""

from __future__ import annotations

from pathlib import Path

import yaml

from lib.config.base import ConfigError, identity, nearest
from lib.config.documentation import generated_files
from lib.config.study import Study, load_study
from lib.config.targets import KINDS, Chosen, choose, study_targets
from lib.config.world import WorldSource
from lib.files import write_text
from workflow_scripts import _program


def main() -> None:
    arguments = _program.parser(__doc__)
    _program.add_study(arguments)
    arguments.add_argument("--only", metavar="PATTERNS", help="what is made, as in snakemake --config only=PATTERNS")
    arguments.add_argument("--variant", help="print one variant with every setting")
    arguments.add_argument("--resolved", action="store_true", help="print the whole study with every setting")
    arguments.add_argument("--write-docs", action="store_true", help="renew what is generated from the settings classes")
    arguments.add_argument("--world", action="store_true", help="draw a contact sheet per split of a synthetic world")
    arguments.add_argument("--dataset", help="with --world: which dataset (default: the study's first synthetic world)")
    arguments.add_argument("--split", nargs="*", help="with --world: which splits (default: all)")
    arguments.add_argument("--videos", type=_program.positive, default=4, help="with --world: videos per sheet (default 4)")
    arguments.add_argument("--out", type=Path, help="with --world: the folder that the pictures go to")
    given = arguments.parse_args()

    if given.write_docs:
        for path, text in generated_files().items():
            write_text(path, text)
            print(path)
        return
    study = load_study(given.configfile, _program.overrides_of(given))
    if given.world:
        if given.out is None:
            arguments.error("--world needs --out FOLDER")
        draw_world(study, given.dataset, given.split, given.videos, given.out)
        return
    chosen = choose(study, given.only)
    if given.variant:
        print(one_variant(study, given.variant))
    elif given.resolved:
        print(yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True).rstrip())
    else:
        print(all_variants(study, chosen))
        if given.only is not None:
            print(f"\n{what_is_made(study, chosen)}")


def draw_world(study: Study, dataset: str | None, splits: list[str] | None, videos: int, out: Path) -> None:
    """Write a contact sheet per split and print their paths. ConfigError for a dataset or split that there is not."""
    worlds = [name for name, entry in study.datasets.items() if isinstance(entry.source, WorldSource)]
    name = dataset or next(iter(worlds), None)
    if name not in worlds:
        asked = f"dataset {name!r} is not a synthetic world" if name else "the study has no synthetic world"
        raise ConfigError(
            f"--world: {asked}; its worlds: {', '.join(worlds) or 'none'}. Hint: give --configfile or --dataset."
        )
    source = study.find("datasets", name).source
    for split in splits or ():
        if split not in source.videos:
            raise ConfigError(f"--split: {split!r} is not a split of {name!r}. {nearest(split, source.videos)}")
    from lib.reporting.world_rows import write_sheets  # here: drawing takes libraries that nothing else of describe needs

    for path in write_sheets(source, name, splits or list(source.videos), videos, out):
        print(path)


def one_variant(study: Study, name: str) -> str:
    """Every resolved setting of one variant as YAML, with its arm and seeds."""
    variant = study.find("variants", name)
    values = identity(variant) | {"training": identity(study.training_of(name)), "seeds": study.seeds_of(name)}
    if variant.arm:
        values["arm"] = {variant.arm: identity(study.find("arms", variant.arm))}
    return yaml.safe_dump({name: values}, sort_keys=False, allow_unicode=True).rstrip()


def what_is_made(study: Study, chosen: Chosen) -> str:
    """What `only` leaves of the targets: numbers of files, the boards that are made and those left as they are."""
    counts = ", ".join(f"{number} {kind}" for kind in KINDS if (number := len(study_targets(study, kind, chosen))))
    left = [board for board in study.boards if board not in chosen.boards]
    lines = [f"targets: {counts}", f"boards made: {', '.join(sorted(chosen.boards)) or 'none'}"]
    return "\n".join([*lines, f"boards left as they are: {', '.join(left)}"] if left else lines)


def all_variants(study: Study, chosen: Chosen) -> str:
    """One line per variant, or per chosen row: kind, arm, budget, seeds, and the boards that list it."""
    narrowed = chosen != choose(study, None)
    lines = [f"study {study.study}: {study.description}".rstrip(": "), ""]
    rows = [("variant", "kind", "arm", "model", "px", "budget", "seeds", "boards")]
    for name, variant in study.variants.items():
        training = study.training_of(name)
        boards = [board for board, entry in study.score_boards.items() if name in entry.variants]
        if narrowed and not any((board, name) in chosen.rows for board in boards):
            continue
        trained = variant.kind == "model"
        rows.append(
            (
                name,
                variant.floor or variant.kind,
                variant.arm or "-",
                variant.weights
                or (getattr(training, "model", variant.task) if trained or variant.floor == "untrained" else "-"),
                str(getattr(training, "imgsz", "-")),
                budget(training.budget.model_dump()) if trained else "-",
                ",".join(map(str, study.seeds_of(name))),
                ",".join(boards) or "-",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for board, entry in study.track_boards.items():
        if board not in chosen.boards:
            continue
        lines.append(f"board {board}: {entry.dataset}, detectors {entry.detectors}, trackers {entry.trackers}")
    return "\n".join(lines)


def budget(values: dict[str, int | None]) -> str:
    """“300 iterations”, “300 steps” or “20 epochs”."""
    unit = next(unit for unit in ("iterations", "steps", "epochs") if values.get(unit))
    return f"{values[unit]} {unit}"


if __name__ == "__main__":
    _program.run(main)
