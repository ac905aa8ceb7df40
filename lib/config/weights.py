"""`weights:` — pretrained files by path or URL, or a variant trained in this same DAG. Not here: training settings."""

from __future__ import annotations

import re

from pydantic import Field, model_validator

from lib.config.base import Name, Section, shown
from lib.config.download import checked_url


class Weights(Section):
    """One model file that detectors and trainings may start from: exactly one of `path`, `url`, `variant`."""

    path: str | None = Field(None, description="A local file (.pt, .onnx; .pth of RF-DETR); referenced, not copied.")
    url: str | None = Field(None, description="Where to fetch the file; looked for in the mirror first. Needs sha256.")
    sha256: str | None = Field(None, description="Expected sha256 of the file, 64 hexadecimal digits.")
    variant: Name | None = Field(None, description="A variant of this study whose trained model is used.")
    dataset: Name | None = Field(None, description="With `variant`: the dataset that it is trained on.")
    seed: int = Field(0, ge=0, description="With `variant`: which of its seeds.")
    allow_unsafe: bool = shown(
        False,
        "The file may run code while it is read. Needs `sha256`, and holds for that very file only. For files whose maker "
        "you trust; without it a file that wants more than tensors and known layers is refused.",
    )
    licence: str | None = shown(None, "Licence of the weights, for people.")

    @model_validator(mode="after")
    def _one_origin(self) -> Weights:
        given = [key for key in ("path", "url", "variant") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"state exactly one of path, url, variant; stated: {', '.join(given) or 'none'}")
        if self.url and not self.sha256:
            raise ValueError("a url needs its sha256, so that a wrong or cut download is noticed")
        if self.url:
            checked_url(self.url)
        if self.sha256 and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 must be 64 lower-case hexadecimal digits, not {self.sha256!r}")
        if self.allow_unsafe and not self.sha256:
            raise ValueError("allow_unsafe needs the file's sha256: trust is in one file, not in a name")
        if (self.variant is None) != (self.dataset is None):
            raise ValueError("`variant` and `dataset` go together: which variant, trained on which dataset")
        return self
