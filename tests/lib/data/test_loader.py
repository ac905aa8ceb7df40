"""The loader with real worker processes, compared with reading the samples one by one in the order of epochs.py."""

from __future__ import annotations

import gc
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from lib.config.base import ConfigError
from lib.data import shared_memory
from lib.data.epochs import EpochOrder
from lib.data.loader import ShardLoader, decoded
from lib.data.reader import ShardReader
from lib.data.samples import Sample
from lib.data.shared_memory import LoaderMemoryError, check_shared_memory, needed_bytes, tensor_bytes
from lib.files import DataError
from tests.lib.data import packed

PROJECT = Path(__file__).resolve().parents[3]


def item(sample: Sample, random: np.random.Generator) -> tuple[str, bytes, float]:
    return sample.key, sample.jpg, float(random.random())


def pixels(sample: Sample, random: np.random.Generator) -> torch.Tensor:
    return torch.zeros(3, 256, 256)  # 786,432 bytes


def die(sample: Sample, random: np.random.Generator) -> str:
    if torch.utils.data.get_worker_info() and sample.key == "v1-000003":
        os.kill(os.getpid(), signal.SIGKILL)
    return sample.key


def die_of_bus_error(sample: Sample, random: np.random.Generator) -> str:
    if torch.utils.data.get_worker_info():
        os.kill(os.getpid(), signal.SIGBUS)
    return sample.key


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    return packed.write(tmp_path_factory.mktemp("shards"), 60)


def keys_of(manifest: Path, count: int = 60) -> list[str]:
    return ShardReader(manifest).index["key"].tolist()[:count]


def loader(manifest: Path, count: int = 60, **values) -> ShardLoader:
    values = {"seed": 4, "batch": 4, "transform": item} | values
    return ShardLoader(ShardReader(manifest), keys_of(manifest, count), **values)


def names(batches) -> list[list[str]]:
    return [[key for key, *_ in batch] for batch in batches]


@pytest.mark.parametrize("used", [False, True])
def test_pages_are_locked_where_a_gpu_is_used(manifest: Path, monkeypatch: pytest.MonkeyPatch, used: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: used)
    assert loader(manifest)._loader().pin_memory is used


def test_batches_are_those_of_the_order_with_the_bytes_of_the_samples(manifest):
    keys, order = keys_of(manifest), EpochOrder(keys_of(manifest), seed=4)
    mine = loader(manifest)
    for epoch in range(2):
        batches = list(mine)
        assert names(batches) == [[keys[place] for place in chunk] for chunk in np.split(order.order(epoch), 15)]
        assert mine.epoch == epoch and len(mine) == 15
        for key, jpg, _ in itertools.chain(*batches):
            assert jpg == packed.sample(int(key[1]) * 10 + int(key[-1])).jpg


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(manifest, workers):
    """Keys, bytes and random numbers of the transform, over two epochs; and torch's own random state is not touched."""
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    alone, many = loader(manifest, 57), loader(manifest, 57, workers=workers)
    assert [list(alone), list(alone)] == [list(many), list(many)]
    assert torch.equal(torch.random.get_rng_state(), state)
    first, second = (dict((key, number) for key, _, number in itertools.chain(*batches)) for batches in (alone, alone))
    assert len(set(first.values()) | set(second.values())) == 2 * 57  # each epoch and key has numbers of its own


def _consume(one: ShardLoader, steps: int) -> tuple[list[str], dict]:
    found = []
    if steps:
        for number, batch in enumerate(one, 1):
            found += [key for key, *_ in batch]
            if number == steps:
                break
    return found, json.loads(json.dumps(one.state_dict()))  # checkpoints keep it as text


COMBINATIONS = [
    # samples, (ranks, workers, batch) before, steps, (ranks, workers, batch) after
    (60, (1, 2, 4), 3, (1, 2, 4)),
    (60, (1, 2, 4), 3, (1, 0, 7)),
    (59, (1, 0, 5), 5, (1, 3, 2)),
    (60, (2, 1, 3), 4, (3, 1, 2)),
    (53, (3, 1, 4), 2, (1, 2, 8)),
    (47, (2, 0, 5), 3, (4, 0, 1)),
    (60, (4, 0, 15), 1, (1, 0, 4)),  # the epoch was complete: the next one comes
    (31, (1, 3, 1), 17, (2, 1, 3)),
    (60, (1, 2, 4), 0, (2, 0, 4)),
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(("count", "before", "steps", "after"), COMBINATIONS)
@pytest.mark.parametrize("tail", ["keep", "pad"])
def test_resumed_with_others_at_the_exact_sample(manifest, count, before, steps, after, tail):
    """Workers read ahead, the state does not: what all ranks see before and after the stop is each sample once."""
    ranks, workers, batch = before
    ahead = [
        _consume(loader(manifest, count, tail=tail, ranks=ranks, rank=rank, workers=workers, batch=batch), steps)
        for rank in range(ranks)
    ]
    states = [state for _, state in ahead]
    assert all(state == states[0] for state in states)
    assert states[0]["consumed"] == min(count, steps * ranks * batch)
    seen = [key for keys, _ in ahead for key in keys]

    ranks, workers, batch = after
    for rank in range(ranks):
        one = loader(manifest, count, tail=tail, ranks=ranks, rank=rank, workers=workers, batch=batch)
        one.load_state_dict(states[0])
        rest = list(itertools.chain(*names(one)))
        assert one.epoch == (1 if states[0]["consumed"] == count else 0)
        seen += rest
    epochs = 2 if states[0]["consumed"] == count else 1
    found = Counter(seen)
    assert set(found) == set(keys_of(manifest, count))
    assert found.total() - epochs * count in (range(1) if tail == "keep" else range(epochs * 4))


def test_resumed_run_equals_the_whole_one(manifest):
    """Every stop of two epochs, workers read ahead: the batches that follow are those of a run that never stopped."""
    whole = loader(manifest, 22, batch=5)
    wanted = [*whole, *whole]
    for stop in range(10):
        one = loader(manifest, 22, batch=5)
        stream = itertools.chain(one, one)
        seen = [next(stream) for _ in range(stop)]
        again = loader(manifest, 22, batch=5)
        again.load_state_dict(one.state_dict())
        rest = list(again)
        while len(seen) + len(rest) < 10:
            rest += list(again)
        assert seen + rest == wanted


@pytest.mark.slow
def test_break_goes_on_where_it_stopped(manifest):
    for workers in (0, 2):
        one = loader(manifest, 20, workers=workers)
        seen = [next(iter(one)), next(iter(one))]
        assert [*seen, *one] == list(loader(manifest, 20))


def test_an_abandoned_loader_ends_its_workers_at_once(manifest):
    """Without a circle of references: the workers are told to end when the loader goes, not at a later collection."""
    before = set(multiprocessing.active_children())
    one = loader(manifest, workers=1)
    next(iter(one))
    (worker,) = set(multiprocessing.active_children()) - before
    gc.disable()
    try:
        del one
        worker.join(timeout=4)
        assert not worker.is_alive()
    finally:
        gc.enable()


def test_refusals(manifest):
    for values, text in [
        ({"batch": 0}, "batch 0"),
        ({"ranks": 2, "rank": 2}, "rank below ranks"),
        ({"workers": -1}, "workers -1"),
        ({"tail": "drop", "batch": 61}, "60 samples do not fill one step of 1 ranks x 61"),
    ]:
        with pytest.raises(ConfigError, match=text):
            loader(manifest, **values)
    with pytest.raises(DataError, match="holds no sample 'nobody'"):
        ShardLoader(ShardReader(manifest), ["nobody"], seed=0, batch=1, transform=item)
    with pytest.raises(DataError, match=r"'v1-000000' holds no picture"):
        decoded(packed.sample(10))


@pytest.mark.slow
def test_damage_met_by_a_worker_is_named_as_without_one(manifest, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(manifest.parent, folder)
    tar = folder / "train-000002.tar"
    raw = bytearray(tar.read_bytes())
    raw[700] ^= 4
    tar.write_bytes(raw)
    texts = []
    for workers in (0, 2):
        with pytest.raises(DataError, match=r"train-000002\.tar: .*'v1-000004\.jpg'") as refusal:
            list(loader(folder / "manifest.json", workers=workers))
        texts.append(str(refusal.value))
    assert texts[0] == texts[1]  # one line, no traceback of the worker


# ---------------------------------------------------------------- memory


def test_bytes_of_a_batch():
    batch = {"image": torch.zeros(2, 3, 4), "more": [torch.zeros(5, dtype=torch.uint8), "text", np.zeros(9)], "n": 3}
    assert tensor_bytes(batch) == 2 * 3 * 4 * 4 + 5
    assert needed_bytes(batch, workers=3, prefetch=2, processes=2) == 101 * 8 * 2


def test_small_shared_memory_is_refused_before_workers_start(manifest, monkeypatch):
    room = os.statvfs_result((4096, 4096, 1000, 1000, 1000, 0, 0, 0, 0, 255))  # 4,096,000 bytes
    monkeypatch.setattr(shared_memory.os, "statvfs", lambda folder: room)
    before = set(multiprocessing.active_children())
    with pytest.raises(LoaderMemoryError, match=r"2 workers need 18,874,368 bytes .* but 4,096,000 are free\. Hint: fewer"):
        next(iter(loader(manifest, transform=pixels, collate=default_collate, workers=2)))
    assert set(multiprocessing.active_children()) <= before
    check_shared_memory(4_096_000, workers=1)
    next(iter(loader(manifest, transform=pixels, collate=default_collate, workers=0)))
    next(iter(loader(manifest, workers=2)))  # no tensors: nothing goes through it


def test_no_shared_memory_folder_passes(tmp_path):
    check_shared_memory(10**12, workers=1, folder=tmp_path / "none")


@pytest.mark.slow
@pytest.mark.parametrize(("transform", "text"), [(die, "killed, mostly for want of"), (die_of_bus_error, "/dev/shm")])
def test_a_worker_that_dies_is_of_the_class_memory(manifest, transform, text):
    with pytest.raises(LoaderMemoryError, match=text) as refusal:
        list(loader(manifest, transform=transform, workers=1))
    assert isinstance(refusal.value, MemoryError)


SMALL_MOUNT = """
import sys, numpy as np, torch
from torch.utils.data import default_collate
from lib.data import loader, reader
from tests.lib.data.test_loader import pixels
if sys.argv[2] == "unchecked":
    loader.check_shared_memory = lambda need, workers: None
shards = reader.ShardReader(sys.argv[1])
one = loader.ShardLoader(shards, shards.index["key"].tolist(), seed=0, batch=4, transform=pixels,
                         collate=default_collate, workers=int(sys.argv[3]))
try:
    print("batches", len(list(one)))
except loader.LoaderMemoryError as refusal:
    print("refused:", refusal)
"""


@pytest.mark.slow
def test_a_really_small_shared_memory(manifest):
    """A private mount of 4 MB over /dev/shm: refused before; unchecked, the real bus error is told as what it is."""
    mount = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=4m tmpfs /dev/shm && exec "$@"', "sh"]
    try:
        subprocess.run([*mount, "true"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no right to mount a small /dev/shm ({error})")

    def run(*words: str) -> str:
        command = [*mount, sys.executable, "-c", SMALL_MOUNT, str(manifest), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=PROJECT, env=os.environ)
        return done.stdout + done.stderr

    assert "refused: /dev/shm: 2 workers need 18,874,368 bytes" in run("checked", "2")
    assert "refused: /dev/shm: a worker died for want of shared memory" in run("unchecked", "2")
    assert "batches 15" in run("checked", "0")
