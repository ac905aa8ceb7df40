"""Memory of a GPU that really runs out, and what takes less of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from lib.provenance import hardware
from lib.runs.attempts import attempt, attempts_so_far
from lib.training.cached_step import cached_step
from lib.training.evaluator import Evaluator
from lib.training.memory import Halving, OutOfMemory
from lib.training.run import switch_checkpointing_on
from lib.training.trainer import Trainer
from tests.gpu import wide
from tests.lib.training import pairs, toy

pytestmark = pytest.mark.usefixtures("memory")
INNER = 2**16


def crowded(size: int, *, steps: int = 3, **more: Any) -> Trainer:
    """Two micro-batches of 64 / size windows of `size` samples each: the same samples whatever the size."""
    accumulate = 64 // size
    return wide.trainer(
        wide.batches(2 * accumulate, size), steps=steps, model=wide.Wide(INNER, 24), accumulate=accumulate, **more
    )


def limit(mib: float) -> None:
    """Let torch take so much of the GPU at most."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(mib * 2**20 / torch.cuda.mem_get_info()[1])


def test_micro_batches_are_halved_and_the_step_stays_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    seen = wide.Seen()
    free = crowded(64, callbacks=[seen])
    free.train_loop()
    wanted, losses = toy.weights(free), [step.values["train/loss"] for step in seen]
    del free
    most = wide.peak_mib()
    small = crowded(16)
    small.train_loop()
    del small
    least = wide.peak_mib()
    assert least < 0.6 * most, (least, most)
    limit((most + least) / 2)
    again = wide.Seen()
    halved = crowded(64, callbacks=[again], halving=Halving())
    halved.train_loop()
    assert halved.halving is not None and 1 <= halved.halving.halvings <= 2
    assert "out of memory with micro-batches of 64: from now on 32" in capsys.readouterr().err
    assert [step.targets for step in again] == [64.0] * 3 and halved.updates == 3
    assert [step.values["train/loss"] for step in again] == pytest.approx(losses, rel=1e-5)
    for name, value in toy.weights(halved).items():
        assert torch.allclose(value, wanted[name], rtol=1e-4, atol=1e-6), name


def test_without_a_way_out_the_error_says_what_to_change() -> None:
    limit(120)
    with pytest.raises(OutOfMemory, match=r"micro-batches of 64 .*not split: .*Hint: a smaller `batch`"):
        crowded(64, halving=Halving(allowed=False, why="pairs")).train_loop()


def test_an_evaluation_that_does_not_fit_says_so() -> None:
    evaluator = Evaluator(
        loader=wide.batches(1, 2048),
        decode=lambda outputs, batch: {"val/first": float(outputs[0])},
        score=lambda found: found,
    )
    run = crowded(8, steps=1, evaluator=evaluator)
    limit(600)
    with pytest.raises(OutOfMemory, match=r"evaluation on val after step 1, in batches of 2048"):
        run.train_loop()


class Encoder(nn.Module):
    """An encoder of transformers over (b, t, 256)."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {"hidden_size": 256, "num_hidden_layers": 8, "num_attention_heads": 4, "intermediate_size": 1024}
        rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        self.inner = BertModel(BertConfig(vocab_size=10, **sizes, **rates), add_pooling_layer=False)
        self.inner.embeddings.word_embeddings.requires_grad_(False)
        self.out = nn.Linear(256, 1)

    def forward(self, batch: dict[str, Any]) -> Tensor:
        return self.out(self.inner(inputs_embeds=batch["x"]).last_hidden_state).mean((1, 2))

    def gradient_checkpointing_enable(self) -> None:
        switch_checkpointing_on(self.inner)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gradient_checkpointing_takes_less(precision: str) -> None:
    random = torch.Generator().manual_seed(0)
    given = [{"x": torch.randn(32, 128, 256, generator=random), "y": torch.randn(32, generator=random)}]
    peaks, norms = [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = Encoder()
        if checkpointing:
            switch_checkpointing_on(model)
        seen = wide.Seen()
        wide.trainer(given, steps=2, model=model, precision=precision, callbacks=[seen]).train_loop()
        norms.append([step.norm for step in seen])
        del model
        peaks.append(wide.peak_mib())
    assert peaks[1] < 0.6 * peaks[0], peaks
    assert norms[0] == pytest.approx(norms[1], rel=1e-4 if precision == "fp32" else 2e-2)


class Large(pairs.Towers):
    """The towers of the tests on a CPU with more activations."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = (
            nn.Sequential(nn.Linear(pairs.WIDTH, 8192), nn.GELU(), nn.Tanh(), nn.GELU(), nn.Linear(8192, pairs.DIM))
            for _ in range(2)
        )


def test_a_cached_step_is_the_step_over_all_pairs_in_less_memory() -> None:
    ended, peaks, norms = [], [], []
    for sizes in ([4096], [256] * 16):
        torch.manual_seed(1)
        seen = wide.Seen()
        run = pairs.trainer(
            pairs.batches(sizes), model=Large(), accumulate=len(sizes), total_steps=3, fabric=wide.on_gpu(),
            step=cached_step(pairs.contrastive), callbacks=[seen],
        )  # fmt: skip
        run.train_loop()
        ended.append(toy.weights(run))
        norms.append([step.norm for step in seen])
        del run
        peaks.append(wide.peak_mib())
    assert peaks[1] < 0.7 * peaks[0], peaks
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)
    for name, value in ended[0].items():
        assert torch.allclose(ended[1][name], value, rtol=1e-3, atol=1e-4), name


def test_an_attempt_tells_how_much_of_the_gpu_it_took(tmp_path: Path) -> None:
    before = torch.cuda.memory_allocated() / 2**20
    with attempt(tmp_path, "f"):
        torch.zeros(64, 2**20, device="cuda")
    kept = json.loads((tmp_path / "attempts" / "1.json").read_text())
    assert kept["peak_gpu_memory_mb"] == pytest.approx(before + 256, abs=1)
    assert attempts_so_far(tmp_path, "f")["peak_gpu_memory_mb"] == kept["peak_gpu_memory_mb"]
    assert hardware()["gpus"][0] == torch.cuda.get_device_name(0)
