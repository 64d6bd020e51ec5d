"""A path as MODEL: `.onnx`, TorchScript, `.pt2` and the folder of `ostrich train` are networks that run.

For the rest it is said what to type instead.

A TorchScript archive and an exported program hold code that is run, as a Python file does: name only files
that you trust.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ostrich.errors import InputError, first_line
from ostrich.models.asked import Asked
from ostrich.models.batches import SIDES
from ostrich.models.bundled import arch_facts
from ostrich.models.cards import CARD, card_of
from ostrich.models.cards import WEIGHTS as TRAINED
from ostrich.models.channels import input_channels
from ostrich.models.checkpoints import Checkpoint
from ostrich.models.checkpoints.files import is_torchscript, keras_way_out
from ostrich.models.exported import Exported
from ostrich.models.onnx import onnx_facts
from ostrich.runtime.files import checksum

WEIGHTS = (".pth", ".pt", ".ckpt", ".th", ".bin", ".safetensors", ".pkl", ".tar", ".pickle")
SUFFIXES = (*WEIGHTS, ".onnx", ".pt2", ".ts", ".torchscript", ".keras", ".h5", ".hdf5", ".tflite", ".pb")


def is_path(model: str) -> bool:
    """Whether MODEL is a file or folder, or looks like one."""
    return Path(model).exists() or Path(model).suffix.lower() in SUFFIXES


def path_facts(model: str, asked: Asked) -> dict[str, Any]:
    """What a `Classifier` of a file is made of, and the file of its `weights` where they lie apart.

    Raises InputError with the words to type instead.
    """
    path, suffix = Path(model), Path(model).suffix.lower()
    if not path.exists():
        raise InputError(f"There is no file {model!r}.")
    if path.is_dir():
        if (card := card_of(path / TRAINED)) is not None:
            return {**arch_facts(card["architecture"], asked), "weights": path / TRAINED}
        raise InputError(_folder(path))
    if suffix == ".onnx":
        return onnx_facts(model, asked)
    if suffix == ".pt2":
        return _exported(path)
    if is_torchscript(path):
        return _scripted(path)
    raise InputError(_no_network(path, suffix))


def _scripted(path: Path) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own: it moves on to export
            network = torch.jit.load(str(path), map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise InputError(f"{str(path)!r} cannot be read as TorchScript: {reason}") from error
    size = _only_size(network, input_channels(network))
    return {
        "network": network,
        "size": size,
        "source": str(path),
        "checksum": checksum(path),
        **({} if size is None else {"told": {"size": f"{size[0]}x{size[1]}, the only one tried that works"}}),
    }


@torch.no_grad()
def _only_size(network: Callable[[torch.Tensor], Any], channels: int) -> tuple[int, int] | None:
    """The size that a network takes, where of the usual ones it takes a single one."""
    fitting = []
    for side in SIDES:
        try:
            network(torch.zeros(2, channels, side, side))
        except Exception:  # TorchScript wraps everything
            continue
        fitting.append((side, side))
        if len(fitting) > 1:
            return None
    return fitting[0] if fitting else None


def _exported(path: Path) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():  # torch 2.11 warns of its own way to read the tensors
            warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
            program = torch.export.load(path)
    except Exception as error:  # torch.export's own, zip's, the system's
        reason = first_line(error)
        raise InputError(f"{str(path)!r} cannot be read as an exported program: {reason}") from error
    names = program.graph_signature.user_inputs
    shapes = [node.meta["val"].shape for node in program.graph.nodes if node.name in names]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        listed = ", ".join(str(tuple(shape)) for shape in shapes) or "nothing"
        raise InputError(f"{str(path)!r} takes {listed}; one batch of images (N, C, H, W) is expected.")
    batch, channels, height, width = (side if type(side) is int else None for side in shapes[0])
    return {
        "network": Exported(program.module()),
        "channels": channels,
        "size": (height, width) if height and width else None,
        "batch": batch,
        "source": str(path),
        "checksum": checksum(path),
    }


# What is no network ------------------------------------------------------------------------------


def _folder(path: Path) -> str:
    config = path / "config.json"
    if config.is_file():
        try:
            timms = "pretrained_cfg" in json.loads(config.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            timms = False
        kind = "timm:local-dir" if timms else "hf"
        return f"{str(path)!r} is a folder with a network in it: ostrich doctor {kind}:{path} DATA"
    if (path / "saved_model.pb").is_file():
        return (
            f"{str(path)!r} is TensorFlow's. Convert it: python -m tf2onnx.convert --saved-model {path} "
            f"--output {path.name}.onnx; then ostrich doctor {path.name}.onnx DATA"
        )
    if (path / "run.json").is_file():
        return (
            f"{str(path)!r} is a run directory without a trained network: no {TRAINED} with the {CARD} that "
            "was written beside it. Another network's goes as its weights: ostrich doctor MODEL DATA "
            "--weights FILE"
        )
    found = [p for p in sorted(path.iterdir()) if p.suffix.lower() in SUFFIXES]
    if found:
        return f"{str(path)!r} is a folder. Name a file in it: ostrich doctor {found[0]} DATA"
    return (
        f"{str(path)!r} is a folder without a network: there is no config.json in it, and no file such as "
        f".onnx or .pt2. MODEL comes before DATA: ostrich doctor MODEL folder:{path}"
    )


def _no_network(path: Path, suffix: str) -> str:
    if suffix in (".keras", ".h5", ".hdf5"):
        return f"{str(path)!r} is a Keras file. {keras_way_out(path)}"
    if suffix == ".tflite":
        return (
            f"{str(path)!r} is TensorFlow Lite's. Convert it: python -m tf2onnx.convert --tflite {path} "
            f"--output {path.stem}.onnx; then ostrich doctor {path.stem}.onnx DATA"
        )
    if suffix == ".py":
        return (
            f"{str(path)!r} is a Python file. Name the function in it that returns a network: "
            f"ostrich doctor {path}:FUNCTION DATA"
        )
    tree = Checkpoint(path).tree  # which refuses what holds no weights either
    named = tree.get("arch") if isinstance(tree, dict) else None
    network = f"timm:{named}" if isinstance(named, str) and named.isidentifier() else "torchvision:NAME"
    return (
        f"{str(path)!r} holds weights and no network. Name the network (torchvision:, timm:, hf:, arch: or "
        f"PATH.py:FUNCTION), and give this file as its weights: ostrich doctor {network} DATA "
        f"--weights {path}"
    )
