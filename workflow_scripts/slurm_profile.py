"""Write your Slurm profile from a template, so that `snakemake --profile slurm` works: once per cluster and person.

python -m workflow_scripts.slurm_profile --partition gpu --cpu-partition cpu [--account lab] [--mail-user me@site] …
make slurm-profile PARTITION=gpu CPU_PARTITION=cpu [ACCOUNT=lab] [MAIL_USER=me@site] …     the same

On a terminal it asks for what is not given. What is said is compared with what Slurm knows: an unknown partition or account
is refused, with the known ones. The profile goes to your Snakemake folder (~/.config/snakemake/NAME/config.yaml). One that
is there and says something else is never overwritten; the difference is shown.
"""

from __future__ import annotations

import argparse
import difflib
import getpass
import re
import sys
from pathlib import Path

from lib.config.base import ConfigError, nearest
from lib.files import write_text
from lib.runs import slurm
from workflow_scripts import _program

PROFILES = Path(__file__).resolve().parents[1] / "profiles"
NAMES = ("slurm", "slurm-requeue")
ASKED = {"partition": "partition with GPUs", "cpu_partition": "partition for jobs without a GPU", "account": "account"}
LONGEST_S = 24 * 3600
"""What the largest models ask for (rules/resources.smk)."""
POLLS = 3
"""squeue must remember an ended job for so many times the seconds between two looks."""


def main() -> None:
    arguments = _program.parser(__doc__)
    arguments.add_argument("--name", choices=NAMES, default="slurm", help="which template (default: %(default)s)")
    arguments.add_argument("--partition", help="partition of jobs that need a GPU")
    arguments.add_argument("--cpu-partition", help="partition of all others (default: the same)")
    arguments.add_argument("--account", help="account that pays; empty = the cluster's default")
    arguments.add_argument("--mail-user", help="address that is told of failed jobs")
    arguments.add_argument("--gpu-model", help="as Slurm calls it: h100")
    arguments.add_argument("--constraint", help="features of GPU nodes: h100-96")
    arguments.add_argument("--qos")
    arguments.add_argument("--reservation")
    arguments.add_argument("--extra", help="further words for sbatch: --nice=100")
    arguments.add_argument("--cudnn", choices=("on", "off"), help="off: this cluster's cuDNN is broken, do without it")
    arguments.add_argument(
        "--jobs", type=_program.positive, default=100, help="most jobs in the queue (default: %(default)s)"
    )
    arguments.add_argument("--gpus", type=_program.positive, default=4, help="most GPUs at a time (default: %(default)s)")
    arguments.add_argument(
        "--poll-seconds", type=_program.positive, default=20, help="between looks (default: %(default)s)"
    )
    arguments.add_argument("--folder", type=Path, help="in place of your Snakemake folder")
    arguments.add_argument("--unchecked", action="store_true", help="do not ask Slurm: write it on another machine")
    given = arguments.parse_args()

    if sys.stdin.isatty():
        for key, what in ASKED.items():
            if getattr(given, key) is None:
                setattr(given, key, input(f"{what} (empty = none): ").strip())
    if not given.partition:
        known = "" if given.unchecked else f" Known: {', '.join(partitions() or ['none: Slurm does not answer'])}."
        raise ConfigError(
            f"--partition is missing: where do jobs with a GPU go?{known} Hint: make slurm-profile PARTITION=gpu"
        )
    given.cpu_partition = given.cpu_partition or given.partition
    notes = [] if given.unchecked else check(given)
    place = (given.folder or _snakemake_folder()) / given.name / "config.yaml"
    text = filled((PROFILES / given.name / "config.yaml").read_text(encoding="utf-8"), vars(given))
    write_once(place, text)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{place}\nsnakemake --profile {given.name}")


def filled(template: str, values: dict[str, object]) -> str:
    """The template with its <BRACKETS> filled; lines with an empty one are left out, and keys that have nothing left.

    ConfigError: a value that would be more than a word of YAML.
    """
    lines = []
    for line in template.splitlines():
        names = re.findall(r"<([A-Z_]+)>", line)
        told = {name: str(values.get(name.lower()) or "") for name in names}
        for name, value in told.items():
            if not re.fullmatch(r"[\w@.,:+=/%&|*()\[\] -]*", value):
                raise ConfigError(
                    f"--{name.lower().replace('_', '-')} {value!r}: quotes, # and line ends cannot stand here."
                )
        if all(told.values()):
            lines.append(re.sub(r"<([A-Z_]+)>", lambda found, told=told: told[found[1]], line))
    return _one_extra("\n".join(lines) + "\n")


def _one_extra(text: str) -> str:
    """Several lines of further words for sbatch become one: YAML keeps only the last of equal keys."""
    found = re.findall(r"^  slurm_extra: \"'(.*)'\"$", text, flags=re.MULTILINE)
    if len(found) < 2:
        return text
    kept, *_ = re.findall(r"^  slurm_extra: .*$", text, flags=re.MULTILINE)
    joined = f"  slurm_extra: \"'{' '.join(found)}'\""
    first = text.replace(kept, joined, 1)
    head, tail = first.split(joined, 1)
    return head + joined + re.sub(r"^  slurm_extra: .*\n", "", tail, flags=re.MULTILINE)


def write_once(place: Path, text: str) -> None:
    """Write the profile; ConfigError with the difference when there is another one already."""
    if place.exists():
        there = place.read_text(encoding="utf-8")
        if there == text:
            return
        lines = difflib.unified_diff(there.splitlines(), text.splitlines(), str(place), "would be written", lineterm="")
        shown = "\n".join(lines)
        raise ConfigError(f"{place} is there and says something else; it stays.\n{shown}\nHint: edit it, or move it away.")
    write_text(place, text)


def check(given: argparse.Namespace) -> list[str]:
    """What the person should know; ConfigError: no Slurm here, a partition or account that it does not know."""
    known = partitions()
    if known is None:
        raise ConfigError(
            "Slurm does not answer here (sinfo). Hint: run this where you submit jobs (the login node); --unchecked writes "
            "it without asking."
        )
    for key in ("partition", "cpu_partition"):
        name = getattr(given, key)
        if name not in known:
            raise ConfigError(f"--{key.replace('_', '-')} {name!r} is unknown. {nearest(name, known)}")
    notes = []
    if "gpu" not in (slurm.answer(["sinfo", "--noheader", f"--partition={given.partition}", "--format=%G"]) or ""):
        notes.append(f"partition {given.partition} lists no GPU (sinfo --format=%G); trainings ask for one.")
    for name in dict.fromkeys((given.partition, given.cpu_partition)):
        told = slurm.answer(["sinfo", "--noheader", f"--partition={name}", "--format=%l"]) or ""
        limit = slurm.seconds(told.split("\n")[0])
        if limit is not None and limit < LONGEST_S:
            notes.append(
                f"partition {name} allows {limit / 3600:g} h; a job that asks for more waits for ever. "
                "The largest models ask for 24 h: --set-resources train:runtime=MINUTES, or rules/resources.smk."
            )
    accounts = accounts_of_me()
    if given.account and accounts and given.account not in accounts:
        raise ConfigError(f"--account {given.account!r} is none of yours. {nearest(given.account, accounts)}")
    if not given.account and accounts is not None and len(accounts) > 1:
        notes.append(f"you have several accounts ({', '.join(sorted(accounts))}) and named none: the default one pays.")
    remembered, accounting = settings()
    if remembered is not None and remembered < POLLS * given.poll_seconds:
        way = (
            "set slurm-status-command: sacct there (a job that you cancel is then never noticed)"
            if accounting
            else (f"take --poll-seconds {max(1, int(remembered // POLLS))}")
        )
        notes.append(
            f"squeue forgets ended jobs after {remembered:g} s (MinJobAge), "
            f"less than {POLLS} x {given.poll_seconds} s: {way}."
        )
    return notes


def partitions() -> list[str] | None:
    """Names of the cluster's partitions; None when Slurm does not answer."""
    text = slurm.answer(["sinfo", "--noheader", "--format=%R"])
    return None if text is None else sorted(set(text.split()))


def accounts_of_me() -> set[str] | None:
    """Accounts that this person may use; None where no database answers."""
    words = ["sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={getpass.getuser()}", "format=account"]
    text = slurm.answer(words)
    return None if text is None else set(text.split())


def settings() -> tuple[float | None, bool]:
    """Seconds that squeue remembers an ended job (None = not told), and whether there is accounting."""
    text = slurm.answer(["scontrol", "show", "config"]) or ""
    age = re.search(r"^MinJobAge\s*=\s*(\d+)", text, flags=re.MULTILINE)
    storage = re.search(r"^AccountingStorageType\s*=\s*(\S+)", text, flags=re.MULTILINE)
    return (float(age[1]) if age else None), bool(storage) and not storage[1].endswith("none")


def _snakemake_folder() -> Path:
    from snakemake.common import get_appdirs

    return Path(get_appdirs().user_config_dir)


if __name__ == "__main__":
    _program.run(main)
