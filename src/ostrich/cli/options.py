"""Options that several commands share, and what they are turned into."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ostrich.errors import InputError

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="zoo:NAME, arch:NAME, torchvision:NAME, timm:NAME, PATH.py:FUNCTION, onnx:FILE; for dazzle "
        "detector:viola-jones|lbp|cnn",
    ),
]
DataArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA",
        help="image files, images:PATH, folder:PATH, toybox, digits, cifar10[:PATH], faces, generator:NAME",
    ),
]
Weights = Annotated[Path | None, typer.Option(help="safetensors or torch file")]
Rename = Annotated[
    list[str] | None,
    typer.Option(metavar="OLD=NEW", help="text to replace in the weights' names (repeatable)"),
]
Mean = Annotated[str | None, typer.Option(help="per channel, of images in [0, 1]: 0.485,0.456,0.406")]
Std = Annotated[str | None, typer.Option(help="per channel: 0.229,0.224,0.225")]
Size = Annotated[str | None, typer.Option(metavar="N|HxW", help="the network's input size in pixels")]
Classes = Annotated[Path | None, typer.Option(help="class names, one a line")]
Out = Annotated[Path | None, typer.Option(help="run directory [default: new under runs/]")]
Seed = Annotated[int, typer.Option(help="of everything random")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda")]
Precision = Annotated[str, typer.Option(help="fast or exact; gradients only")]
Limit = Annotated[int, typer.Option(help="images: a seeded, class-balanced choice")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="leave unreadable images out, and say so")]
Force = Annotated[bool, typer.Option("--force", help="replace a finished run")]
Json = Annotated[bool, typer.Option("--json", help="results as JSON on standard output")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="a setting, such as eps=8/255 (repeatable)"),
]


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """MODEL and what belongs to it, as typed."""

    model: str
    weights: Path | None = None
    rename: Sequence[str] | None = None
    mean: str | None = None
    std: str | None = None
    size: str | None = None
    classes: Path | None = None
    device: str = "auto"

    def load(self, data_size: tuple[int, int] | None = None) -> Any:
        """The classifier; where it has no input size of its own, the data's."""
        from ostrich.models import load

        classifier = load(
            self.model,
            weights=self.weights,
            rename=[pair(text) for text in self.rename or ()],
            mean=numbers("--mean", self.mean),
            std=numbers("--std", self.std),
            size=self.size,
            classes=self.classes,
            device=self.device,
        )
        if classifier.size is None and data_size is not None:
            classifier.size = data_size
            classifier.probe()
        if classifier.size is None:
            raise InputError(f"The input size of {self.model} is not known; give it with --size N or HxW.")
        return classifier

    def words(self) -> list[str]:
        """The same as command-line words, to be printed in other commands."""
        words = [self.model]
        for name in ("weights", "mean", "std", "size", "classes"):
            if getattr(self, name) is not None:
                words += [f"--{name}", str(getattr(self, name))]
        for text in self.rename or ():
            words += ["--rename", text]
        return words


def check_precision(precision: str) -> None:
    """Refuse what is no precision."""
    if precision not in ("fast", "exact"):
        raise InputError(f"--precision is fast or exact; got {precision!r}.")


def pair(text: str) -> tuple[str, str]:
    """NAME=VALUE as (NAME, VALUE). Raises InputError."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError(f"{text!r}: NAME=VALUE is expected.")
    return name.strip(), value.strip()


def numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Numbers with commas between. Raises InputError."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{option} {text!r}: numbers with commas between are expected.") from None


def typed() -> str:
    """The command as typed."""
    return shlex.join(["ostrich", *sys.argv[1:]])
