"""Freed memory, given back to the system."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Have the C library return to the system what has been freed; where it is not glibc, do nothing.

    glibc keeps freed blocks of up to 32 MB for itself. Between two batches of large images small blocks come
    to lie among them, the next batch fits nowhere, and the process grows: by 36 MB for each image of
    1024x1024.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # macOS, musl; Windows
        return
