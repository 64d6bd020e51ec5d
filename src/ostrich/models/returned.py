"""What a network or a function returns: the tensors in it, and tensors as rows of scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ostrich.errors import InputError, first_line

DEPTH = 3  # of containers within containers
Path = tuple[str, ...]
HOW_TO_WRAP = (
    "Wrap it: write a file with a function that returns a torch.nn.Module whose forward returns the "
    "tensor of scores alone, for example `return self.inner(x)['logits']`, and name it PATH.py:FUNCTION."
)


class Reached(Exception):
    """Ends a forward where a hook has seen what it was set for: no failure of the network."""


class OtherRows(InputError):
    """An answer with another number of rows than there are images."""


class FailsOnImage(InputError):
    """A network that has answered before, and fails on an image also when it is asked about it alone."""

    def __init__(self, name: str, shape: tuple[int, ...], error: Exception) -> None:
        said = first_line(error)
        super().__init__(
            f"{name} fails on an image of {'x'.join(map(str, shape))}, also when it is asked about it alone: "
            f"{said}"
        )


def tensors(output: object, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Every tensor in tuples, lists, dicts and objects, with where it stands; numpy arrays as tensors."""
    if isinstance(output, Tensor):
        yield path, output
    elif isinstance(output, np.ndarray | np.generic):
        if np.asarray(output).dtype.kind in "fiub":
            yield path, torch.from_numpy(np.array(output))
    elif len(path) < DEPTH and output is not None and not isinstance(output, str | bytes | type):
        for key, value in _parts(output):
            yield from tensors(value, (*path, key))


def _parts(output: object) -> list[tuple[str, object]]:
    if isinstance(output, Mapping):
        return [(str(key), value) for key, value in output.items()]
    if isinstance(output, tuple | list):
        keys = getattr(output, "_fields", range(len(output)))  # a named tuple has names
        return [(str(key), value) for key, value in zip(keys, output)]
    own = getattr(output, "__dict__", {})
    known = {"logits": output.logits} if hasattr(output, "logits") else {}  # a property, a slot
    return list({**own, **known}.items())


def as_rows(found: Tensor, images: int) -> Tensor | None:
    """Scores (N, K) of a tensor with at most one axis longer than 1 beside the first; None where it has more.

    One image may be answered without a first axis.
    """
    shape = tuple(found.shape)
    if images == 1 and (not shape or shape[0] != 1) and sum(side > 1 for side in shape) <= 1:
        return found.reshape(1, -1)
    if not shape or shape[0] != images or sum(side > 1 for side in shape[1:]) > 1:
        return None
    return found if len(shape) == 2 else found.reshape(images, math.prod(shape[1:]))


def one_hot(name: str, found: Tensor, count: int | None) -> Tensor:
    """Labels (N,) as one-hot scores (N, K). Raises InputError for labels outside of the classes."""
    if count is None:
        raise InputError(
            f"{name} returns labels, and labels do not tell how many classes there are. Give the names of "
            "all with --classes FILE, one a line (in Python: classes=[...])."
        )
    labels = found.long()
    if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < count):
        raise InputError(
            f"{name} returns labels from {int(labels.min())} to {int(labels.max())}, but has the classes 0 "
            f"to {count - 1}. Give the names of all with --classes FILE, in the order of the labels."
        )
    return F.one_hot(labels, count).float()


def shapes(found: Mapping[Path, Tensor]) -> str:
    """The tensors of an answer as a message lists them."""
    listed = [
        f"{'.'.join(path)} {t.dtype} {tuple(t.shape)}".strip().replace("torch.", "")
        for path, t in found.items()
    ]
    return ", ".join(listed) or "no tensor"


def other_rows(name: str, found: Tensor, images: int) -> OtherRows:
    """The error about an answer to another number of images."""
    rows = len(found) if found.ndim else 1
    return OtherRows(f"{name} answers {images} images with {rows} rows of {tuple(found.shape)}.")
