"""All fifteen common corruptions at all five severities, against imagecorruptions.

That library is of 2020: names that it asks numpy, scikit-image and setuptools for, and that are gone, are put
in their places. Its elastic transform and its frost are others than ours.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.problem import Contestant, Problem, Row
from ostrich.corruptions import NAMES, SEVERITIES, corrupt
from ostrich.data import open_data
from ostrich.images import fit, from_bytes, to_bytes

SIZE = (224, 224)
# What has no random numbers, and is as in ImageNet-C.
EXACT = ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")


def rows(task: Problem) -> list[Row]:
    """Photographs that libraries carry, as often as it takes; the library takes eight, for it is slow."""
    images = photographs()
    count, few = min(len(task.images), 64), min(len(task.images), len(images))
    many = images[torch.arange(count) % len(images)]

    def all_of(images: Tensor, change: object) -> Tensor:
        """Each of the first eight at severity 3 (15, n, C, H, W); the others are made and let go."""
        found = []
        for name in NAMES:
            made = [change(images, name, severity)[:few] for severity in SEVERITIES]  # type: ignore[operator]
            found.append(made[2])
        return torch.stack(found)

    def judge(found: Tensor) -> dict[str, float]:
        exact = [NAMES.index(name) for name in EXACT]
        ours = torch.stack([corrupt(images[:few], name, 3) for name in EXACT])
        return {"difference x 255": 255 * float((found[exact] - ours).abs().mean())}

    contestants: dict[str, Contestant] = {"ostrich": lambda: all_of(many, corrupt)}
    installed = find_spec("imagecorruptions") is not None
    if installed:
        contestants["imagecorruptions"] = lambda: all_of(images[:few], corrupted)
    return [
        Row(
            name="Common corruptions",
            setting=f"All 75, photographs at 224 pixels, N = {count}",
            contestants=contestants,
            judge=judge,
            work=count,
            few={"imagecorruptions": few},
            missing=() if installed else ("imagecorruptions",),
        )
    ]


def photographs() -> Tensor:
    """Those that scikit-image and scikit-learn carry, (8, 3, 224, 224)."""
    data = open_data("photographs")
    return from_bytes(np.stack([np.asarray(fit(data.read(i), SIZE)) for i in range(len(data))]))


def corrupted(images: Tensor, name: str, severity: int) -> Tensor:
    """Images (N, 3, H, W) under the library's corruption; random ones by numpy's global numbers."""
    change = getattr(peer(), name)
    found = [np.uint8(change(Image.fromarray(pixels), severity)) for pixels in to_bytes(images)]
    return from_bytes(np.stack(found))


def peer() -> ModuleType:
    """The library's module of corruptions. Raises ImportError where it is not installed."""
    if find_spec("imagecorruptions") is None:
        raise ImportError("imagecorruptions is not installed here: make test-peers")
    if not hasattr(np, "float_"):
        np.float_ = np.float64  # type: ignore[attr-defined]  # noqa: NPY201 - the library asks for it
    _stand_in("pkg_resources", "resource_filename", _resource)
    _stand_in("scipy.ndimage.interpolation", "map_coordinates", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module("imagecorruptions.corruptions")
    smooth = importlib.import_module("skimage.filters").gaussian
    module.gaussian = lambda x, sigma, multichannel=False, **options: smooth(  # type: ignore[attr-defined]
        x, sigma, channel_axis=-1 if multichannel else None, **options
    )
    return module


def _stand_in(module: str, name: str, value: object) -> None:
    """A module of that name with one thing in it, where there is none; None: the parent's of that name."""
    if module not in sys.modules and find_spec(module) is None:
        found = ModuleType(module)
        parent = module.rpartition(".")[0]
        setattr(found, name, value or getattr(importlib.import_module(parent), name))
        sys.modules[module] = found


def _resource(package: str, path: str) -> str:
    found = find_spec(package)
    assert found is not None
    assert found.origin is not None
    return str(Path(found.origin).parent / path)
