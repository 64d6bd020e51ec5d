"""Weights from a file, as strangers write them, into a network.

safetensors or torch files, the latter only as data (`weights_only=True`): a pickle that would run
code is refused. Nested `state_dict` or `model` keys and the prefixes that wrappers leave behind
are taken off; what then does not fit is an error that lists it.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ostrich.errors import CheckpointMismatch, InputError

NESTS = ("state_dict", "model_state_dict", "model", "network", "net", "params", "ema_state_dict")
PREFIXES = ("module.", "_orig_mod.", "model.")  # DataParallel, torch.compile, Lightning
LISTED = 6  # names shown per kind of mismatch


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, nests and wrappers' prefixes removed."""
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"There is no weights file {str(path)!r}; --weights is a safetensors file or a saved state_dict."
        )
    try:
        content: object = load_file(path)
    except (SafetensorError, OSError, ValueError):
        content = _read_torch(path)
    tensors = _find_tensors(content)
    if not tensors:
        raise InputError(f"{str(path)!r} holds no named tensors. Save `network.state_dict()`.")
    return _unwrapped(tensors)


def _read_torch(path: Path) -> object:
    with path.open("rb") as file:
        start = file.read(2)
    if start not in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):  # zip or pickle
        raise InputError(_not_weights(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the file's pickle protocol: it is read or refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{str(path)!r} is not read: it is no plain checkpoint, and loading it could run code. "
            "Save `network.state_dict()`, best as safetensors."
        ) from None
    except Exception:  # torch.load meets foreign bytes with whatever its parsers raise
        raise InputError(_not_weights(path)) from None


def _not_weights(path: Path) -> str:
    return f"{str(path)!r} is not a weights file: a safetensors file or a saved state_dict is expected."


def _find_tensors(content: object) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        return {}
    for nest in NESTS:
        if isinstance(content.get(nest), Mapping):
            return _find_tensors(content[nest])
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Prefixes that all names share are a wrapper's."""
    changed = True
    while changed:
        changed = False
        for prefix in PREFIXES:
            if all(name.startswith(prefix) for name in tensors):
                tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
                changed = True
    return tensors


def load_weights(network: nn.Module, path: str | Path, rename: Sequence[tuple[str, str]] = ()) -> None:
    """Copy a checkpoint into `network`, in the network's own dtype.

    `rename` are pairs (old, new) of text replaced in the checkpoint's names, in order.
    Raises CheckpointMismatch that lists missing, unexpected and wrongly shaped names.
    """
    tensors = read_weights(path)
    for old, new in rename:
        if not any(old in name for name in tensors):
            raise InputError(f"--rename {old}={new}: no name in {str(path)!r} contains {old!r}.")
        tensors = {name.replace(old, new): value for name, value in tensors.items()}
    expected = network.state_dict()
    if not tensors.keys() & expected.keys():
        with_prefix = {f"model.{name}": value for name, value in tensors.items()}
        tensors = with_prefix if with_prefix.keys() & expected.keys() else tensors
    missing = [n for n in expected if n not in tensors and not n.endswith("num_batches_tracked")]
    unexpected = [n for n in tensors if n not in expected]
    misshaped = [
        f"{n} {tuple(tensors[n].shape)} for {tuple(expected[n].shape)}"
        for n in expected
        if n in tensors and tensors[n].shape != expected[n].shape
    ]
    if missing or unexpected or misshaped:
        raise CheckpointMismatch(_mismatch(path, missing, unexpected, misshaped))
    network.load_state_dict({**expected, **tensors})


def _mismatch(path: str | Path, missing: list[str], unexpected: list[str], misshaped: list[str]) -> str:
    parts = [f"{str(path)!r} does not fit the network."]
    kinds = {"missing": missing, "unexpected": unexpected, "wrongly shaped": misshaped}
    for kind, names in kinds.items():
        if names:
            listed = ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")
            parts.append(f"{len(names)} {kind}: {listed}.")
    if missing and unexpected:
        parts.append("Names can be changed with --rename OLD=NEW.")
    elif misshaped:
        parts.append("Is the number of classes or the width another one (arch:NAME,classes=K,width=W)?")
    return " ".join(parts)
