"""Samples of a generator and their files: PNGs and a grid; of clips GIFs, MP4s and their streams.

Where a PNG cannot hold their channels, samples are .npy files.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ostrich.data.pictures import NO_ARRAY
from ostrich.errors import InputError
from ostrich.figures.clips import film, is_clip, sheet, stills, write_clip
from ostrich.generative.generator import Generator
from ostrich.generative.video_gan import VideoGenerator
from ostrich.images import grid, image_name, write_image, write_png
from ostrich.runtime.files import write_bytes

SIDE = 512  # pixels of a film; smaller ones are enlarged by whole numbers
ROWS = 16  # clips on the sheet
STREAMS = 8  # clips whose streams are shown apart


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Samples `images` (N, C, H, W) in [0, 1], or clips (N, C, T, H, W), of `codes` (N, Z).

    `classes` (N,) are None where the generator is not conditional.
    """

    generator: Generator
    images: Tensor
    codes: Tensor
    classes: Tensor | None
    truncation: float | None

    @property
    def figures(self) -> dict[str, Any]:
        """How many there are, and which files `write` writes."""
        clips, channels = is_clip(self.generator.shape), self.generator.shape[0]
        if clips:
            files = [name + suffix for name in self._names for suffix in (".gif", ".mp4")]
        else:
            files = [image_name(name, channels) for name in self._names]
        found: dict[str, Any] = {"n": len(self.images), "truncation": self.truncation, "grid": "grid.png"}
        found |= {"codes": "codes.npy", "files": files}
        if clips:
            found |= {"film": "grid.gif", "video": "grid.mp4"}
        if self._has_streams:
            found |= {"streams": "streams.png", "streams_film": "streams.gif"}
        if self.classes is not None:
            names = self.generator.class_names or ()
            found["classes"] = torch.bincount(self.classes, minlength=len(names)).tolist()
        return found

    def write(self, folder: Path) -> None:
        """Write each sample, their grid, and their codes."""
        clips = is_clip(self.generator.shape)
        for name, image in zip(self._names, self.images, strict=True):
            if clips:
                write_clip(folder / f"{name}.gif", image)
                write_clip(folder / f"{name}.mp4", image)
            else:
                write_image(folder / image_name(name, len(image)), image)
        write_png(folder / "grid.png", self.grid)
        write_array(folder / "codes.npy", self.codes)
        if clips:
            for name in ("grid.gif", "grid.mp4"):
                write_clip(folder / name, film(self.images), SIDE)
        if self._has_streams:
            self._write_streams(folder)

    @property
    def grid(self) -> Tensor:
        """All samples in one image (C, H', W')."""
        return sheet(self.images, ROWS)

    def _write_streams(self, folder: Path) -> None:
        """The streams of the first clips: beside one another as a picture and a film, and as arrays."""
        few = self.images[:STREAMS]
        classes = None if self.classes is None else self.classes[:STREAMS]
        foreground, mask, background = self.generator.streams(self.codes[:STREAMS], classes)
        shown = [few, foreground, mask, background]  # left to right
        columns = torch.stack([one.expand_as(few) for one in shown], 1).flatten(0, 1)  # (4 N, C, T, H, W)
        write_clip(folder / "streams.gif", film(columns, len(shown)), SIDE)
        write_png(folder / "streams.png", grid(stills(columns), len(shown)))
        for name, values in (("foreground", foreground), ("mask", mask), ("background", background)):
            write_array(folder / f"streams/{name}.npy", values)

    @property
    def _has_streams(self) -> bool:
        return isinstance(self.generator.network, VideoGenerator)

    @property
    def _names(self) -> list[str]:
        names = [f"samples/{i:04d}" for i in range(len(self.images))]
        if self.classes is None:
            return names
        classes = self.generator.class_names or ()
        return [f"{name}-{_plain(classes[k])}" for name, k in zip(names, self.classes.tolist(), strict=True)]


def sample(
    generator: Generator,
    codes: Tensor,
    classes: list[int] | None = None,
    truncation: float | None = None,
) -> Sample:
    """Samples of codes (N, Z); `classes`, by default all, are taken in turn. Raises InputError."""
    asked = generator.in_turn(range(len(codes)), classes)
    images = generator(codes, asked)
    return Sample(generator=generator, images=images, codes=codes, classes=asked, truncation=truncation)


def read_codes(path: Path) -> Tensor:
    """Codes (N, Z) from a .npy file. Raises InputError."""
    try:
        return torch.from_numpy(np.load(path, allow_pickle=False))
    except NO_ARRAY as error:
        raise InputError(f"The codes {str(path)!r} cannot be read as .npy ({error}).") from None


def write_array(path: Path, values: Tensor) -> None:
    """Write a tensor as .npy, atomically."""
    content = io.BytesIO()
    np.save(content, values.numpy())
    write_bytes(path, content.getvalue())


def _plain(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text)
