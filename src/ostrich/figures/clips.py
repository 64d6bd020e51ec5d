"""Clips: float tensors (N, C, T, H, W) in [0, 1], T frames in the order of time, and their files.

A frame is an image. What takes images or clips alike calls here and gets of an image the image itself.
Video files go through PyAV, whose wheel carries FFmpeg; GIFs are written by Pillow.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from ostrich.errors import InputError, MissingExtra, UnreadableVideo
from ostrich.images import grid, magnified, to_bytes, write_gif
from ostrich.runtime.files import whole

STRIP = 8  # frames of a clip on a sheet
MILLISECONDS = 80  # each frame of a clip's files
SIDE = 256  # pixels; smaller clips are enlarged in their files by whole numbers
QUALITY = "18"  # crf of H.264: differences that are hard to see


def is_clip(shape: tuple[int, ...]) -> bool:
    """Is (C, T, H, W) meant, and not (C, H, W)?"""
    return len(shape) == 4


def frames(clips: Tensor) -> Tensor:
    """The frames (N T, C, H, W) of clips (N, C, T, H, W), clip by clip; of images themselves."""
    return clips.transpose(1, 2).flatten(0, 1) if clips.ndim == 5 else clips


def stills(clips: Tensor) -> Tensor:
    """The middle frame (N, C, H, W) of each clip; of images themselves."""
    return clips[:, :, clips.shape[2] // 2] if clips.ndim == 5 else clips


def sheet(samples: Tensor, rows: int) -> Tensor:
    """One image of samples: images in a grid; of clips the first `rows`, in each row frames of one clip."""
    if samples.ndim == 4:
        return grid(samples)
    count = min(STRIP, samples.shape[2])
    times = torch.linspace(0, samples.shape[2] - 1, count).round().long()
    return grid(frames(samples[:rows, :, times]), count)


def film(clips: Tensor, columns: int | None = None) -> Tensor:
    """Clips (N, C, T, H, W) side by side as one clip (C, T, H', W'), laid out as `images.grid`."""
    return torch.stack([grid(now, columns) for now in clips.unbind(2)], 1)


# Files -----------------------------------------------------------------------------------------


def write_clip(path: Path, clip: Tensor, side: int = SIDE) -> None:
    """Write one clip (C, T, H, W) as `path` of suffix .gif or .mp4, small ones enlarged, atomically.

    Raises MissingExtra for an MP4 without PyAV, InputError for another suffix.
    """
    if path.suffix == ".gif":
        write_gif(path, magnified(clip, side).unbind(1), MILLISECONDS)
    elif path.suffix == ".mp4":
        write_mp4(path, magnified(clip, side))
    else:
        raise InputError(f"A clip is written as .gif or .mp4; got {path.name!r}.")


def write_mp4(path: Path, clip: Tensor) -> None:
    """Write one clip (C, T, H, W) as H.264, atomically; odd sides get their last row or column twice."""
    av = _pyav()
    height, width = clip.shape[-2:]
    pictures = pad(clip, (0, width % 2, 0, height % 2), mode="replicate")  # 4:2:0 takes even sides
    pictures = pictures.expand(3, -1, -1, -1)
    with whole(path) as partial, av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(1000, MILLISECONDS))
        stream.height, stream.width = pictures.shape[-2:]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": QUALITY}
        stream.codec_context.thread_count = 1  # the same bytes on every machine
        for picture in to_bytes(pictures.transpose(0, 1)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def video_frames(path: Path) -> Iterator[Image.Image]:
    """The frames of a video file one by one, 8-bit RGB, each as it is stored.

    Raises UnreadableVideo for a file that is missing, damaged, no video or without frames, and
    MissingExtra without PyAV.
    """
    av = _pyav()
    count = 0
    try:
        with av.open(str(path)) as container:
            if container.streams.video:
                for frame in container.decode(video=0):
                    count += 1
                    yield frame.to_image()
    except FileNotFoundError:
        raise UnreadableVideo(f"There is no video file {str(path)!r}.") from None
    except (av.FFmpegError, OSError) as error:
        raise UnreadableVideo(
            f"{str(path)!r} cannot be read as a video ({error.strerror}). Remove or repair it."
        ) from None
    if not count:
        raise UnreadableVideo(f"{str(path)!r} is a video without frames. Remove it.")


def _pyav() -> ModuleType:
    try:
        import av
    except ImportError:
        raise MissingExtra(
            'Video files need PyAV, which is not installed: pip install "ostrich-vision[video]"'
        ) from None
    return av
