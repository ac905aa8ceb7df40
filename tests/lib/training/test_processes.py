"""Real processes on the CPU (gloo), started by this program, by torchrun and by accelerate: two ranks are one with the
joint batch. And what is refused instead of training on fewer ranks than was asked for."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lib.config.base import ConfigError
from lib.training import processes
from tests.conftest import PROJECT
from tests.lib.data import packed

PROGRAM = ["-m", "tests.lib.training.ranks"]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed.write(tmp_path_factory.mktemp("shards"), 50)


def run(words: list[str | Path], **env: str) -> subprocess.CompletedProcess[str]:
    """A command to its end, without the variables of a launcher that this test may itself run under."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "TORCHELASTIC", "MASTER_"))}
    environment = kept | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"} | env
    return subprocess.run([str(word) for word in words], cwd=PROJECT, env=environment, capture_output=True, text=True)


def port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


@pytest.fixture(scope="module")
def alone(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights of one process."""
    out = tmp_path_factory.mktemp("alone") / "weights.safetensors"
    done = run([sys.executable, *PROGRAM, manifest, out])
    assert done.returncode == 0, done.stderr
    return load_file(out)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["self", "torchrun", "accelerate"])
def test_two_ranks_are_one_with_the_joint_batch(
    manifest: Path, alone: dict[str, torch.Tensor], tmp_path: Path, launcher: str
) -> None:
    out, config = tmp_path / "weights.safetensors", tmp_path / "accelerate.yaml"
    config.write_text(
        # MULTI_GPU is what makes it start ranks by itself; which device they use is our setting, not its
        "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nnum_machines: 1\nnum_processes: 2\n"
        "machine_rank: 0\nmain_training_function: main\nmixed_precision: 'no'\nuse_cpu: false\n"
    )
    folder = Path(sys.executable).parent
    starts: dict[str, list[str | Path]] = {
        "self": [sys.executable],
        "torchrun": [folder / "torchrun", "--nproc-per-node", "2", "--master-port", port()],
        "accelerate": [folder / "accelerate", "launch", "--config_file", config, "--main_process_port", port()],
    }
    words = [*starts[launcher], *PROGRAM, manifest, out, "--devices", "2", "--launcher", launcher]
    # what silently made one process of two where the launcher was guessed
    done = run(words, **({"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "job"} if launcher == "self" else {}))
    assert done.returncode == 0, done.stderr
    assert "finished after 10 steps, torch.distributed.is_initialized()=True" in done.stdout
    weights = load_file(out)
    for name, value in alone.items():
        assert torch.allclose(weights[name], value, rtol=0, atol=1e-6), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("odd", "says"),
    [("keys", "ranks have batches of different contents"), ("length", r"ranks have [6, 12] batches per epoch")],
)
def test_ranks_that_differ_are_refused(manifest: Path, tmp_path: Path, odd: str, says: str) -> None:
    words = [*PROGRAM, manifest, tmp_path / "w.safetensors", "--devices", "2", "--odd", odd]
    done = run([sys.executable, *words])
    assert done.returncode != 0 and says in done.stderr and "Traceback" not in done.stderr.split(says)[0]


def test_a_launcher_that_did_not_start_this_process_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    given = {"device": "cpu", "devices": 2, "precision": "fp32"}
    with pytest.raises(
        ConfigError, match=r"launcher torchrun did not start this process \(RANK.*Hint: torchrun --nnodes 1 --nproc-per-"
    ):
        processes.start(**given, launcher="torchrun")
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "4", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"accelerate started 4 processes, but devices: 2 in all\. Hint: acc"):
        processes.start(**given, launcher="accelerate")
    with pytest.raises(ConfigError, match=r"launcher 'torchrum' is unknown.*did you mean 'torchrun'"):
        processes.start(**given, launcher="torchrum")


def test_srun_is_told_tasks_per_node(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "2", "SLURM_NODELIST": "a"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE", raising=False)
    with pytest.raises(ConfigError, match=r"launcher srun: .* Hint: srun --nodes 2 --ntasks-per-node 1"):
        processes.start(device="cpu", devices=1, nodes=2, precision="fp32", launcher="srun")


def test_devices_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert processes.choose_device("auto", 1) == processes.choose_device("cpu", 4) == "cpu"
    with pytest.raises(ConfigError, match=r"asked for 2 GPUs and sees 0.*`device: cpu`"):
        processes.choose_device("cuda", 2)
    monkeypatch.setenv("SLURM_GPUS_ON_NODE", "1")
    with pytest.raises(ConfigError, match=r"the job asked for 1 GPU and sees 0"):
        processes.choose_device("auto", 1)
    assert processes.choose_device("cpu", 1) == "cpu"
    monkeypatch.delenv("SLURM_GPUS_ON_NODE")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert processes.choose_device("auto", 1) == "cuda"
    with pytest.raises(ConfigError, match=r"asked for 2 GPUs and sees 1.*needs a GPU of its own"):
        processes.choose_device("auto", 2)
    with pytest.raises(ConfigError, match=r"device 'gpu' is unknown.*Known: auto, cpu, cuda"):
        processes.choose_device("gpu", 1)
    with pytest.raises(ConfigError, match="precision fp16 needs a GPU"):
        processes.start(device="cpu", devices=1, precision="fp16")
    with pytest.raises(ConfigError, match=r"precision 'bf61' is unknown.*did you mean 'bf16'"):
        processes.start(device="cpu", devices=1, precision="bf61")
    with pytest.raises(ConfigError, match="at least 1, got 0 and 1"):
        processes.start(device="cpu", devices=0, precision="fp32")
