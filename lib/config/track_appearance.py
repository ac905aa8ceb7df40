"""Settings of trackers that compare what boxes look like. Not here: trackers by motion alone (track.py), the looks
(appearance.py).

Every parameter of deep-sort-realtime's class that changes tracks is written out with the class's own default; where it
differs the description says why. `NOT_DEEPSORT` says why the others are no settings; a test compares all with the class.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lib.config.appearance import Appearance, LightAppearance
from lib.config.base import shown
from lib.config.track_common import LinkedTracker

NOT_DEEPSORT: dict[str, str] = {
    "override_track_class": "a Python class",
    "embedder": "looks come from `appearance`",
    "half": "looks come from `appearance`",
    "bgr": "looks come from `appearance`",
    "embedder_gpu": "looks come from `appearance`",
    "embedder_model_name": "looks come from `appearance`",
    "embedder_wts": "looks come from `appearance`",
    "polygon": "boxes here are never oriented",
    "today": "ids start at 1 in every video",
}
"""Parameters of deep-sort-realtime's class that are no settings, and why."""


class DeepSortTracker(LinkedTracker):
    """DeepSORT (Wojke et al., ICIP 2017): a Kalman filter, and the likeness of looks before the overlap of boxes."""

    kind: Literal["deepsort"] = Field(description="DeepSORT.")
    appearance: Appearance = Field(
        default_factory=lambda: LightAppearance(kind="light"), description="What turns a box's pixels into its looks."
    )
    det_thresh: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Score below which a box is left out, as the authors do; higher = fewer tracks.",
    )
    max_cosine_distance: float = Field(
        0.2,
        gt=0,
        le=2,
        description="Largest distance (1 - cosine) of looks that still match; higher joins boxes that look less alike.",
    )
    nn_budget: int | None = Field(
        100,
        ge=1,
        description="Looks remembered per track; null = all. The class's own default is null; 100 are the authors'.",
    )
    max_iou_distance: float = Field(
        0.7, gt=0, le=1, description="Largest 1 - IoU of the second matching; higher joins boxes that overlap less."
    )
    max_age: int = Field(30, ge=1, description="Frames that a lost track waits to be found again; higher risks swaps.")
    n_init: int = Field(
        3, ge=1, description="Frames in a row before a track is reported (never in its first); higher = fewer false tracks."
    )
    nms_max_overlap: float = Field(
        1.0, gt=0, le=1, description="Boxes that overlap a better one by more than this are left out; 1 = none."
    )
    gating_only_position: bool = Field(
        False, description="true = the filter compares centres only; false = also shape and height."
    )
    description: str = shown("", "One sentence for people.")
