"""Freed memory: kept for what comes next, or given back to the system."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h
KEPT, LARGEST = 2**28, 2**25  # bytes: freed ones that are kept, of blocks up to so many; glibc allows no more
KERNELS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "0", "LRU_CACHE_CAPACITY": "1"}  # kept; by themselves 1024
ABSENT = (AttributeError, OSError, TypeError)  # macOS, musl; Windows


def keep_freed() -> None:
    """Have the C library keep freed blocks for the next ones, in a process of ours alone.

    By itself glibc gives the end of its heap back and asks for it again, step for step: the system hands each
    page over zeroed, which costs a small network up to a quarter of its time. Which runs suffer is chance.
    """
    with suppress(*ABSENT):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(MMAP_THRESHOLD, LARGEST)
        mallopt(TRIM_THRESHOLD, KEPT)


def keep_no_kernels() -> None:
    """Have torch keep none of the kernels that it makes for batches of one shape; before it computes.

    From the batches of an attack images leave at their own pace, so that each batch has shapes of its own. Of
    256 images of 32x32 and a network of 20 layers their kernels are 2.6 MB, in small blocks among the large
    ones: what was freed there is too narrow for the next batch, and the process grows. An attack that asks
    small batches of one shape again and again is up to an eighth slower without them. What the environment
    says is left.
    """
    for name, most in KERNELS.items():
        os.environ.setdefault(name, most)


def kernels_kept() -> dict[str, str]:
    """What this process' environment says of that, for others that compute for it."""
    return {name: os.environ[name] for name in KERNELS if name in os.environ}


def give_back() -> None:
    """Have the C library return to the system what has been freed; where it is not glibc, do nothing.

    glibc keeps freed blocks of up to 32 MB for itself. Between two batches of large images small blocks come
    to lie among them, the next batch fits nowhere, and the process grows: by 36 MB for each image of
    1024x1024.
    """
    with suppress(*ABSENT):
        ctypes.CDLL(None).malloc_trim(0)
