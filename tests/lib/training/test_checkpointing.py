"""Gradient checkpointing of real transformers models (tiny, random weights): the same gradients, fewer activations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import BertConfig, BertModel, CLIPConfig, CLIPModel

from lib.config.base import ConfigError
from lib.training import processes
from lib.training.memory import Halving
from lib.training.run import switch_checkpointing_on
from lib.training.trainer import Trainer
from tests.conftest import PROJECT
from tests.lib.training import toy
from tests.lib.training.pairs import Batches
from workflow_scripts import _program

SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}


class Bert(nn.Module):
    """Sequences (B, 9, 12) → (B, 9), through an encoder of transformers whose switch it passes on."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
        config = BertConfig(vocab_size=10, max_position_embeddings=16, **SMALL, **rates)
        self.into, self.encoder, self.out = nn.Linear(12, 32), BertModel(config, add_pooling_layer=False), nn.Linear(32, 1)
        self.encoder.embeddings.word_embeddings.requires_grad_(False)  # unused: the input is embedded already

    def forward(self, batch: dict[str, Any]) -> Tensor:
        return self.out(self.encoder(inputs_embeds=self.into(batch["x"])).last_hidden_state).squeeze(-1)

    def gradient_checkpointing_enable(self) -> None:
        switch_checkpointing_on(self.encoder)


class Clip(nn.Module):
    """CLIP itself on noise, so that both of its towers are seen."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        text = SMALL | {"vocab_size": 20, "attention_dropout": dropout, "eos_token_id": 19}
        vision = SMALL | {"image_size": 16, "patch_size": 8, "attention_dropout": dropout}
        self.clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16))
        self.gradient_checkpointing_enable = lambda: switch_checkpointing_on(self.clip)

    def forward(self, batch: dict[str, Any]) -> Tensor:
        return self.clip(input_ids=batch["ids"], pixel_values=batch["pixels"]).logits_per_image


def batches(count: int) -> list[dict[str, Any]]:
    random = torch.Generator().manual_seed(3)
    made = []
    for place in range(count):
        x = torch.randn(4, 9, 12, generator=random)
        more = {
            "ids": torch.randint(0, 19, (4, 7), generator=random),
            "pixels": torch.randn(4, 3, 16, 16, generator=random),
        }
        more["ids"][:, -1] = 19
        mask = torch.arange(9)[None] < torch.arange(4)[:, None] + 2 + place
        made.append({"keys": list("abcd"), "x": x, "y": x.mean(2), "mask": mask} | more)
    return made


def gradients_and_saved(kind: type[nn.Module], dropout: float, checkpointed: bool) -> tuple[dict[str, Tensor], int]:
    """Gradients of one backward pass, and the bytes of activations (no parameters) that it held."""
    torch.manual_seed(0)
    model = kind(dropout).train()
    if checkpointed:
        switch_checkpointing_on(model)
    own = {one.data_ptr() for one in model.parameters()}
    saved: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        if value.untyped_storage().data_ptr() not in own:
            saved[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        out = model(batches(1)[0])
    (out**2).sum().backward()
    return {name: one.grad for name, one in model.named_parameters() if one.grad is not None}, sum(saved.values())


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("kind", [Bert, Clip])
def test_the_same_gradients_of_fewer_activations(kind: type[nn.Module], dropout: float) -> None:
    plain, held = gradients_and_saved(kind, dropout, False)
    again, less = gradients_and_saved(kind, dropout, True)
    assert plain.keys() == again.keys() and len(plain) > 20
    assert all(torch.allclose(plain[name], again[name], rtol=0, atol=1e-6) for name in plain)
    assert less < 0.5 * held, (less, held)


def test_dropout_matters_in_that_test() -> None:
    assert not torch.allclose(
        gradients_and_saved(Bert, 0.3, True)[0]["out.weight"], gradients_and_saved(Bert, 0.0, True)[0]["out.weight"]
    )


def test_frozen_first_layers_still_learn_above() -> None:
    """What the reentrant kind fails at: no input of the first checkpointed layer needs a gradient."""
    model = Bert(0.0).train()
    switch_checkpointing_on(model)
    model.into.requires_grad_(False)
    model.encoder.embeddings.requires_grad_(False)
    model(batches(1)[0]).sum().backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in model.encoder.encoder.layer[0].parameters()
               if one.dim() > 1)  # fmt: skip


def test_a_model_that_cannot_is_named() -> None:
    class Old(nn.Module):
        def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: Any = None) -> None:
            assert gradient_checkpointing_kwargs == {"use_reentrant": False}
            raise ValueError("Old does not support gradient checkpointing.")

    with pytest.raises(ConfigError, match=r"gradient_checkpointing: Old does not support.*Hint: gradient_checkpointing: "):
        switch_checkpointing_on(Old())


def trained(ranks: int, checkpointed: bool) -> Trainer:
    """Two windows of two micro-batches of 4, or of two ranks' 2."""
    fabric = processes.start(device="cpu", devices=ranks, precision="fp32")
    torch.manual_seed(0)
    model = Bert(0.0)
    if checkpointed:
        switch_checkpointing_on(model)
    given = batches(4)
    if ranks > 1:
        mine = slice(2 * fabric.global_rank, 2 * fabric.global_rank + 2)
        given = [{name: value[mine] for name, value in batch.items()} for batch in given]
    learned = [one for one in model.parameters() if one.requires_grad]
    run = Trainer(
        model=model, loss=toy.squared, optimizer=torch.optim.SGD(learned, lr=0.1),
        schedule=toy.Constant(), loader=Batches(given), total_steps=4, accumulate=2, fabric=fabric, halving=Halving(),
    )  # fmt: skip
    run.train_loop()
    return run


@pytest.mark.slow
def test_in_two_ranks(tmp_path: Path) -> None:
    out = tmp_path / "weights.safetensors"
    command = [sys.executable, "-m", "tests.lib.training.test_checkpointing", str(out)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    alone, found = toy.weights(trained(1, False)), load_file(out)
    assert all(torch.allclose(found[name], alone[name], rtol=0, atol=1e-6) for name in alone)


def main() -> None:
    run = trained(2, True)
    if run.fabric.is_global_zero:
        save_file({name: value.contiguous() for name, value in toy.weights(run).items()}, sys.argv[1])


if __name__ == "__main__":
    _program.run(main)
