"""Copies whose memory is used again, and the one thread that writes. Reference: the values at the time of the call."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from lib.training.write_behind import Copies, WriteBehind
from tests.conftest import PROJECT


def test_copies_use_their_memory_again() -> None:
    copies = Copies()
    source = {"a": torch.randn(50, 4), "b": torch.arange(3)}
    first = copies.take(source)
    places = {name: one.data_ptr() for name, one in first.items()}
    assert all(torch.equal(first[name], source[name]) and places[name] != source[name].data_ptr() for name in source)
    source["a"].add_(1)
    assert not torch.equal(first["a"], source["a"])
    second = copies.take(source)
    assert {name: one.data_ptr() for name, one in second.items()} == places
    assert torch.equal(second["a"], source["a"])


def test_a_tensor_that_changed_its_shape_or_is_gone_keeps_no_memory() -> None:
    copies = Copies()
    copies.take({"a": torch.ones(4), "b": torch.ones(2)})
    found = copies.take({"a": torch.ones(5, dtype=torch.float64)})
    assert list(found) == ["a"] and found["a"].shape == (5,) and found["a"].dtype is torch.float64


def test_copies_made_in_inference_mode_are_used_again_outside() -> None:
    copies = Copies()
    with torch.inference_mode():
        copies.take({"a": torch.zeros(3)})
    source = torch.ones(3, requires_grad=True)
    assert copies.take({"a": source})["a"].tolist() == [1, 1, 1]


def test_views_become_contiguous_copies() -> None:
    whole = torch.arange(6.0).reshape(2, 3)
    found = Copies().take({"turned": whole.T, "column": whole[:, 1], "wide": whole[:1].expand(4, 3)})
    assert torch.equal(found["turned"], whole.T) and found["turned"].is_contiguous()
    assert found["column"].tolist() == [1, 4] and found["wide"].shape == (4, 3)


def test_work_is_done_one_after_the_other() -> None:
    writing, order, gate = WriteBehind(), [], threading.Event()

    def slow() -> None:
        gate.wait(10)
        order.append("first")

    writing.start(slow)
    assert order == []
    threading.Timer(0.05, gate.set).start()
    writing.start(lambda: order.append("second"))
    writing.wait()
    assert order == ["first", "second"]


@pytest.mark.parametrize("call", ["wait", "start"])
def test_a_failure_is_raised_by_the_next_call_once(call: str, capfd: pytest.CaptureFixture[str]) -> None:
    writing, done = WriteBehind(), []
    writing.start(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        writing.wait() if call == "wait" else writing.start(lambda: done.append("no"))
    assert done == []
    writing.wait()
    assert "error: a checkpoint could not be written: division by zero" in capfd.readouterr().err


@pytest.mark.slow
def test_a_program_ends_only_when_it_has_written(tmp_path: Path) -> None:
    """Even one that fails: the thread goes on, and what fails in it is told."""
    program = f"""
import time, sys
from lib.training.write_behind import WriteBehind
def work():
    time.sleep(0.5)
    open({str(tmp_path / "done")!r}, "w").close()
    raise OSError("the disk")
WriteBehind().start(work)
sys.exit(3)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 3 and (tmp_path / "done").exists()
    assert "error: a checkpoint could not be written: the disk" in done.stderr
