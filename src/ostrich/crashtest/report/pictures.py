"""Pictures inside of a page, so that it needs nothing but itself, and stays light.

Evidence (originals and adversarial examples) travels without loss, pixel for pixel, until a page holds
`EXACT` bytes of it, and where it is shown first; what comes later, like other large pictures, is made
lighter, and lighter still the more it holds (`LIGHTER`): the files beside the page remain the evidence.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

SMALL = 128  # pixels; pictures up to this side are enlarged by whole numbers, pixels crisp
THUMBNAIL = 160
EXACT = 320 * 1024  # bytes of evidence without loss in a page
# From so many bytes of pictures in a page on: what is heavy, its longer side then, WebP's quality at most.
LIGHTER = (
    (0, 48 * 1024, 640, 92),  # 640 pixels: the widest place in the page
    (512 * 1024, 8 * 1024, 224, 50),
    (1536 * 1024, 4 * 1024, 160, 40),
)

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


class Embedder:
    """The pictures of a run's folder, in the order in which a page shows them.

    Called with a file's name it gives the picture, None where the file is missing or no picture; `last` is
    what it gave. Raises AssertionError for a picture outside of the folder: a fault of a probe, not of its
    user.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._left, self._spent = EXACT, 0
        self._made: dict[tuple[str, Kind, bool], Embedded | None] = {}
        self._last: dict[str, Embedded | None] = {}

    def __call__(self, file: str, kind: Kind = "picture") -> Embedded | None:
        how = file, kind, kind == "evidence" and file in self._last
        if how not in self._made:
            self._made[how] = self._embedded(*how)
        found = self._made[how]
        if kind == "evidence":
            self._last[file] = found
        self._spent += 3 * len(found.source) // 4 if found else 0
        return found

    def last(self, file: str) -> Embedded | None:
        """A picture of evidence as it was shown last, None where it was not."""
        return self._last.get(file)

    def _embedded(self, file: str, kind: Kind, again: bool) -> Embedded | None:
        path = self.folder / file
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise AssertionError(f"picture {file!r} lies outside the run's folder")
        try:
            raw, lossy = path.read_bytes(), False
            _, heavy, longest, best = next(one for one in reversed(LIGHTER) if one[0] <= self._spent)
            with Image.open(io.BytesIO(raw)) as picture:
                width, height = picture.size
                form = Image.MIME[picture.format or ""]
                if kind == "thumbnail" and max(picture.size) > THUMBNAIL:
                    raw, form, lossy = _lossy(picture, raw, form, THUMBNAIL, quality=80)
                elif kind == "evidence" and len(raw) > heavy:
                    exact = _lossless(picture, raw, form) if self._left and not again else None
                    self._left = max(0, self._left - len(exact[0])) if exact else self._left
                    if exact and self._left:
                        raw, form = exact
                    else:
                        raw, form, lossy = _lossy(picture, raw, form, longest, quality=best)
                elif kind == "picture" and len(raw) > heavy and max(picture.size) > SMALL:
                    raw, form, lossy = _lossy(picture, raw, form, longest, quality=min(best, 82))
        except (OSError, ValueError, SyntaxError, KeyError, Image.DecompressionBombError):
            return None
        source = f"data:{form};base64,{base64.b64encode(raw).decode()}"
        return Embedded(source=source, width=width, height=height, lossy=lossy)


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
