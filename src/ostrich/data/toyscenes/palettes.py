"""Paints of the toybox objects: a colour per named part, and how far an instance may stray.

`vary` is the half-width of a uniform change of hue (in turns, so 0.5 is any hue); saturation and
value change by at most 15 % (30 % where any hue is allowed).
"""

import colorsys
from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]  # red, green, blue in [0, 1]


@dataclass(frozen=True)
class Paint:
    """An sRGB colour as hexadecimal text, how far its hue may stray, and the light it gives itself.

    `glow` is the least light factor of the part: 0 none, 1 its full colour in the dark.
    """

    hex: str
    vary: float = 0.02
    glow: float = 0.0

    @property
    def rgb(self) -> Colour:
        red, green, blue = (int(self.hex[k : k + 2], 16) / 255 for k in (0, 2, 4))
        return red, green, blue


PALETTES: dict[str, dict[str, Paint]] = {
    "school bus": {
        "body": Paint("f7b21a", 0.03), "glass": Paint("2b3a4c", 0.05), "trim": Paint("26221f"),
        "lamp": Paint("fff3c4", glow=0.8), "flasher": Paint("e0352b", glow=0.8), "tyre": Paint("262626"),
        "hub": Paint("b9bcc0"),
    },
    "ostrich": {
        "plumage": Paint("3a322e", 0.04), "white": Paint("f2ece0"), "skin": Paint("dba58d", 0.03),
        "beak": Paint("d98a55", 0.03), "eye": Paint("14110f"),
    },
    "table lamp": {
        "shade": Paint("f4dfa6", 0.5, glow=0.75), "stand": Paint("2f7f86", 0.5),
        "trim": Paint("b98d4c", 0.03), "bulb": Paint("fffbe2", glow=1.0),
    },
    "sports car": {
        "body": Paint("d8202c", 0.5), "glass": Paint("1d2733", 0.05), "stripe": Paint("f5f3ee"),
        "trim": Paint("232323"), "lamp": Paint("fdf6d8", glow=0.8), "tail": Paint("b3121d"),
        "tyre": Paint("202020"), "hub": Paint("c9ccd1"),
    },
    "king penguin": {
        "coat": Paint("2c3444", 0.04), "belly": Paint("f6f3ea"), "bib": Paint("f6dc8a", 0.02),
        "ear": Paint("f59a22", 0.02), "foot": Paint("3d3a3c"), "eye": Paint("6b3a1e"),
    },
    "coffee mug": {
        "cup": Paint("e8e3d6", 0.5), "band": Paint("3c76b5", 0.5), "inside": Paint("f3efe6"),
        "coffee": Paint("4a2a17"), "handle": Paint("3c76b5", 0.5),
    },
    "traffic light": {
        "case": Paint("2d332f", 0.08), "board": Paint("e9bb2b", 0.08), "red": Paint("f0322a", glow=0.85),
        "amber": Paint("ffb51f", glow=0.85), "green": Paint("2fd56a", glow=0.85),
        "pole": Paint("777d80", 0.05),
    },
    "umbrella": {
        "first": Paint("d9304f", 0.5), "second": Paint("f4e9d8", 0.5), "stick": Paint("8f9296"),
        "grip": Paint("7a4a25", 0.03),
    },
    "airship": {
        "body": Paint("cfd4d9", 0.5), "stripe": Paint("c8374a", 0.5), "nose": Paint("c8374a", 0.5),
        "fin": Paint("c8374a", 0.5), "cabin": Paint("5a5f68"), "glass": Paint("23303d"),
    },
    "acoustic guitar": {
        "top": Paint("dd9c4e", 0.04), "side": Paint("7d4321", 0.03), "hole": Paint("1d120c"),
        "trim": Paint("f1dfba"), "neck": Paint("53311d", 0.02), "head": Paint("5e3920", 0.02),
        "string": Paint("e9e4d8"),
    },
}  # fmt: skip


def default_colours(name: str) -> dict[str, Colour]:
    """The catalogue colours of an object, paint name to RGB in [0, 1]."""
    return {key: paint.rgb for key, paint in PALETTES[name].items()}


def instance_colours(name: str, rng: np.random.Generator) -> dict[str, Colour]:
    """Colours of one instance: paints of the same catalogue colour stay equal to each other."""
    mixed: dict[Paint, Colour] = {}
    for paint in PALETTES[name].values():
        if paint not in mixed:
            mixed[paint] = _stray(paint, rng)
    return {key: mixed[paint] for key, paint in PALETTES[name].items()}


def _stray(paint: Paint, rng: np.random.Generator) -> Colour:
    hue, saturation, value = colorsys.rgb_to_hsv(*paint.rgb)
    free = paint.vary >= 0.5
    if free:  # a near-grey catalogue colour may become a strong one
        saturation = rng.uniform(min(saturation, 0.25), max(saturation, 0.85))
    reach = 0.3 if free else 0.15
    hue = (hue + rng.uniform(-paint.vary, paint.vary)) % 1
    saturation = float(np.clip(saturation * rng.uniform(1 - reach, 1 + reach), 0, 1))
    value = float(np.clip(value * rng.uniform(1 - reach, 1 + reach), 0.05, 1))
    return colorsys.hsv_to_rgb(hue, saturation, value)
