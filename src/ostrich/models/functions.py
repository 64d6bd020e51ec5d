"""Prediction functions: networks of which nothing is known but their answers.

Any callable from images (N, C, H, W) to scores (N, K) or to integer labels (N,), as torch tensors or
numpy arrays. Labels become one-hot scores (N, K), 1 at the label and 0 elsewhere, so that goals mean the
same everywhere; the classifier's `access` still says "labels", and only attacks by labels are offered.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ostrich.errors import InputError


def predicted(name: str, output: object, num_classes: Callable[[], int | None]) -> tuple[Tensor, str]:
    """A function's output as scores (N, K), and what it was: "scores" or "labels".

    `num_classes` is asked where the output is labels, None where the classes are not known. Raises
    InputError for what is neither scores nor labels, and for labels outside of the classes.
    """
    found = torch.from_numpy(np.array(output)) if _is_numbers(output) else output
    if not isinstance(found, Tensor):
        kind = type(output).__name__
        raise InputError(f"{name} returns a {kind}; {_expected()}")
    if found.ndim == 2 and found.dtype.is_floating_point:
        return found, "scores"
    whole = not (found.dtype.is_floating_point or found.dtype.is_complex)
    if found.ndim != 1 or not whole:
        raise InputError(f"{name} returns {found.dtype} of shape {tuple(found.shape)}; {_expected()}")
    count = num_classes()
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
    return F.one_hot(labels, count).float(), "labels"


def _is_numbers(output: object) -> bool:
    """Whether it is a numpy array or number of a type that torch has too."""
    return isinstance(output, np.ndarray | np.generic) and np.asarray(output).dtype.kind in "fiub"


def _expected() -> str:
    return (
        "a prediction function returns scores (N, K) of floats or labels (N,) of integers, as a tensor or a "
        "numpy array."
    )


def needs_arguments(build: Callable[..., Any]) -> bool:
    """Whether a function cannot be called without arguments."""
    try:
        inspect.signature(build).bind()
    except TypeError:
        return True
    except ValueError:  # a builtin without a signature
        return False
    return False
