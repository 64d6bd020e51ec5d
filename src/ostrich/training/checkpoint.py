"""A checkpoint: everything a training run needs to go on, in one file that is whole or as it was before."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from ostrich.runs import write_bytes


class Stateful(Protocol):
    """A network or an optimiser."""

    def state_dict(self) -> dict[str, Any]:
        """Everything it holds."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object:
        """Take it back."""


def save(path: Path, values: Mapping[str, Any], **parts: Stateful) -> None:
    """Write `values` (numbers, tensors, dictionaries of them) and the states of `parts`."""
    content = io.BytesIO()
    torch.save({**values, **{name: part.state_dict() for name, part in parts.items()}}, content)
    write_bytes(path, content.getvalue())


def restore(path: Path | None, **parts: Stateful) -> dict[str, Any]:
    """Bring `parts` back to where the file left them, and return its values; step 0 without a file."""
    if path is None or not path.exists():
        return {"step": 0}
    saved = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(saved.pop(name))
    return saved
