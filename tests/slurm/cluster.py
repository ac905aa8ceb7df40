"""A throw-away Slurm on this machine: real daemons, several nodes, pretended GPUs. For tests and for trying things out.

python -m tests.slurm.cluster up [--full]     controller and six nodes in about a second; --full: with munge and accounting
python -m tests.slurm.cluster down            cancel all jobs, end the daemons, remove the folder
python -m tests.slurm.cluster status          what answers

It needs root and the packages slurmctld, slurmd, slurm-client (--full: munge, slurmdbd, mariadb-server too). It writes into
one private folder, and links in /etc/slurm: Slurm's inner srun finds its settings nowhere else. Where those files exist and
are not such links, a real Slurm is configured here and nothing is done.

Partitions: cpu (default); gpu; fragile (as gpu, on nodes of its own); spare (the nodes of gpu, whose jobs cancel those of
spare); urgent (the nodes of gpu, whose jobs it puts back into the queue); closing (the nodes of cpu; tests close it).
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

HERE = Path(__file__).parent
BASE = Path(tempfile.gettempdir()) / f"vipersight-slurm-{os.getuid()}"
CONFIGS = Path("/etc/slurm")
NODES = ("cpu1", "cpu2", "gpu1", "gpu2", "gpu3", "gpu4")
FRAGILE = ("gpu3", "gpu4")
PACKAGES = {"slurmctld": "slurmctld", "slurmd": "slurmd", "squeue": "slurm-client"}
FULL_PACKAGES = {"munged": "munge", "slurmdbd": "slurmdbd", "mariadbd": "mariadb-server"}
DATABASE_PORT = 13306


class Unusable(Exception):
    """No cluster can be made here, or the one that there is cannot be used: the text says why and what to do."""


class Impossible(Unusable):
    """This machine cannot have a cluster: no root, no packages, or a real Slurm of its own."""


def up(*, full: bool = False, base: Path = BASE) -> None:
    """Start all daemons, each when the one before it answers; a cluster that stands is left alone."""
    if answers():
        if not _is_ours(CONFIGS / "slurm.conf"):
            raise Impossible("a Slurm answers here that is not ours. Hint: use a machine without one.")
        return
    refuse_where_impossible(full=full)
    down(base=base)
    for name in ("etc", "run", "log", "state", "dev", "db", *(f"spool/{node}" for node in NODES)):
        (base / name).mkdir(parents=True, exist_ok=True)
    write_configs(base, full=full)
    if full:
        _start_accounting(base)
    _start(["slurmctld"])
    _wait(lambda: " is UP" in (_said(["scontrol", "ping"]) or ""), "slurmctld", base / "log/slurmctld.log")
    for node in NODES:
        _start(_slurmd(node))
    _wait(lambda: _states() == ["idle"] * len(NODES), "the nodes", base / "log/slurmd.cpu1.log")


def down(*, base: Path = BASE) -> None:
    """End all jobs and daemons, and remove what `up` made; nothing where nothing is."""
    if _is_ours(CONFIGS / "slurm.conf"):
        _said(["scancel", "--user=root", "--signal=KILL", "--full"])
        _said(["scancel", "--user=root"])
        until = time.monotonic() + 10
        while time.monotonic() < until and (_said(["squeue", "--noheader"]) or "").strip():
            time.sleep(0.2)
    for name in ("slurmctld", *(f"slurmd.{node}" for node in NODES), "slurmdbd", "mariadbd", "munged"):
        end(base / f"run/{name}.pid")
    for name in ("slurm.conf", "gres.conf", "slurmdbd.conf"):
        if _is_ours(CONFIGS / name):
            (CONFIGS / name).unlink()
    shutil.rmtree(base, ignore_errors=True)


def refuse_where_impossible(*, full: bool) -> None:
    """Impossible: not root, packages missing, or a Slurm that is not ours."""
    if os.getuid() != 0:
        raise Impossible(
            "the throw-away Slurm needs root (its daemons change users). Hint: a container, or sudo make slurm-up."
        )
    wanted = PACKAGES | (FULL_PACKAGES if full else {})
    missing = sorted({package for program, package in wanted.items() if shutil.which(program, path=_path()) is None})
    if missing:
        raise Impossible(f"packages are missing. Hint: apt-get install --no-install-recommends {' '.join(missing)}")
    for name in ("slurm.conf", "gres.conf"):
        place = CONFIGS / name
        if os.path.lexists(place) and not _is_ours(place):
            raise Impossible(f"{place} is of a real Slurm: nothing is done here. Hint: use a machine without one.")


def write_configs(base: Path, *, full: bool) -> None:
    """slurm.conf and gres.conf in the private folder, linked from where Slurm looks; four devices that stand for GPUs."""
    host = socket.gethostname().split(".")[0]
    accounting = ""
    if full:
        accounting = (
            "AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=127.0.0.1\nAccountingStoragePort=6819\n"
            "AccountingStorageTRES=gres/gpu\nAccountingStoreFlags=job_comment\nAccountingStorageEnforce=associations,limits"
        )
    ways = (
        {"auth": "auth/munge", "credentials": "cred/munge"} if full else {"auth": "auth/none", "credentials": "cred/none"}
    )
    text = (HERE / "slurm.conf.in").read_text().format(host=host, base=base, accounting=accounting, **ways)
    (base / "etc/slurm.conf").write_text(text)
    for number in (0, 1):
        device = base / f"dev/nvidia{number}"
        with suppress(FileExistsError):
            os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))  # a second /dev/null: Slurm wants a device
    gres = f"AutoDetect=off\nNodeName=gpu[1-4] Name=gpu Type=h100 File={base}/dev/nvidia[0-1] Flags=nvidia_gpu_env\n"
    (base / "etc/gres.conf").write_text(gres)
    CONFIGS.mkdir(exist_ok=True)
    for name in ("slurm.conf", "gres.conf"):
        (CONFIGS / name).unlink(missing_ok=True)
        (CONFIGS / name).symlink_to(base / "etc" / name)


def answers() -> bool:
    """Whether a controller answers."""
    return (CONFIGS / "slurm.conf").exists() and " is UP" in (_said(["scontrol", "ping"]) or "")


def start_controller() -> None:
    """Start the controller again, as after its crash; its jobs are in its state folder."""
    _start(["slurmctld"])
    _wait(answers, "slurmctld", BASE / "log/slurmctld.log")


def start_node(node: str) -> None:
    """Start a node again that was killed."""
    _start(_slurmd(node))
    _wait(lambda: (_said(["sinfo", "--noheader", "--nodes", node, "--format=%T"]) or "").strip() in
          ("idle", "mixed", "allocated"), node, BASE / f"log/slurmd.{node}.log", 60)  # fmt: skip


def kill(name: str) -> None:
    """SIGKILL for a daemon: slurmctld, or slurmd.NODE, whose jobs live on unseen as on a node that the network has lost."""
    os.kill(int((BASE / f"run/{name}.pid").read_text()), signal.SIGKILL)
    if name.startswith("slurmd."):
        node = name.removeprefix("slurmd.")
        subprocess.run(["pkill", "-KILL", "-f", f"slurmstepd.*\\b{node}\\b"], check=False)


def kill_node(node: str) -> None:
    """A node dies: its daemon and every process on it."""
    kill(f"slurmd.{node}")
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get("SLURMD_NODENAME") == node:
                process.kill()


def end(pid_file: Path) -> None:
    """End a daemon by its pid file and wait for it."""
    try:
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
    except (OSError, ValueError):
        return
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _start_accounting(base: Path) -> None:
    """munge, MariaDB and slurmdbd, so that sacct and accounts work: cluster vipersight, account lab, user root."""
    key = base / "etc/munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    Path("/run/munge").mkdir(exist_ok=True)
    Path("/run/munge").chmod(0o755)
    files = [f"--key-file={key}", f"--pid-file={base}/run/munged.pid", f"--log-file={base}/log/munged.log"]
    _start(["munged", "--force", *files, f"--seed-file={base}/run/munge.seed"])
    _wait(lambda: _said(["munge", "-n"]) is not None, "munged", base / "log/munged.log")
    data = f"--datadir={base}/db/data"
    _start(["mariadb-install-db", "--no-defaults", "--user=root", data, "--auth-root-authentication-method=normal"])
    with open(base / "log/mariadbd.log", "w") as log:
        words = ["mariadbd", "--no-defaults", "--user=root", data, "--bind-address=127.0.0.1", f"--port={DATABASE_PORT}",
                 "--skip-name-resolve", "--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900",
                 f"--socket={base}/run/db.sock"]  # fmt: skip
        server = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True, env=_environment())
    (base / "run/mariadbd.pid").write_text(str(server.pid))
    client = ["mariadb", "--no-defaults", "--user=root", f"--socket={base}/run/db.sock"]
    _wait(lambda: _said([*client, "--execute=select 1"]) is not None, "mariadbd", base / "log/mariadbd.log")
    password = secrets.token_hex(12)
    grant = "create database slurm_acct_db; grant all on slurm_acct_db.* to slurm@127.0.0.1 identified by"
    _start([*client, f"--execute={grant} '{password}'"])
    host = socket.gethostname().split(".")[0]
    settings = base / "etc/slurmdbd.conf"
    settings.touch(mode=0o600)
    settings.write_text(
        f"AuthType=auth/munge\nDbdHost={host}\nDbdAddr=127.0.0.1\nSlurmUser=root\nPidFile={base}/run/slurmdbd.pid\n"
        f"LogFile={base}/log/slurmdbd.log\nStorageType=accounting_storage/mysql\nStorageHost=127.0.0.1\n"
        f"StoragePort={DATABASE_PORT}\nStorageUser=slurm\nStoragePass={password}\nStorageLoc=slurm_acct_db\n"
    )
    (CONFIGS / "slurmdbd.conf").unlink(missing_ok=True)
    (CONFIGS / "slurmdbd.conf").symlink_to(settings)
    _start(["slurmdbd"])
    _wait(lambda: _said(["sacctmgr", "-n", "show", "cluster"]) is not None, "slurmdbd", base / "log/slurmdbd.log")
    for words in (["cluster", "vipersight"], ["account", "lab", "Cluster=vipersight"],
                  ["user", "root", "Account=lab", "DefaultAccount=lab"]):  # fmt: skip
        _start(["sacctmgr", "-i", "add", *words])


def _slurmd(node: str) -> list[str]:
    """The words that start a node. Those of `fragile` have host names of their own, where the kernel lets them: what one
    host cannot see of another is then really unseen."""
    alone = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec slurmd -N "$0"', node]
    can = node in FRAGILE and _said(["unshare", "--uts", "hostname", node]) is not None
    return alone if can else ["slurmd", "-N", node]


def _is_ours(place: Path) -> bool:
    return place.is_symlink() and Path(os.readlink(place)).parent.parent.name.startswith("vipersight-slurm-")


def _states() -> list[str]:
    return (_said(["sinfo", "--noheader", "--Node", "--format=%T", "--partition=cpu,gpu,fragile"]) or "").split()


def _start(words: Sequence[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=_environment())
    if done.returncode:
        raise Unusable(f"{words[0]} does not start: {(done.stderr or done.stdout).strip()[-500:]}")


def _said(words: Sequence[str]) -> str | None:
    """What a command printed within three seconds, None when it failed: without a controller each blocks for ten."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=3, env=_environment())
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _wait(true: Callable[[], bool], what: str, log: Path, limit_s: float = 30.0) -> None:
    until = time.monotonic() + limit_s
    while not true():
        if time.monotonic() > until:
            tail = log.read_text()[-800:] if log.exists() else "no log"
            raise Unusable(f"{what} did not answer within {limit_s:g} s. The end of {log}:\n{tail}")
        time.sleep(0.1)


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
    return kept | {"PATH": _path()}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("verb", choices=["up", "down", "status"])
    arguments.add_argument("--full", action="store_true", help="with munge, MariaDB and slurmdbd: sacct and accounts")
    given = arguments.parse_args()
    try:
        if given.verb == "up":
            up(full=given.full)
        elif given.verb == "down":
            down()
    except Unusable as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2
    if given.verb != "down":
        print(_said(["sinfo"]) or "no Slurm answers here. Hint: make slurm-up")
    return 0


if __name__ == "__main__":
    sys.exit(main())
