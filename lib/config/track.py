"""`trackers:` — how boxes of a video become tracks. Not here: the trackers themselves (boxmot, and the floor) and feeding
them (lib/perception/trackers.py); the settings of those that can follow the camera (track_camera.py) or compare looks
(track_appearance.py).

Every parameter of boxmot 25's classes that changes tracks is written out with the class's own default (its shipped YAML
files hold other values); where it differs the description says why. `NOT_SETTINGS` and `WITHOUT_EFFECT` say why the others
are no settings; a test compares all with the installed classes. StrongSORT is absent: without appearance there is nothing
left of it, and boxmot's has no switch for that. All times in frames count processed frames (every `stride`-th of the
video).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lib.config.base import Section, refuse_idle, shown
from lib.config.track_appearance import DeepSortTracker
from lib.config.track_camera import BoostTracker, BotSortTracker, DeepOcSortTracker, HybridSortTracker, OccluBoostTracker
from lib.config.track_common import KalmanTracker, TrackerSection

NOT_SETTINGS: dict[str, str] = {
    "class_ids": "made from the detections",
    "class_names": "made from the detections",
    "frame_width": "taken from the video",
    "frame_height": "taken from the video",
    "is_obb": "boxes here are never oriented",
    "max_obs": "length of a drawing history; changes no track",
    "kf_time_unit": "follows from variable_dt",
    "use_embeddings": "always false: trackers here use no appearance",
    "reid_model": "these trackers use no appearance",
    "reid_weights": "these trackers use no appearance",
    "device": "these trackers use no appearance",
    "half": "these trackers use no appearance",
    "reid_preprocess": "these trackers use no appearance",
    "use_cmc": "made from cmc",
    "cmc_method": "made from cmc",
    "cmc_off": "made from cmc",
}
"""Parameters of boxmot's classes that are no settings of any tracker, and why."""

_KALMAN_SCALES = {
    "kf_process_position_scale", "kf_process_velocity_scale", "kf_measurement_noise_scale", "kf_initial_position_scale",
    "kf_initial_velocity_scale",
}  # fmt: skip
_OCCLUSION_BY_APPEARANCE = {
    "recovery_appearance_thresh", "recovery_iou_thresh", "recovery_max_age", "feat_alpha", "second_appearance_thresh",
    "lambda_emb_multiplier", "gta_enabled", "gta_appearance_thresh", "gta_min_track_length", "gta_smooth_tau",
    "gta_interpolate", "gta_max_gap",
}  # fmt: skip

WITHOUT_EFFECT: dict[str, dict[str, set[str]]] = {
    "bytetrack": {"never read": {"det_thresh", "max_age", "min_hits", "iou_threshold"}},
    "ocsort": {},
    "sfsort": {
        "for oriented boxes": {"obb_theta_damping"},
        "refused or never read": {
            "det_thresh", "max_age", "min_hits", "iou_threshold", "variable_dt", "kf_reference_dt_s", *_KALMAN_SCALES,
        },
    },
    "botsort": {
        "never read": {"det_thresh", "max_age", "min_hits", "iou_threshold"},
        "for appearance": {"proximity_thresh", "appearance_thresh", "unconfirmed_emb_scale"},
        "bookkeeping; a short one brings dropped tracks back by accident": {"removed_stracks_buffer"},
    },
    "boosttrack": {},
    "deepocsort": {"for appearance": {"w_association_emb", "alpha_fixed_emb", "aw_param", "aw_off"}},
    "hybridsort": {
        "for appearance": {
            "longterm_bank_length", "alpha", "adapfs", "EG_weight_high_score", "EG_weight_low_score", "with_longterm_reid",
            "longterm_reid_weight", "with_longterm_reid_correction", "longterm_reid_correction_thresh",
            "longterm_reid_correction_thresh_low",
        },
        "false would leave the first matching out, which no one can want": {"TCM_first_step"},
    },
    "occluboost": {
        "for appearance": _OCCLUSION_BY_APPEARANCE,
        "for oriented boxes": {
            "obb_det_thresh", "obb_iou_threshold", "obb_new_track_thresh", "obb_instant_confirm_thresh", "obb_max_age",
            "obb_recovery_max_age", "obb_second_iou_thresh",
        },
    },
}  # fmt: skip
"""Per tracker and reason, parameters that its boxmot class takes and that change none of its tracks as it is used here."""


class ByteTracker(KalmanTracker):
    """ByteTrack (Zhang et al., ECCV 2022): sure boxes first, then unsure ones for tracks that found none."""

    kind: Literal["bytetrack"] = Field(description="ByteTrack.")
    track_thresh: float = Field(
        0.45,
        ge=0,
        le=1,
        description="Score from which a box takes part in the first matching and may start a track; higher = fewer, "
        "surer tracks.",
    )
    min_conf: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Score from which a box may still continue a track in the second matching; higher = more gaps.",
    )
    match_thresh: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Largest cost (1 - likeness × score) of the first matching; higher joins boxes that overlap less.",
    )
    track_buffer: int = Field(
        25,
        ge=0,
        description="How long a lost track waits to be found again, frames at 30 frames/s; higher survives "
        "longer occlusions and risks swaps.",
    )
    frame_rate: int = Field(
        30, ge=1, description="Processed frames per second; track_buffer is multiplied by frame_rate / 30."
    )

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> ByteTracker:
        if self.min_conf > self.track_thresh:
            raise ValueError(f"min_conf {self.min_conf} must not exceed track_thresh {self.track_thresh}")
        return self


class OcSortTracker(KalmanTracker):
    """OC-SORT (Cao et al., CVPR 2023): SORT whose motion leans on observations instead of the filter's estimates."""

    kind: Literal["ocsort"] = Field(description="OC-SORT.")
    det_thresh: float = Field(
        0.3, ge=0, le=1, description="Score from which a box is matched and may start a track; higher = fewer tracks."
    )
    min_conf: float = Field(
        0.1, ge=0, le=1, description="With use_byte: score from which a box may still continue a track."
    )
    use_byte: bool = Field(
        False, description="true = unsure boxes (min_conf to det_thresh) may continue tracks, as in ByteTrack."
    )
    max_age: int = Field(30, ge=0, description="Frames that a lost track waits to be found again; higher risks swaps.")
    min_hits: int = Field(
        3, ge=0, description="Frames in a row before a track is reported; higher = fewer short false tracks."
    )
    iou_threshold: float = Field(
        0.3, ge=0, le=1, description="Least likeness for a match; higher = more broken tracks, fewer swaps."
    )
    delta_t: int = Field(3, ge=1, description="Frames over which a direction is measured; higher = steadier direction.")
    inertia: float = Field(
        0.2, ge=0, le=1, description="Weight of the direction in the matching; higher expects straight ways."
    )

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> OcSortTracker:
        if not self.use_byte:
            refuse_idle(self, "min_conf", needs="use_byte: true")
        if self.use_byte and self.min_conf > self.det_thresh:
            raise ValueError(f"with use_byte, min_conf {self.min_conf} must not exceed det_thresh {self.det_thresh}")
        return self


class SfSortTracker(TrackerSection):
    """SFSORT (Morsali et al., 2024): no filter, matches boxes of neighbouring frames; fast, loses ids at occlusions."""

    kind: Literal["sfsort"] = Field(description="SFSORT.")
    high_th: float = Field(
        0.6, ge=0, le=1, description="Score from which a box takes part in the first matching; higher = fewer boxes."
    )
    low_th: float = Field(
        0.1, ge=0, le=1, description="Score from which a box may still continue a track; at most high_th."
    )
    new_track_th: float = Field(0.7, ge=0, le=1, description="Score above which a box may start a track; at least high_th.")
    match_th_first: float = Field(
        0.67, ge=0, le=0.67, description="Largest cost of the first matching; higher joins boxes further apart."
    )
    match_th_second: float = Field(
        0.3, ge=0, le=1, description="Largest cost of the second matching; higher joins boxes further apart."
    )
    marginal_timeout: int = Field(
        0, ge=0, le=500, description="Frames that a track lost near the frame's edge waits; higher risks swaps."
    )
    central_timeout: int = Field(
        0, ge=0, le=1000, description="Frames that a track lost inside the frame waits; higher survives occlusions."
    )
    horizontal_margin: int | None = Field(None, ge=0, description="Width of the left and right edge, px; null = none.")
    vertical_margin: int | None = Field(None, ge=0, description="Height of the upper and lower edge, px; null = none.")
    dynamic_tuning: bool = Field(
        False, description="true = thresholds shift with the logarithm of the number of boxes in a frame."
    )
    cth: float = Field(
        0.5, ge=0, le=1, description="With dynamic_tuning: boxes above this score are counted; at least low_th."
    )
    high_th_m: float = Field(
        0.0, ge=0, le=0.1, description="With dynamic_tuning (0.02 to 0.1): how far high_th falls per tenfold boxes."
    )
    new_track_th_m: float = Field(
        0.0, ge=0, le=0.08, description="With dynamic_tuning (0.02 to 0.08): how far new_track_th rises per tenfold boxes."
    )
    match_th_first_m: float = Field(
        0.0,
        ge=0,
        le=0.08,
        description="With dynamic_tuning (0.02 to 0.08): how far match_th_first falls per tenfold boxes.",
    )

    @model_validator(mode="after")
    def _not_clamped(self) -> SfSortTracker:
        """boxmot would silently move such values to the nearest allowed one; the settings would then say what is not so."""
        if not self.low_th <= self.high_th <= self.new_track_th:
            raise ValueError(f"low_th {self.low_th} ≤ high_th {self.high_th} ≤ new_track_th {self.new_track_th} must hold")
        if self.cth < self.low_th:
            raise ValueError(f"cth {self.cth} must be at least low_th {self.low_th}")
        for name in ("high_th_m", "new_track_th_m", "match_th_first_m"):
            value = getattr(self, name)
            if self.dynamic_tuning and value < 0.02:
                raise ValueError(f"with dynamic_tuning, {name} must be at least 0.02, not {value}")
        if not self.dynamic_tuning:
            refuse_idle(self, "cth", "high_th_m", "new_track_th_m", "match_th_first_m", needs="dynamic_tuning: true")
        if not (self.marginal_timeout or self.central_timeout):
            refuse_idle(self, "horizontal_margin", "vertical_margin", needs="marginal_timeout or central_timeout above 0")
        return self


class UnlinkedTracker(Section):
    """The floor of tracking: no association at all. Boxes are found as well as ever, and nothing is followed."""

    kind: Literal["unlinked"] = Field(description="No association: every box is a track of its own, one frame long.")
    description: str = shown("", "One sentence for people.")


Tracker = Annotated[
    ByteTracker
    | OcSortTracker
    | SfSortTracker
    | BotSortTracker
    | BoostTracker
    | DeepOcSortTracker
    | HybridSortTracker
    | OccluBoostTracker
    | DeepSortTracker
    | UnlinkedTracker,
    Field(discriminator="kind"),
]


def needs_pixels(tracker: Tracker) -> bool:
    """Whether this tracker looks at the frames themselves: to follow the camera's motion, or to compare looks."""
    return bool(pixels_for(tracker))


def pixels_for(tracker: Tracker) -> str:
    """The setting for which this tracker looks at pixels, as it is written; "" = it does not."""
    if isinstance(tracker, DeepSortTracker):
        return f"appearance: {{kind: {tracker.appearance.kind}}}"
    method = getattr(tracker, "cmc", "off")
    return f"cmc: {method}" if method != "off" else ""


def without_pixels(tracker: Tracker) -> str:
    """What to do where there are none."""
    return "use a tracker of another kind" if isinstance(tracker, DeepSortTracker) else "set cmc: off"


def is_floor(tracker: Tracker) -> bool:
    """Whether this tracker is a board's floor: what its detector's boxes score when nothing is followed."""
    return tracker.kind == "unlinked"
