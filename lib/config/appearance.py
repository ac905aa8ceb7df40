"""Settings of what one box looks like as a vector: for object features and for trackers that compare appearance.

Not here: cropping and encoding (lib/perception/roi.py and its encoders).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from lib.config.base import Section, shown
from lib.config.embed_common import PretrainedSection

APPEARANCE_WIDTH = 128
"""Numbers that describe one box, whatever the encoder: the vector has length 1."""


class LightAppearance(Section):
    """Built in: colours and edges of the crop, by rows of it, projected to 128 numbers."""

    needs_gpu: ClassVar[bool] = False
    kind: Literal["light"] = Field(description="Colours and edges, no network.")


class TransformersAppearance(PretrainedSection):
    """A picture encoder of transformers (CLIP, SigLIP, DINOv2, ViT …), pooled and projected to 128 numbers."""

    needs_gpu: ClassVar[bool] = True
    kind: Literal["transformers"] = Field(description="A picture encoder of transformers.")


class TorchvisionAppearance(Section):
    """A classifier of torchvision without its last layer, pooled and projected to 128 numbers."""

    needs_gpu: ClassVar[bool] = True
    kind: Literal["torchvision"] = Field(description="A backbone of torchvision.")
    model: str = Field(description="Name in torchvision.models, such as resnet18 or mobilenet_v3_small.")
    file: str | None = Field(
        None,
        description="Local state dict of that model (.safetensors or .pth; $VARIABLES are filled in); null = the weights "
        "that torchvision itself downloads.",
    )
    size: int = Field(
        128, ge=32, le=1024, description="Side in px to which crops are scaled; higher sees more detail and costs time."
    )
    width: int | None = Field(None, ge=1, description="Width that the pooled backbone must have; null = whatever it has.")
    batch: int = shown(64, "Crops per call of the network.", ge=1)


Appearance = Annotated[LightAppearance | TransformersAppearance | TorchvisionAppearance, Field(discriminator="kind")]


def runs_network(section: Section) -> bool:
    """Whether a featureset or a tracker runs a network that a GPU speeds up."""
    return any(getattr(one, "needs_gpu", False) for one in (section, getattr(section, "appearance", None)))
