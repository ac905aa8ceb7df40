"""What settings of all trackers share: likeness of boxes, the Kalman filter's noise, knobs that depend on a switch.

Not here: any tracker's own settings (track.py, track_camera.py).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lib.config.base import Section, added, refuse_idle, shown

Similarity = Literal["iou", "giou", "diou", "ciou", "hmiou", "centroid"]


class LinkedTracker(Section):
    """What all trackers share that follow anything."""

    classes_separately: bool = Field(
        False,
        description="true = boxes of different classes are never joined into one track (boxmot's per_class); false = a "
        "track lives on when the detector changes its mind about the class.",
    )
    interpolate: int = added(
        0,
        "Longest gap of a track, in processed frames, that is filled by a straight line between the boxes on both sides; "
        "such boxes have score 0, for no detector saw them. Higher fills longer occlusions, and invents more. 0 = none.",
        ge=0,
    )


class TrackerSection(LinkedTracker):
    """What all trackers of boxmot share."""

    asso_func: Similarity = Field(
        "iou",
        description="How likeness of two boxes is measured; giou, diou, ciou and centroid also rate boxes that do not "
        "overlap (fast or small objects), hmiou stresses equal heights.",
    )
    description: str = shown("", "One sentence for people.")


class KalmanTracker(TrackerSection):
    """Trackers that predict with a Kalman filter."""

    variable_dt: bool = Field(
        False,
        description="true = predict over the seconds between frames (uneven frame rates, strides); false = over one frame.",
    )
    kf_reference_dt_s: float = Field(
        1 / 30,
        gt=0,
        description="With variable_dt: the frame time, s, for which the filter's noise is meant; higher = less noise.",
    )
    kf_process_position_scale: float = Field(
        1.0, gt=0, description="Noise of predicted positions; higher trusts detections more."
    )
    kf_process_velocity_scale: float = Field(
        1.0, gt=0, description="Noise of predicted speeds; higher follows turns faster."
    )
    kf_measurement_noise_scale: float = Field(1.0, gt=0, description="Noise of detected boxes; higher smooths tracks more.")
    kf_initial_position_scale: float = Field(
        1.0, gt=0, description="Doubt about a new track's position; higher forgets it faster."
    )
    kf_initial_velocity_scale: float = Field(
        1.0, gt=0, description="Doubt about a new track's speed; higher learns it faster."
    )

    @model_validator(mode="after")
    def _reference_time_is_used(self) -> KalmanTracker:
        if not self.variable_dt:
            refuse_idle(self, "kf_reference_dt_s", needs="variable_dt: true")
        return self
