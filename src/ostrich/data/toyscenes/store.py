"""Rendered toybox images: the committed test file, and a cache of whatever else is rendered.

`test_images` reads `test-512.webp` (lossless, 32 x 16 tiles of 64 x 64) and `test-512.npz` (labels
and masks) beside this module; it needs neither trimesh nor embreex. `render_split` and
`render_clips` render in blocks of 100, each cached as one .npy file with its sha256 beside it: a
block whose sum is wrong is rendered again. The folder is $OSTRICH_CACHE, else `ostrich` in the
user's cache folder.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ostrich.errors import InputError, UnreadableImage
from ostrich.runtime.files import checksum, whole, write_text

VERSION = 1  # of the scenes; raise it with every change that changes a picture
CLIPS_VERSION = 1  # of the clips, likewise
BLOCK = 100  # images per cache file
TILES = (16, 32)  # rows and columns of the committed sheet; 16 * 32 = 512
HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """images (N, 64, 64, 3) uint8, labels (N,) int64, masks and unoccluded (N, 64, 64) bool."""

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    unoccluded: np.ndarray


def test_images(limit: int = 512) -> Stored:
    """The first `limit` (1 to 512) committed test images; every ten hold each class once.

    Raises InputError for another limit and UnreadableImage for a damaged file.
    """
    from PIL.WebPImagePlugin import WebPImageFile  # Image.open would import every format to find this one

    rows, columns = TILES
    if not 1 <= limit <= rows * columns:
        raise InputError(f"the toybox has {rows * columns} test images, so not {limit} of them")
    record = json.loads((HERE / "test-512.json").read_text())
    for name, known in record["sha256"].items():
        if checksum(HERE / name) != known:
            raise UnreadableImage(f"{name} is damaged: its sha256 differs; reinstall ostrich")
    with WebPImageFile(HERE / "test-512.webp") as picture:
        sheet = np.asarray(picture.convert("RGB"))  # (16 * 64, 32 * 64, 3)
    tiles = sheet.reshape(rows, 64, columns, 64, 3).swapaxes(1, 2).reshape(-1, 64, 64, 3)
    with np.load(HERE / "test-512.npz") as file:
        labels = file["labels"].astype(np.int64)
        masks, alone = (
            np.unpackbits(file[key], axis=1).reshape(-1, 64, 64).astype(bool)
            for key in ("masks", "unoccluded")
        )
    return Stored(images=tiles[:limit], labels=labels[:limit], masks=masks[:limit], unoccluded=alone[:limit])


vars(test_images)["__test__"] = False  # a reader; pytest is not to run it


def render_split(
    split: str,
    n: int,
    size: int | tuple[int, int] = 64,
    start: int = 0,
    cache: bool = True,
    workers: int = 1,
    progress: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Images start ... start + n - 1 of a split, (n, H, W, 3) uint8, and labels (n,) int64.

    With `cache` whole blocks of 100 are rendered and kept; without, exactly n. `workers` > 1 uses
    that many processes. Raises UnknownName, InputError, MissingExtra.
    """
    from .raycast import sizes

    height, width = sizes(size)
    folder = cache_folder() / f"toybox-v{VERSION}" / f"{split}-{height}x{width}" if cache else None
    made = partial(_image, split, (height, width))
    images = _rendered(made, (height, width, 3), folder, range(start, start + n), workers, progress)
    return images, _labels(split, start, n)


def render_clips(
    split: str,
    n: int,
    frames: int,
    size: int | tuple[int, int] = 64,
    cache: bool = True,
    workers: int = 1,
    progress: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Clips 0 ... n - 1 of a split, (n, T, H, W, 3) uint8, and labels (n,); the rest as `render_split`."""
    from .raycast import sizes

    height, width = sizes(size)
    if frames < 1:
        raise InputError(f"a clip has at least 1 frame, not {frames}")
    name = f"{split}-{frames}x{height}x{width}"
    folder = cache_folder() / f"toybox-clips-v{CLIPS_VERSION}" / name if cache else None
    made = partial(_clip, split, frames, (height, width))
    clips = _rendered(made, (frames, height, width, 3), folder, range(n), workers, progress)
    return clips, _labels(split, 0, n)


def _labels(split: str, start: int, n: int) -> np.ndarray:
    from .sampling import label

    return np.array([label(split, i) for i in range(start, start + n)], dtype=np.int64)


def _image(split: str, size: tuple[int, int], index: int) -> np.ndarray:
    from .rendering import render
    from .sampling import scene

    return render(scene(split, index), size=size).image


def _clip(split: str, frames: int, size: tuple[int, int], index: int) -> np.ndarray:
    from .clips import toybox_clip

    return toybox_clip(split, index, frames, size).frames


def _rendered(
    made: Callable[[int], np.ndarray],
    shape: tuple[int, ...],
    folder: Path | None,
    wanted: range,
    workers: int,
    progress: bool,
) -> np.ndarray:
    """What `made` makes of the numbers `wanted`, (n, *shape) uint8, block by block."""
    from rich.console import Console
    from rich.progress import track

    from ostrich.runtime.executors import Here
    from ostrich.runtime.executors.local import Processes

    start, n = wanted.start, len(wanted)
    if n < 1 or start < 0:
        raise InputError(f"n must be at least 1 and start at least 0, not n={n}, start={start}")
    edges = range(start // BLOCK * BLOCK, start + n, BLOCK)
    if folder is None:  # exactly what was asked for
        spans = [(max(e, start), min(e + BLOCK, start + n)) for e in edges]
    else:
        spans = [(e, e + BLOCK) for e in edges]
    images = np.empty((n, *shape), dtype=np.uint8)
    executor = Here() if workers <= 1 or len(spans) == 1 else Processes(min(workers, len(spans)))
    blocks = track(
        executor.map(partial(_block, made, shape, folder), spans),
        "toybox",
        total=len(spans),
        console=Console(stderr=True),
        disable=not progress,
    )
    for (low, _), block in blocks:
        first, last = max(low, start), min(low + len(block), start + n)
        images[first - start : last - start] = block[first - low : last - low]
    return images


def _block(
    made: Callable[[int], np.ndarray], shape: tuple[int, ...], folder: Path | None, span: tuple[int, int]
) -> np.ndarray:
    """What is made of low ... high - 1, (high - low, *shape) uint8, from the cache where it holds them."""
    low, high = span
    file = None if folder is None else folder / f"{low:07d}.npy"
    if file is not None and (kept := _read(file, (high - low, *shape))) is not None:
        return kept
    images = np.stack([made(i) for i in range(low, high)])
    if file is not None:
        _write(file, images)
    return images


def cache_folder() -> Path:
    """$OSTRICH_CACHE, else $XDG_CACHE_HOME/ostrich, else ~/.cache/ostrich."""
    if given := os.environ.get("OSTRICH_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ostrich"


def _read(file: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The cached block, or None where it is missing, damaged or of another shape."""
    try:
        if file.with_suffix(".sha256").read_text().strip() != checksum(file):
            return None
        images = np.load(file, allow_pickle=False)
    except (OSError, ValueError):
        return None
    return images if images.shape == shape and images.dtype == np.uint8 else None


def _write(file: Path, images: np.ndarray) -> None:
    """The block and then its sum."""
    with whole(file) as partial:
        with partial.open("wb") as part:
            np.save(part, images)
        total = checksum(partial)
    write_text(file.with_suffix(".sha256"), f"{total}\n")
