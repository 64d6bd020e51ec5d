"""Clips on disk, `clips:PATH`: a folder of video files, and of folders whose images are frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ostrich.data.pictures import ARRAY, open_image
from ostrich.data.walking import files_in, is_picture, suffix, the_folder
from ostrich.errors import InputError
from ostrich.figures.clips import video_frames
from ostrich.images import fit

SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ogv", ".gif")


def videos(folder: str) -> list[Path]:
    """The video files of a folder and the folders of frames in it, by name. Raises InputError."""
    inside = sorted(p for p in the_folder(folder).iterdir() if not p.name.startswith("."))
    found = [p for p in inside if (_frame_files(p) if p.is_dir() else p.suffix.lower() in SUFFIXES)]
    if not found:
        raise InputError(
            f"The folder {folder!r} holds no videos: neither files ({', '.join(s[1:] for s in SUFFIXES)}) "
            "nor folders of frames."
        )
    return found


def read_video(path: Path, size: tuple[int, int], channels: int = 3) -> np.ndarray:
    """A video at (H, W) = `size`, each frame resized and cropped as an image is: uint8 (T, H, W, C).

    Frames in a folder come in the order of their names. Raises UnreadableVideo, UnreadableImage.
    """
    frames = []
    for frame in _frames(path):
        picture = fit(frame, size)
        frames.append(np.asarray(picture.convert("L"))[..., None] if channels == 1 else np.asarray(picture))
    return np.stack(frames)


def read_clips(path: Path, length: int, size: tuple[int, int], channels: int = 3) -> np.ndarray:
    """A video cut into clips of `length` frames, one after the other, the rest left out.

    uint8 (N, T, H, W, C). Raises InputError for a video that is shorter than one clip.
    """
    video = read_video(path, size, channels)
    if len(video) < length:
        raise InputError(
            f"{str(path)!r} has {len(video)} frame{'s' * (len(video) != 1)}, the network's clips {length}. "
            "Leave out what is shorter."
        )
    count = len(video) // length
    return video[: count * length].reshape(count, length, *video.shape[1:])


def contents(path: Path) -> Iterator[bytes]:
    """The bytes that a video's checksum is taken of."""
    for file in _frame_files(path) if path.is_dir() else [path]:
        yield file.read_bytes()


def _frames(path: Path) -> Iterator[Image.Image]:
    if path.is_dir():
        return (open_image(file) for file in _frame_files(path))
    return video_frames(path)


def _frame_files(folder: Path) -> list[Path]:
    """The pictures directly inside, by name."""
    return [folder / name for name in files_in(folder) if is_picture(name) and suffix(name) != ARRAY]
