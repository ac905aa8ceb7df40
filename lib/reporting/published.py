"""What others published of the models that can be trained here: COCO val2017, for scale beside runs on other data.

Source: the benchmark tables in the README of rfdetr 1.11.2 (Roboflow's own measurements, one protocol for all models), mAP
at IoU 0.50:0.95 in per cent; a test compares with the installed package. Not comparable with a run on other data: it says
how the sizes of a model are apart where there is much to learn from.
"""

from __future__ import annotations

SOURCE = "COCO val2017, README of rfdetr 1.11.2"
SIZES = ("nano", "small", "medium", "large", "xlarge", "2xlarge")
_LETTERS = dict(zip("nsmlx", SIZES, strict=False))
_SIZED = {
    "rfdetr-seg": (40.3, 43.1, 45.3, 47.1, 48.8, 49.9),
    "rfdetr": (48.4, 53.0, 54.7, 56.5, 58.6, 60.1),
    "yolo11": (37.4, 44.4, 48.6, 49.9, 50.9),
    "yolo26": (40.3, 47.7, 52.5, 54.1, 56.9),
}
"""Family → mAP per size, nano first: of masks for rfdetr-seg, of boxes for the others."""
FAMILIES = {name: "mask_mAP" if name == "rfdetr-seg" else "box_mAP" for name in _SIZED}
"""Family → which score was published."""


def family_of(model: str) -> tuple[str, str] | None:
    """(family, size) of a model by its title: rfdetr-seg-nano, rfdetr-base, yolo11n; None where sizes are not known."""
    for family in sorted(_SIZED, key=len, reverse=True):
        rest = model.removeprefix(family).removeprefix("-")
        if model.startswith(family):
            size = _LETTERS.get(rest, rest) if family.startswith("yolo") else rest
            return (family, size) if size in (*SIZES, "base") else None
    return None


def published(family: str) -> dict[str, float]:
    """Size → published mAP as a share of 1; {} for a family without."""
    return {size: round(value / 100, 4) for size, value in zip(SIZES, _SIZED.get(family, ()), strict=False)}
