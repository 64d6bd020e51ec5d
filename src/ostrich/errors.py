"""The exceptions of Ostrich, one tree.

    OstrichError                 everything a caller may want to catch
    ├── InputError               the caller gave something that cannot be used (command line: exit 2)
    │   ├── UnknownName          a name that does not exist; the message lists the nearest ones
    │   ├── ContractError        a class of an attack lacks what an attack has, or misspells it
    │   ├── CheckpointMismatch   weights that do not fit the network
    │   ├── OtherComputation     what is kept on disk was computed with something else; the message says what
    │   ├── FolderInUse          another command is working in the folder
    │   ├── UnreadableImage      an image file that cannot be decoded
    │   └── UnreadableVideo      a video file that cannot be decoded, or holds no frames
    ├── MissingExtra             an optional dependency is not installed (exit 2)
    ├── WorkerDied               a process that computed a part of the work has ended before it was done
    ├── Diverged                 the losses of a training are not finite any more (exit 2)
    └── RunExists                a finished run directory would be overwritten (exit 2)

A message says what was given, what is allowed, and what to do next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

SCRIPTED = "The following operation failed in the TorchScript interpreter."  # its reason stands last


def first_line(error: BaseException) -> str:
    """The first line of what an error says that tells something, or its name where it says nothing."""
    said = str(error).strip().splitlines() or [type(error).__name__]
    return said[-1 if said[0] == SCRIPTED else 0].strip()


class OstrichError(Exception):
    """Base of every error Ostrich raises on purpose."""


class InputError(OstrichError, ValueError):
    """Something given by the caller cannot be used."""


class UnknownName(InputError):
    """A name that does not exist.

    `kind` is what was looked up ("attack"), `name` what was given, `known` what exists.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        known = list(known)
        near = get_close_matches(name, known, n=3, cutoff=0.5) or _sharing(name, known)
        if near:
            way_out = f"Did you mean {' or '.join(near)}?"
        elif known:
            listed = ", ".join(known[:24]) + (", ..." if len(known) > 24 else "")
            way_out = f"Known: {listed}."
        else:
            way_out = "There is none to choose from."
        super().__init__(f"Unknown {kind} {name!r}. {way_out}{' ' + hint if hint else ''}")
        self.name = name
        self.near = near


class ContractError(InputError):
    """A class of an attack lacks what an attack has, or misspells it."""


class CheckpointMismatch(InputError):
    """Weights that do not fit the network they were given for."""


class OtherComputation(InputError):
    """A folder or file was begun with other weights, settings or data.

    `where` is the folder or file, `differing` are the words for what is not the same, `command` the command
    that it was begun by, where that is known.
    """

    def __init__(self, where: str, differing: Sequence[str], command: str = "") -> None:
        *first, last = differing
        listed = f"{', '.join(first)} and {last}" if first else last
        by = f", by `{command}`" if command else ""
        super().__init__(
            f"{where!r} was begun with other {listed}{by}. Give what it was begun with, or choose another "
            "folder (--out; --force empties the one)."
        )
        self.differing = list(differing)


class FolderInUse(InputError):
    """Another command is working in the folder."""


class UnreadableImage(InputError):
    """An image file that is missing, damaged or not an image."""


class UnreadableVideo(InputError):
    """A video file that is missing, damaged, no video, or without frames."""


class MissingExtra(OstrichError):
    """An optional dependency is not installed."""


class WorkerDied(OstrichError, RuntimeError):
    """A process that computed a part of the work has ended before it was done."""


class Diverged(OstrichError):
    """The losses of a training are no finite numbers any more, so it was ended.

    `step` is the last one, `of` how many there were to be, `way_out` what may keep the next one finite.
    """

    def __init__(self, step: int, of: int, way_out: str) -> None:
        super().__init__(
            f"The training has diverged: by step {step} of {of} its loss is not finite. {way_out}"
        )
        self.step = step


class RunExists(OstrichError):
    """The run directory is finished and would be overwritten."""


def _sharing(name: str, known: list[str]) -> list[str]:
    """Names that contain `name` or are contained in it: "bus" finds "school bus"."""
    low = name.lower()
    return [k for k in known if low and (low in k.lower() or k.lower() in low)][:3]
