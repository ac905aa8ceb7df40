"""The synthetic world's palettes: which colour each thing has, and its word. Not here: shapes (figures.py), names
(names.py).

A state's `look` is a number; its hexadecimal digits choose one colour per part, so that a thing keeps its colours over its
whole track. Words are shared where two colours look alike, so that a word never tells apart what eyes cannot.
"""

from __future__ import annotations

Colour = tuple[int, int, int]
"""Red, green, blue, 0..255."""
Palette = tuple[tuple[str, Colour], ...]

VESTS: Palette = (("orange", (255, 122, 24)), ("yellow", (206, 232, 40)), ("red", (240, 68, 40)), ("green", (70, 200, 110)))
HELMETS: Palette = (
    ("white", (250, 250, 245)),
    ("yellow", (250, 205, 40)),
    ("blue", (40, 96, 200)),
    ("red", (214, 42, 38)),
)
TROUSERS: Palette = (("blue", (38, 46, 74)), ("grey", (62, 60, 58)), ("brown", (84, 72, 52)), ("grey", (28, 34, 40)))
SKINS: Palette = tuple(("skin", colour) for colour in ((236, 190, 160), (198, 146, 110), (140, 96, 68), (96, 66, 48)))
BODIES: Palette = (
    ("yellow", (232, 168, 28)),
    ("red", (206, 74, 32)),
    ("blue", (52, 104, 168)),
    ("white", (226, 226, 220)),
    ("green", (86, 128, 72)),
)
LOADS: dict[str, Palette] = {
    "crate": (("brown", (176, 128, 78)), ("brown", (150, 104, 62)), ("grey", (120, 128, 132))),
    "beams": (("red", (150, 66, 46)), ("grey", (96, 108, 122)), ("brown", (120, 92, 70))),
    "pipes": (("grey", (158, 160, 164)), ("orange", (210, 120, 60)), ("blue", (70, 130, 150))),
    "bucket": (("red", (188, 62, 44)), ("blue", (70, 92, 128)), ("grey", (128, 132, 120))),
    "plank": (("brown", (190, 146, 92)),),
    "box": (("brown", (168, 120, 76)),),
}


def pick(look: int, which: int, palette: Palette) -> Colour:
    """The colour of part number `which`."""
    return palette[(look >> (4 * which)) % len(palette)][1]


def word(look: int, which: int, palette: Palette) -> str:
    """The word for the colour of part number `which`."""
    return palette[(look >> (4 * which)) % len(palette)][0]
