"""What a person drops on the page: bytes of a stranger, brought to an image or refused."""

from __future__ import annotations

import asyncio
import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from torch import Tensor

from ostrich.errors import InputError
from ostrich.images import as_rgb, fit, from_bytes
from ostrich.models.classifier import Classifier
from ostrich.serve.worker import Busy

MOST_BYTES = 16 * 2**20
MOST_PIXELS, MOST_PHOTOGRAPHED = 16 * 10**6, 48 * 10**6  # said by the file's header, before it is unpacked
DRAFT = (2048, 2048)  # a JPEG is unpacked at half its size, or a quarter, that is still as large as this
LARGEST = 512  # pixels of the longer side, for a network that takes any size
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
COMING, PATIENCE = 4, 30.0  # pictures at a time, more are refused; seconds for one to come


class Intake:
    """Pictures on their way in: so many at a time, none that comes for ever, one unpacked after another."""

    def __init__(self) -> None:
        self._coming, self._unpacking = 0, asyncio.Lock()

    async def image(self, request: Request, classifier: Classifier) -> Tensor:
        """The image (1, C, H, W) that a request brings. Raises Busy, InputError."""
        if self._coming >= COMING:
            raise Busy("Too many pictures are coming in; send it again in a moment.")
        self._coming += 1
        try:
            async with asyncio.timeout(PATIENCE):
                content = await body_of(request)
            async with self._unpacking:
                return await run_in_threadpool(decoded, content, classifier)
        except TimeoutError:
            raise InputError(f"The picture did not come within {PATIENCE:.0f} seconds.") from None
        finally:
            self._coming -= 1


async def body_of(request: Request, most: int = MOST_BYTES) -> bytes:
    """The bytes of a request. Raises InputError beyond `most`, before they are all here."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > most:
            raise InputError(f"That is more than {most / 2**20:.0f} MB; give a smaller file.")
    return bytes(content)


def decoded(content: bytes, classifier: Classifier) -> Tensor:
    """An image (1, C, H, W) as the classifier sees it, of a file's bytes. Raises InputError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata; the size is checked below
            with Image.open(io.BytesIO(content), formats=FORMATS) as file:
                most = MOST_PHOTOGRAPHED if file.format == "JPEG" else MOST_PIXELS
                if file.width * file.height > most:
                    raise InputError(
                        f"{file.width}x{file.height} pixels are too many; {most // 10**6} million go."
                    )
                file.draft("RGB", DRAFT)
                picture = as_rgb(ImageOps.exif_transpose(file))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"This is no picture that can be read ({type(error).__name__}).") from None
    size = classifier.size or _bounded(picture.height, picture.width)
    picture = fit(picture, size, classifier.resize, classifier.interpolation)
    if classifier.channels not in (1, 3):
        raise InputError(f"{classifier.name} takes {classifier.channels} channels, which no picture has.")
    pixels = np.asarray(picture.convert("L"))[..., None] if classifier.channels == 1 else np.asarray(picture)
    return from_bytes(pixels)[None]


def _bounded(height: int, width: int) -> tuple[int, int]:
    """The size (H, W) at which a picture is taken where the network takes any."""
    scale = min(1.0, LARGEST / max(height, width))
    return max(1, round(scale * height)), max(1, round(scale * width))
