"""Settings of trackers that can follow the camera's motion, all of them without appearance. Not here: the others
(track.py).

boxmot's classes compensate the camera by default; here `cmc` is off unless asked for, because it decodes every frame, a
fixed camera gains nothing, and a sequence without pictures could not be tracked at all. boxmot's fourth method, sift, is
no choice: its contrast threshold of 0.5 lets no point pass in any picture, so it would silently be off.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lib.config.base import refuse_idle
from lib.config.track_common import KalmanTracker

CameraMotion = Literal["off", "ecc", "orb", "sof"]
_CMC = (
    "How the camera's motion between frames is estimated and taken out: ecc (whole picture), orb (matched points) or "
    "sof (points followed by optical flow); off = a camera that stands still. All but off need the video's pixels and time."
)


class _CountedTracker(KalmanTracker):
    """Trackers whose lives are counted in frames."""

    det_thresh: float = Field(
        0.3, ge=0, le=1, description="Score from which a box is matched and may start a track; higher = fewer tracks."
    )
    max_age: int = Field(30, ge=0, description="Frames that a lost track waits to be found again; higher risks swaps.")
    min_hits: int = Field(
        3, ge=0, description="Frames in a row before a track is reported; higher = fewer short false tracks."
    )
    iou_threshold: float = Field(
        0.3, ge=0, le=1, description="Least likeness for a match; higher = more broken tracks, fewer swaps."
    )


class BotSortTracker(KalmanTracker):
    """BoT-SORT (Aharon et al., 2022): ByteTrack with a filter of width and height and the camera's motion taken out."""

    kind: Literal["botsort"] = Field(description="BoT-SORT.")
    track_high_thresh: float = Field(
        0.5, ge=0, le=1, description="Score from which a box takes part in the first matching; higher = fewer, surer boxes."
    )
    track_low_thresh: float = Field(
        0.1, ge=0, le=1, description="Score from which a box may still continue a track in the second matching."
    )
    new_track_thresh: float = Field(
        0.6, ge=0, le=1, description="Score from which an unmatched box starts a track; higher = fewer tracks."
    )
    track_buffer: int = Field(
        30, ge=0, description="How long a lost track waits to be found again, frames at 30 frames/s; higher risks swaps."
    )
    match_thresh: float = Field(
        0.8, gt=0, le=1, description="Largest cost (1 - likeness) of the first matching; higher joins boxes further apart."
    )
    second_match_thresh: float = Field(
        0.5, gt=0, le=1, description="Largest cost of the second matching (unsure boxes); higher joins boxes further apart."
    )
    unconfirmed_match_thresh: float = Field(
        0.7, gt=0, le=1, description="Largest cost for a track of one frame to be confirmed; higher = more tracks."
    )
    fuse_first_associate: bool = Field(
        False, description="true = the first matching weighs likeness with the box's score, as ByteTrack does."
    )
    frame_rate: int = Field(
        30, ge=1, description="Processed frames per second; track_buffer is multiplied by frame_rate / 30."
    )
    cmc: CameraMotion = Field("off", description=_CMC)

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> BotSortTracker:
        if self.track_low_thresh > self.track_high_thresh:
            raise ValueError(
                f"track_low_thresh {self.track_low_thresh} must not exceed track_high_thresh {self.track_high_thresh}"
            )
        return self


class DeepOcSortTracker(_CountedTracker):
    """Deep OC-SORT (Maggiolino et al., ICIP 2023) without its appearance: OC-SORT with the camera's motion taken out."""

    kind: Literal["deepocsort"] = Field(description="Deep OC-SORT without appearance.")
    delta_t: int = Field(3, ge=1, description="Frames over which a direction is measured; higher = steadier direction.")
    inertia: float = Field(
        0.2, ge=0, le=1, description="Weight of the direction in the matching; higher expects straight ways."
    )
    cmc: Literal["off", "sof"] = Field("off", description=_CMC + " This tracker knows sof alone.")


class HybridSortTracker(_CountedTracker):
    """Hybrid-SORT (Yang et al., AAAI 2024) without appearance: OC-SORT that also predicts scores and four corners' ways."""

    kind: Literal["hybridsort"] = Field(description="Hybrid-SORT without appearance.")
    track_thresh: float = Field(
        0.5,
        ge=0.1,
        le=1,
        description="Bound between predicted scores of the two matchings: at least this in the first, at most this in the "
        "second; higher ranks sure boxes first.",
    )
    use_byte: bool = Field(
        True, description="true = unsure boxes (low_thresh to det_thresh) may continue tracks, as in ByteTrack."
    )
    low_thresh: float = Field(
        0.1, ge=0, le=1, description="With use_byte: score from which a box may still continue a track."
    )
    tcm_byte_step: bool = Field(
        True, description="With use_byte: true = the second matching also compares scores with the predicted ones."
    )
    tcm_byte_step_weight: float = Field(
        1.0, ge=0, description="With tcm_byte_step: weight of that comparison; higher tells crossing tracks apart by score."
    )
    delta_t: int = Field(3, ge=1, description="Frames over which a direction is measured; higher = steadier direction.")
    inertia: float = Field(
        0.05, ge=0, le=1, description="Weight of the four corners' directions; higher expects straight ways."
    )
    cmc: CameraMotion = Field("off", description=_CMC)

    @model_validator(mode="after")
    def _knobs_have_an_effect(self) -> HybridSortTracker:
        if not self.use_byte:
            refuse_idle(self, "low_thresh", "tcm_byte_step", "tcm_byte_step_weight", needs="use_byte: true")
        if not self.tcm_byte_step:
            refuse_idle(self, "tcm_byte_step_weight", needs="tcm_byte_step: true")
        if self.use_byte and self.low_thresh > self.det_thresh:
            raise ValueError(f"with use_byte, low_thresh {self.low_thresh} must not exceed det_thresh {self.det_thresh}")
        return self


class _BoostedTracker(_CountedTracker):
    """What BoostTrack and OccluBoost share: several likenesses, and scores that are raised where a track expects a box."""

    min_box_area: int = Field(10, ge=0, description="Tracks with a smaller box, px², are not reported in that frame.")
    aspect_ratio_thresh: float | None = Field(
        None,
        gt=0,
        description="Tracks wider than this times their height are not reported in that frame; null = no limit. "
        "boxmot's own 1.6 is for pedestrians and would drop vehicles.",
    )
    lambda_iou: float = Field(
        0.5, ge=0, description="Weight of the overlap times both confidences in the matching; higher trusts sure tracks."
    )
    lambda_mhd: float = Field(0.25, ge=0, description="Weight of the filter's (Mahalanobis) likeness.")
    lambda_shape: float = Field(0.25, ge=0, description="Weight of the likeness of width and height.")
    s_sim_corr: bool = Field(
        False,
        description="true = heights are compared by height (corrected); false = by width, as published.",
    )
    use_dlo_boost: bool = Field(
        True, description="true = scores of boxes rise where a track expects one (DLO): keeps occluded objects."
    )
    dlo_boost_coef: float = Field(
        0.65, ge=0, description="With use_dlo_boost alone: share of the likeness that becomes the score; higher keeps more."
    )
    use_rich_s: bool = Field(
        False,
        description="With use_dlo_boost: true = likeness is overlap, motion and shape together (BoostTrack++).",
    )
    use_sb: bool = Field(False, description="With use_dlo_boost: true = the rise is soft (BoostTrack++).")
    use_vt: bool = Field(
        False, description="With use_dlo_boost: true = the likeness needed shrinks with the time since the last box."
    )
    use_duo_boost: bool = Field(
        True,
        description="true = boxes far from every track rise to det_thresh (DUO): finds new objects sooner "
        "(OccluBoost: where new_track_thresh is no higher than that).",
    )
    adaptive_kf: bool = Field(False, description="true = each track's filter learns its own noise after its first frames.")
    cmc: CameraMotion = Field("off", description=_CMC)

    @model_validator(mode="after")
    def _boosts_have_an_effect(self) -> _BoostedTracker:
        if not self.use_dlo_boost:
            refuse_idle(self, "dlo_boost_coef", "use_rich_s", "use_sb", "use_vt", needs="use_dlo_boost: true")
        if self.use_sb or self.use_vt:
            refuse_idle(self, "dlo_boost_coef", needs="use_sb and use_vt off")
        return self


class BoostTracker(_BoostedTracker):
    """BoostTrack and BoostTrack++ (Stanojevic & Todorovic, 2024) without appearance; use_rich_s, use_sb, use_vt = ++."""

    kind: Literal["boosttrack"] = Field(description="BoostTrack.")


class OccluBoostTracker(_BoostedTracker):
    """boxmot's OccluBoost without appearance: BoostTrack with confirmed tracks and damped jumps of half-hidden boxes."""

    kind: Literal["occluboost"] = Field(description="OccluBoost.")
    new_track_thresh: float = Field(
        0.6, ge=0, le=1, description="Score from which an unmatched box starts a track; higher = fewer tracks."
    )
    confirm_hits: int = Field(2, ge=1, description="Frames in a row that confirm a track; higher = fewer false tracks.")
    instant_confirm_thresh: float = Field(
        0.7, ge=0, le=1, description="Score from which a new track is confirmed at once; lower = more false tracks."
    )
    tentative_max_age: int = Field(1, ge=0, description="Frames that a track without confirmation may miss.")
    duplicate_iou_thresh: float = Field(
        0.85, gt=0, le=1, description="Of two reported tracks that overlap by this, the younger ends; 1 = none ends."
    )
    use_second_pass: bool = Field(
        False, description="true = unsure boxes (track_low_thresh to det_thresh) may continue confirmed tracks."
    )
    track_low_thresh: float = Field(
        0.1, ge=0, le=1, description="With use_second_pass: score from which a box may still continue a track."
    )
    second_iou_thresh: float = Field(0.6, ge=0, le=1, description="With use_second_pass: least likeness for a match.")
    second_pass_max_age: int = Field(
        1,
        ge=1,
        description="With second_pass_min_hits 0: frames since its last box that a track may take part for.",
    )
    second_pass_min_hits: int = Field(
        3, ge=0, description="With use_second_pass: frames in a row that a track must have had."
    )
    ams_enabled: bool = Field(
        True, description="true = a box that jumps and shrinks (a half-hidden object) moves its track less."
    )
    ams_alpha0: float = Field(0.4, ge=0, lt=1, description="With ams_enabled: how much of such a box counts.")
    ams_threshold: float = Field(
        0.5, ge=0, description="With ams_enabled: jump, relative to the mean speed, from which a box is damped."
    )
    ams_buffer_size: int = Field(30, ge=2, description="With ams_enabled: frames over which the mean speed is taken.")
    ams_shrink_ratio: float = Field(
        0.75, ge=0, le=1, description="With ams_enabled: only boxes below this share of the mean area are damped."
    )

    @model_validator(mode="after")
    def _knobs_have_an_effect(self) -> OccluBoostTracker:
        second = ("track_low_thresh", "second_iou_thresh", "second_pass_max_age", "second_pass_min_hits")
        if not self.use_second_pass:
            refuse_idle(self, *second, needs="use_second_pass: true")
        if self.second_pass_min_hits:  # a track that missed a frame has no frames in a row
            refuse_idle(self, "second_pass_max_age", needs="second_pass_min_hits: 0")
        if self.use_second_pass and self.track_low_thresh > self.det_thresh:
            raise ValueError(
                f"with use_second_pass, track_low_thresh {self.track_low_thresh} must not exceed "
                f"det_thresh {self.det_thresh}"
            )
        if self.use_second_pass and self._dlo_takes_all():
            raise ValueError(
                f"use_second_pass has no effect: use_dlo_boost already raises every box that fits a track by "
                f"second_iou_thresh {self.second_iou_thresh} to det_thresh {self.det_thresh}. "
                "Hint: set use_dlo_boost: false, or lower dlo_boost_coef or second_iou_thresh."
            )
        if not self.ams_enabled:
            names = ("ams_alpha0", "ams_threshold", "ams_buffer_size", "ams_shrink_ratio")
            refuse_idle(self, *names, needs="ams_enabled: true")
        return self

    def _dlo_takes_all(self) -> bool:
        """Whether the first matching leaves the second pass no box at all: plain DLO gives each coefficient × overlap."""
        plain = self.use_dlo_boost and not (self.use_rich_s or self.use_sb or self.use_vt) and self.asso_func == "iou"
        return plain and self.dlo_boost_coef * self.second_iou_thresh >= self.det_thresh
