"""Images: float tensors (N, C, H, W) in [0, 1], and their 8-bit files.

Everything public takes and returns images in this form; a classifier does its own normalisation.
Saving an image means rounding it to 8 bits, so anything claimed about a file is decided on the
rounded image: `rounded` gives exactly the tensor that `read_png(write_png(...))` would.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ostrich.errors import InputError
from ostrich.runtime.files import whole, write_bytes

LEVELS = 255  # an 8-bit channel has the values 0/255 ... 255/255
SNAP = 1e-4  # levels; float32 errs by at most 255 * 2^-25 = 8e-6 of them
SLACK = SNAP / LEVELS  # the same of values in [0, 1]
THOUSAND = 1000  # images whose files lie in one folder
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: what grey a colour is
INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def into_range(images: Tensor) -> Tensor:
    """Images (..., H, W) with what lies beyond 0 or 1 brought to that end.

    The gradient is 1 inside and at both ends, 0 beyond, so that a white or a black pixel can be moved
    inwards. From torch 2.15 on `clamp` passes none at its ends, where pixels of photographs often are.
    """
    return images.masked_fill(images < 0, 0).masked_fill(images > 1, 1)


def rounded(images: Tensor) -> Tensor:
    """The nearest images on the 8-bit grid, same shape and dtype: what a PNG file can hold."""
    return images.clamp(0, 1).mul(LEVELS).round().div(LEVELS)


def off_grid(images: Tensor) -> Tensor:
    """Which values of images are not on the 8-bit grid as their type can hold it, bool of their shape."""
    return (rounded(images) - images).abs() * LEVELS > SNAP


def to_bytes(images: Tensor) -> np.ndarray:
    """Images (N, C, H, W) or one (C, H, W) as uint8 (N, H, W, C) or (H, W, C)."""
    levels = images.detach().clamp(0, 1).mul(LEVELS).round().to("cpu", torch.uint8)
    return levels.movedim(-3, -1).contiguous().numpy()


def from_bytes(pixels: np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 (N, H, W, C) or (H, W, C) as images (N, C, H, W) or (C, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(pixels)).movedim(-1, -3).contiguous().to(dtype).div(LEVELS)


def check_images(images: Tensor) -> None:
    """Refuse what is not a batch of images.

    Raises InputError for a wrong shape, an integer type, NaN, or values outside [0, 1].
    """
    if not isinstance(images, Tensor) or images.ndim != 4:
        shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise InputError(f"Images are tensors (N, C, H, W); got {shape}.")
    if not images.dtype.is_floating_point:
        raise InputError(f"Images are float tensors in [0, 1]; got {images.dtype}. Divide by 255 first.")
    if images.numel() == 0:
        return
    low, high = images.aminmax()
    if not (low >= 0 and high <= 1):  # also false for NaN
        raise InputError(
            f"Images lie in [0, 1]; these reach from {low.item():.4g} to {high.item():.4g}. "
            "Divide 0..255 images by 255; leave normalisation to the classifier (mean, std)."
        )


def without_rounding_errors(images: Tensor) -> Tensor:
    """Images with values beyond 0 or 1 by no more than SNAP brought to these ends; else as they are."""
    if not images.is_floating_point() or not images.numel():
        return images
    low, high = images.aminmax()
    inside = low >= 0 and high <= 1
    return images.clamp(0, 1) if not inside and low >= -SLACK and high <= 1 + SLACK else images


def fingerprints(images: Tensor) -> list[int]:
    """One 63-bit number per image, from its 8-bit content: the same wherever the image stands."""
    return [fingerprint(one.tobytes()) for one in to_bytes(images)]


def fingerprint(*content: bytes) -> int:
    """A 63-bit number of some bytes."""
    digest = hashlib.blake2b(b"".join(content), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


# Reading ---------------------------------------------------------------------------------------


def as_rgb(picture: Image.Image, ground: str = "white") -> Image.Image:
    """Any Pillow mode as 8-bit RGB; transparency on a `ground`, 16 bits by their upper eight."""
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture, dtype=np.float64)
        top = 1.0 if picture.mode.startswith("F") and values.max(initial=0) <= 1 else 65535.0
        grey = np.clip(values / top * LEVELS, 0, LEVELS).round().astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, ground), picture).convert("RGB")
    return picture.convert("RGB")


def fit(
    picture: Image.Image,
    size: tuple[int, int],
    resize: int | tuple[int, int] | None = None,
    interpolation: str = "bilinear",
) -> Image.Image:
    """Resize the shorter side, crop the centre: `size` (H, W) pixels, antialiased, 8 bits.

    `resize` is the length of the shorter side before the crop (256 for the usual 224-pixel
    ImageNet network), or (H, W) whatever the picture's shape; without it the picture is scaled just
    enough to cover `size`. `interpolation` is one of INTERPOLATIONS.
    """
    height, width = size
    if isinstance(resize, tuple):
        target = (resize[1], resize[0])
    elif resize is None:
        scale = max(height / picture.height, width / picture.width)
        target = (max(width, round(picture.width * scale)), max(height, round(picture.height * scale)))
    else:
        short = min(picture.size)
        target = (int(resize * picture.width / short), int(resize * picture.height / short))
    if picture.size != target:
        picture = picture.resize(target, INTERPOLATIONS[interpolation])
    left, top = round((target[0] - width) / 2), round((target[1] - height) / 2)
    return picture.crop((left, top, left + width, top + height))


def fit_array(
    array: np.ndarray,
    size: tuple[int, int],
    resize: int | tuple[int, int] | None = None,
    interpolation: str = "bilinear",
) -> np.ndarray:
    """The same for bytes (H, W, C) of any number of channels, each by itself."""
    channels = [Image.fromarray(np.ascontiguousarray(array[..., c])) for c in range(array.shape[2])]
    return np.stack([np.asarray(fit(channel, size, resize, interpolation)) for channel in channels], -1)


def read_image(path: Path) -> Tensor:
    """An image (C, H, W) as written by `write_image`."""
    return from_bytes(np.load(path, allow_pickle=False)) if path.suffix == ".npy" else read_png(path)


def read_png(path: Path | str) -> Tensor:
    """An image (C, H, W) as written by `write_png`."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    return from_bytes(pixels[..., None] if pixels.ndim == 2 else pixels)


# Looking at them -------------------------------------------------------------------------------


def magnified(images: Tensor, side: int) -> Tensor:
    """Images (..., H, W) with every pixel repeated, so often that the longer side is at most `side`."""
    times = max(1, side // max(images.shape[-2:]))
    return images.repeat_interleave(times, -2).repeat_interleave(times, -1)


def visible(images: Tensor) -> Tensor:
    """Images (..., C, H, W) as eyes can see them: the first three channels; of two channels the mean."""
    channels = images.shape[-3]
    if channels in (1, 3):
        return images
    return images.mean(-3, keepdim=True) if channels == 2 else images[..., :3, :, :]


def luma(images: Tensor) -> Tensor:
    """Images (..., 3, H, W) in grey (..., 1, H, W), as LUMA has it."""
    return (images * images.new_tensor(LUMA).view(3, 1, 1)).sum(-3, keepdim=True)


# Writing ---------------------------------------------------------------------------------------


def picture(image: Tensor) -> Image.Image:
    """One image (C, H, W) as a Pillow picture; of other than 1 or 3 channels what is `visible`."""
    if image.ndim != 3 or not image.shape[0]:
        raise InputError(f"A picture has shape (C, H, W); got {tuple(image.shape)}.")
    pixels = to_bytes(visible(image))
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def write_png(path: Path | str, image: Tensor) -> None:
    """Write one image (C, H, W) as a PNG, atomically: the file is whole or absent."""
    with whole(Path(path)) as partial:
        picture(image).save(partial, format="PNG")


def write_image(path: Path, image: Tensor) -> None:
    """Write one image (C, H, W) to a file that `image_name` has named."""
    if path.suffix == ".png":
        write_png(path, image)
        return
    with whole(path) as partial, open(partial, "wb") as file:
        np.save(file, to_bytes(image))


def numbered(folder: str, index: int, count: int) -> str:
    """FOLDER/INDEX, what the files of an image are called before their kind; FOLDER/THOUSAND/INDEX where
    there are so `count` that one folder would hold too many.
    """
    many = f"{index // THOUSAND:03d}/" if count >= THOUSAND else ""
    return f"{folder}/{many}{index:05d}"


def image_name(name: str, channels: int) -> str:
    """NAME.png, or NAME.npy (H, W, C) in bytes for an image of so many channels that a PNG cannot hold it."""
    return f"{name}.{'png' if channels in (1, 3) else 'npy'}"


def write_gif(path: Path | str, images: Sequence[Tensor], milliseconds: int) -> None:
    """Write images (C, H, W) of one size as an endless GIF, each shown so long, atomically."""
    write_bytes(Path(path), as_gif(images, milliseconds))


def as_gif(images: Sequence[Tensor], milliseconds: int) -> bytes:
    """Images (C, H, W) of one size as an endless GIF, each shown so long."""
    first, *rest = [picture(image).convert("P", palette=Image.Palette.ADAPTIVE) for image in images]
    content = io.BytesIO()
    first.save(content, format="GIF", save_all=True, append_images=rest, duration=milliseconds, loop=0)
    return content.getvalue()


def grid(images: Tensor, columns: int | None = None, gap: int = 2, background: float = 1.0) -> Tensor:
    """Images (N, C, H, W) laid out row by row in one image (C, H', W')."""
    count, channels, height, width = images.shape
    columns = columns or max(1, math.ceil(math.sqrt(count)))
    rows = max(1, math.ceil(count / columns))
    sheet = images.new_full(
        (channels, rows * (height + gap) - gap, columns * (width + gap) - gap), background
    )
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[:, top : top + height, left : left + width] = image
    return sheet
