"""Whose fault an exception is that no code of ours raises: the machine's, or ours."""

from __future__ import annotations

import errno

REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP)  # of a path
NO_MEMORY = ("can't allocate memory", "not enough memory")  # as torch says it
SMALLER = "Give smaller settings, fewer images (--limit), or smaller ones."


def told(error: BaseException) -> str:
    """A fault of ours in a few words."""
    first = (str(error).splitlines() or [""])[0][:200]
    return f"{type(error).__name__}: {first}"


def refused(error: BaseException) -> str | None:
    """What the machine would not do, in a sentence; None for an error that is of something else."""
    if isinstance(error, OSError):
        return _disk(error)
    import torch  # late: the command line tells its own errors without it

    # torch has no type of error for the memory of the processor
    full = isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)
    if full or isinstance(error, MemoryError | torch.OutOfMemoryError):
        return f"the memory is not enough for this. {SMALLER}"
    return None


def _disk(error: OSError) -> str | None:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            "the disk is full. What was written before is whole: free some space and give the same command "
            "again."
        )
    if error.errno in REFUSED and error.filename is not None:
        return f"{repr(error.filename)[:200]} cannot be read or written: {error.strerror}."
    return None
