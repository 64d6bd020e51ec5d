"""Which value of an image is white, where its type does not say: floats, and 10, 12, 14 bits kept in 16.

Bytes need nothing. Floats that stay in [0, 1] and pictures that use their 16 bits are read as they are. All
else is told by `--range`, or refused with the values that were seen: nothing becomes nearly black in silence.
"""

from __future__ import annotations

import numpy as np

from ostrich.errors import InputError, UnreadableImage
from ostrich.images import LEVELS, SLACK

SIXTEEN = 65535.0
FEWEST_OF_SIXTEEN = 16384.0
"""16-bit pictures whose brightest value over all files lies below it are asked about. Cameras and scanners
have 8, 10, 12, 14 or 16 bits; kept in 16 without scaling, those of 14 reach a quarter of the range, of 12 a
sixteenth. Real 16-bit pictures so dark have to be told as well: --range 65535 takes them as they are."""
DARK = 1 / 16  # of a told range: images that stay below it are said to be nearly black
WHITES = {"float": (255, 4095, 65535), "int": (255, 4095, 16383, 65535)}  # which are proposed
KINDS = {"float": "floats", "int": "whole numbers of more than 8 bits"}


class Levels:
    """The value of white for each kind, as told by --range, and the values that were seen.

    `told` is NUMBER for all, or KIND=NUMBER with commas between. Raises InputError for anything else.
    """

    def __init__(self, told: str | float | None = None) -> None:
        self.told = _read(told)
        self.low: dict[str, float] = {}
        self.high: dict[str, float] = {}

    def to_bytes(self, values: np.ndarray, file: str, *, picture: bool = False) -> np.ndarray:
        """Values of any shape as bytes; those of a picture file may have 16 bits without being told.

        Raises InputError where the value of white is not known, UnreadableImage for what is not finite.
        """
        low, high = float(values.min()), float(values.max())
        if not np.isfinite([low, high]).all():
            raise UnreadableImage(f"{file!r} holds values that are not finite (nan or infinity).")
        kind = "float" if values.dtype.kind == "f" else "int"
        self.see(kind, low, high)
        white = self.told.get(kind)
        slack = SLACK if kind == "float" else 0  # a rounding error is no other range
        if white is None and kind == "float" and low >= -slack and high <= 1 + slack:
            white = 1.0
        elif white is None and kind == "int" and picture and low >= 0 and high <= SIXTEEN:
            white = SIXTEEN
        if white is None or low < -slack * white or high > (1 + slack) * white:
            beyond = "" if white is None else f", beyond --range {white:g}"
            raise InputError(
                f"{file!r} holds {values.dtype} from {low:g} to {high:g}{beyond}; bytes (uint8) or floats in "
                f"[0, 1] are expected. {_how(kind, low, high)}"
            )
        return np.clip(values / white * LEVELS, 0, LEVELS).round().astype(np.uint8)

    def see(self, kind: str, low: float, high: float) -> None:
        """Remember values that a file has."""
        self.low[kind] = min(low, self.low.get(kind, low))
        self.high[kind] = max(high, self.high.get(kind, high))

    def check(self, name: str) -> None:
        """Refuse, by an InputError, 16-bit images that together use too little of their 16 bits."""
        high = self.high.get("int")
        if high is None or "int" in self.told or high >= FEWEST_OF_SIXTEEN:
            return
        raise InputError(
            f"The 16-bit images of {name} hold values from {self.low['int']:g} to {high:g} of 65535, as of "
            f"fewer bits: they would be nearly black. {_how('int', 0, high)} --range 65535 takes them as "
            "they are."
        )

    def remark(self) -> str | None:
        """What was told and what was seen, in a sentence."""
        used = [kind for kind in self.told if kind in self.high]
        if self.told and not used:
            return "all images have 8 bits, so that --range changes nothing"
        parts = []
        for kind in used:
            white = self.told[kind]
            dark = ": nearly black" if self.high[kind] < DARK * white else ""
            parts.append(f"{KINDS[kind]} up to {self.high[kind]:g}, where {white:g} is white{dark}")
        return "; ".join(parts) or None


def _how(kind: str, low: float, high: float) -> str:
    """How the value of white is told."""
    if low < 0:
        return "Give images without normalisation (mean, std): that belongs to the network."
    guess = next((white for white in WHITES[kind] if high <= white), round(high))
    return f"Say which value is white: --range {guess}, or for this kind alone --range {kind}={guess}."


def _read(told: str | float | None) -> dict[str, float]:
    """--range as the value of white for each kind."""
    if told is None:
        return {}
    found: dict[str, float] = {}
    try:
        for part in str(told).split(","):
            kind, _, number = part.rpartition("=")
            for one in [kind.strip()] if kind else list(KINDS):
                found[one] = float(number)
    except ValueError:
        found = {}
    if not found or not set(found) <= set(KINDS) or not all(0 < white < np.inf for white in found.values()):
        raise InputError(
            f"--range is the value that is white: a number above 0 such as 255 or 4095, or float=1,int=4095; "
            f"got {told!r}."
        )
    return found
