"""Pictures inside of a page, so that it needs nothing but itself, and stays light.

Evidence (originals and adversarial examples) travels without loss, pixel for pixel, until a page holds
`EXACT` bytes of it; what comes later, like other large pictures, is made lighter, and lighter still once it
holds `MUCH` of all kinds: the files beside the page remain the evidence.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from PIL import Image

SMALL = 128  # pixels; pictures up to this side are enlarged by whole numbers, pixels crisp
HEAVY = 48 * 1024  # bytes; larger pictures are made lighter
LONGEST = 640  # pixels of a lighter picture's longer side: the widest place in the page
THUMBNAIL = 160
EXACT = 448 * 1024  # bytes of evidence without loss in a page
MUCH = 640 * 1024  # bytes of pictures in a page, after which there is less for each
LIGHT = 8 * 1024, 256, 60  # then: heavy, longest, and WebP's quality at most

Kind = Literal["evidence", "picture", "thumbnail"]


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """A picture as the page shows it: its data: address, and its size in pixels."""

    source: str
    width: int
    height: int
    lossy: bool = False  # the pixels are not those of the file

    @property
    def small(self) -> bool:
        return max(self.width, self.height) <= SMALL


def embedder(folder: Path) -> Callable[..., Embedded | None]:
    """A function from a file name to its picture, None where the file is missing or no picture.

    Raises AssertionError for a picture outside of the folder: a fault of a probe, not of its user.
    """
    left, spent = EXACT, 0

    @cache
    def embedded(file: str, kind: Kind = "picture") -> Embedded | None:
        nonlocal left, spent
        path = folder / file
        if not path.resolve().is_relative_to(folder.resolve()):
            raise AssertionError(f"picture {file!r} lies outside the run's folder")
        try:
            raw, lossy = path.read_bytes(), False
            heavy, longest, best = LIGHT if spent > MUCH else (HEAVY, LONGEST, 92)
            with Image.open(io.BytesIO(raw)) as picture:
                width, height = picture.size
                form = Image.MIME[picture.format or ""]
                if kind == "thumbnail" and max(picture.size) > THUMBNAIL:
                    raw, form, lossy = _lossy(picture, raw, form, THUMBNAIL, quality=80)
                elif kind == "evidence" and len(raw) > heavy:
                    exact = _lossless(picture, raw, form) if left else None
                    left = max(0, left - len(exact[0])) if exact else 0
                    if left and exact:
                        raw, form = exact
                    else:
                        raw, form, lossy = _lossy(picture, raw, form, longest, quality=best)
                elif kind == "picture" and len(raw) > heavy and max(picture.size) > SMALL:
                    raw, form, lossy = _lossy(picture, raw, form, longest, quality=min(best, 82))
        except (OSError, ValueError, SyntaxError, KeyError, Image.DecompressionBombError):
            return None
        spent += len(raw)
        source = f"data:{form};base64,{base64.b64encode(raw).decode()}"
        return Embedded(source=source, width=width, height=height, lossy=lossy)

    return embedded


def _lossless(picture: Image.Image, raw: bytes, form: str) -> tuple[bytes, str]:
    """The same pixels as WebP, or the picture as it was where that is no gain."""
    if picture.mode not in ("RGB", "L"):
        return raw, form
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, format="WEBP", lossless=True, quality=60, method=4)
    return (buffer.getvalue(), "image/webp") if buffer.tell() < len(raw) else (raw, form)


def _lossy(
    picture: Image.Image, raw: bytes, form: str, longest: int, *, quality: int
) -> tuple[bytes, str, bool]:
    """The picture as WebP of at most so many pixels, or as it was where that is no gain; whether it lost."""
    small = picture.convert("RGB")
    small.thumbnail((longest, longest))
    buffer = io.BytesIO()
    small.save(buffer, format="WEBP", quality=quality)
    lighter = buffer.tell() < len(raw)
    return (buffer.getvalue(), "image/webp", True) if lighter else (raw, form, False)
