"""Functions that build a network: whether they can be called as they are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def needs_arguments(build: Callable[..., Any]) -> bool:
    """Whether a function cannot be called without arguments."""
    try:
        inspect.signature(build).bind()
    except TypeError:
        return True
    except ValueError:  # a builtin without a signature
        return False
    return False
