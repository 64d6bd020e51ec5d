"""Picture files, and arrays as .npy, as 8-bit RGB pictures or bytes of any number of channels.

Pillow reads the formats; HEIC is the extra `heif`. A colour PNG or TIFF of 16 bits, of which Pillow keeps the
upper eight, is decoded twice where its range is told: once for the upper byte, once for the lower.
"""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ostrich.data.levels import Levels
from ostrich.errors import MissingExtra, UnreadableImage
from ostrich.images import as_rgb

ARRAY = ".npy"
HEIF = frozenset((".heic", ".heif", ".hif"))
NO_PICTURES = frozenset(
    ("BUFR", "GRIB", "HDF5", "MPEG", "WMF", "EPS")
)  # which Pillow knows but cannot decode
DAMAGED = (  # what Pillow's decoders raise of a damaged picture, each in its own way
    UnidentifiedImageError,
    OSError,
    SyntaxError,
    ValueError,
    RuntimeError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
NO_ARRAY = (  # what numpy raises of a damaged header or content
    OSError,
    ValueError,
    EOFError,
    TypeError,
    SyntaxError,
    MemoryError,
    tokenize.TokenError,
    zipfile.BadZipFile,
)
OTHER_BYTE = {"B": "L", "L": "B", "N": "B"}  # big-endian, little-endian, this machine's (little)
KINDS = "JPEG, PNG, WebP, AVIF, TIFF and what else Pillow reads, and arrays (H, W, C) as .npy"


def open_file(path: str, levels: Levels, content: bytes | None = None) -> Image.Image | np.ndarray:
    """A picture file or .npy, or its `content`. Raises UnreadableImage, InputError."""
    kind = open_array if path.lower().endswith(ARRAY) else open_image
    return kind(path, levels, content)


def open_image(
    path: Path | str,
    levels: Levels | None = None,
    content: bytes | None = None,
    ground: str = "white",
) -> Image.Image:
    """The file, or its `content`, as an upright 8-bit RGB picture.

    CMYK, palette, grey and 16-bit files are converted, as `levels` says; transparent ones are laid on
    a `ground`. Raises UnreadableImage if the file is missing, truncated, or no image, InputError for an
    unknown range.
    """
    name, levels = str(path), levels or Levels()
    if Path(name).suffix.lower() in HEIF and not reads_heif():
        raise MissingExtra(f"{name!r} needs a decoder of HEIC: pip install 'ostrich-vision[heif]'.")
    try:
        with Image.open(_source(path, content)) as picture:
            deep = _two_bytes(picture)
            picture.load()
            upright = ImageOps.exif_transpose(picture)
        lower = _lower_bytes(path, content, deep) if deep and levels.told.get("int") else None
    except FileNotFoundError:
        raise UnreadableImage(f"There is no image file {name!r}.") from None
    except DAMAGED as error:
        raise UnreadableImage(
            f"{name!r} cannot be read as an image ({error}). Remove or repair it, or pass --skip-bad."
        ) from None
    if deep:
        upright = _from_two_bytes(upright, lower, levels, name)
    return in_eight_bits(upright, name, levels, ground)


def in_eight_bits(picture: Image.Image, name: str, levels: Levels, ground: str = "white") -> Image.Image:
    """Any Pillow mode as 8-bit RGB; grey of more bits and floats as `levels` says. Raises InputError."""
    if not picture.mode.startswith(("I", "F")):
        return as_rgb(picture, ground)
    kind = np.float64 if picture.mode.startswith("F") else np.int64
    grey = levels.to_bytes(np.asarray(picture).astype(kind), name, picture=True)
    return Image.fromarray(grey).convert("RGB")


def open_array(
    path: Path | str, levels: Levels | None = None, content: bytes | None = None
) -> Image.Image | np.ndarray:
    """A .npy file (H, W, C) or (H, W), or its `content`; as a picture where it has 1 or 3 channels.

    Bytes, floats in [0, 1], or what `levels` says. Raises UnreadableImage for what is no image, InputError
    for an unknown range.
    """
    try:
        with open(path, "rb") if content is None else io.BytesIO(content) as file:
            array = np.load(file, allow_pickle=False)
    except NO_ARRAY as error:
        raise UnreadableImage(f"{str(path)!r} cannot be read as an array ({error}).") from None
    if isinstance(array, np.lib.npyio.NpzFile):
        raise UnreadableImage(f"{str(path)!r} is an .npz, which may hold several arrays; an image is one.")
    return as_picture(array, str(path), levels or Levels())


def as_picture(array: np.ndarray, name: str, levels: Levels) -> Image.Image | np.ndarray:
    """An array (H, W, C) or (H, W) as a picture where it has 1 or 3 channels, else as bytes (H, W, C)."""
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or not array.size:
        raise UnreadableImage(f"{name!r} has shape {array.shape}; an image is (H, W, C) or (H, W).")
    if array.dtype.kind not in "fiub":
        raise UnreadableImage(f"{name!r} holds {array.dtype}; an image holds bytes, whole numbers or floats.")
    if array.dtype == bool:
        array = array.astype(np.float32)
    if array.dtype != np.uint8:
        array = levels.to_bytes(array, name)
    if array.shape[2] in (1, 3):
        return as_rgb(Image.fromarray(array[..., 0] if array.shape[2] == 1 else array))
    return array


@cache
def picture_suffixes() -> frozenset[str]:
    """The suffixes that can be decoded, .npy among them."""
    reads_heif()
    extensions = Image.registered_extensions()
    known = {s for s, kind in extensions.items() if kind in Image.OPEN and kind not in NO_PICTURES}
    return frozenset(known | {ARRAY})


@cache
def reads_heif() -> bool:
    """Whether HEIC can be decoded: the extra `heif` is installed, and Pillow now knows it."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _source(path: Path | str, content: bytes | None) -> Any:
    return path if content is None else io.BytesIO(content)


def _two_bytes(picture: Image.Image) -> str | None:
    """The raw mode of a colour picture of 16 bits a channel, such as "RGB;16B"; None of others."""
    tiles = picture.tile if isinstance(picture, ImageFile.ImageFile) else ()
    for tile in tiles:
        arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        for one in arguments:
            if isinstance(one, str) and one[:-1] in ("RGB;16", "RGBA;16", "RGBX;16"):
                return one
    return None


def _lower_bytes(path: Path | str, content: bytes | None, mode: str) -> Image.Image:
    """The same picture, upright, of the lower bytes: read as if its bytes were in the other order."""
    other = mode[:-1] + OTHER_BYTE[mode[-1]]
    with Image.open(_source(path, content)) as picture:
        assert isinstance(picture, ImageFile.ImageFile)
        picture.tile = [
            tile._replace(
                args=tuple(other if one == mode else one for one in tile[3])
                if isinstance(tile[3], tuple)
                else other
            )
            for tile in picture.tile
        ]
        picture.load()
        return ImageOps.exif_transpose(picture)


def _from_two_bytes(upper: Image.Image, lower: Image.Image | None, levels: Levels, name: str) -> Image.Image:
    """A colour picture of 16 bits in 8: by its upper bytes, or by both where its range is told."""
    high = np.array(upper)
    if lower is None:
        levels.see("int", 0, 256.0 * int(high[..., :3].max(initial=0)) + 255)
        return upper
    both = high[..., :3].astype(np.int64) * 256 + np.asarray(lower)[..., :3]
    high[..., :3] = levels.to_bytes(both, name, picture=True)
    return Image.fromarray(high)
