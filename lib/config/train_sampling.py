"""How often a training sees an image that shows a rare class. Not here: the numbers (lib/training/repeat_factor.py)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lib.config.base import Section


class Sampling(Section):
    """Repeat-factor sampling: images with rare classes come more often in each pass over the arm's images.

    A class with frequency f is repeated max(1, sqrt(threshold / f)) times, an image as often as its rarest class; what is
    over a whole number is drawn anew in each pass, from the seed. The budget stays as stated, also one in epochs: rare
    classes are seen instead of others.
    """

    kind: Literal["repeat_factor", "instance_aware"] = Field(
        description="What counts as frequent. repeat_factor: the share of the arm's images that show the class (RFS, arXiv "
        "1908.03195). instance_aware: the geometric mean of that and of its share of all boxes (IRFS, arXiv 2305.08069).",
    )
    threshold: float = Field(
        gt=0,
        le=1,
        description="Classes below this frequency are repeated; higher repeats more. LVIS with its 1,203 classes takes "
        "0.001; of two classes at 1:4 only about 0.5 changes anything.",
    )
