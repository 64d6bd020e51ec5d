"""What a person drops on the page: bytes of a stranger, brought to an image or refused."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from starlette.requests import Request
from torch import Tensor

from ostrich.errors import InputError
from ostrich.images import as_rgb, fit, from_bytes
from ostrich.models.classifier import Classifier

MOST_BYTES = 16 * 2**20
MOST_PIXELS = 40 * 10**6  # a camera's; said by the file's header, before anything is unpacked
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")


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
                if file.width * file.height > MOST_PIXELS:
                    raise InputError(
                        f"{file.width}x{file.height} pixels are too many; {MOST_PIXELS // 10**6} million go."
                    )
                file.draft("RGB", (2048, 2048))
                picture = as_rgb(ImageOps.exif_transpose(file))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"This is no picture that can be read ({type(error).__name__}).") from None
    size = classifier.size or (picture.height, picture.width)
    picture = fit(picture, size, classifier.resize, classifier.interpolation)
    if classifier.channels not in (1, 3):
        raise InputError(f"{classifier.name} takes {classifier.channels} channels, which no picture has.")
    pixels = np.asarray(picture.convert("L"))[..., None] if classifier.channels == 1 else np.asarray(picture)
    return from_bytes(pixels)[None]
