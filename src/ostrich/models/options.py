"""MODEL and what belongs to it, as typed: the one place for an option of a network.

A field here is an option of every command that takes a network (`cli/options.py` reads its help from the
metadata), stands in the commands that a report prints, and is used by `load`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ostrich.errors import InputError
from ostrich.runtime.options import option, option_words
from ostrich.runtime.settings import pair


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """A network as the command line names it."""

    model: str = field(
        metadata={
            "help": "zoo:NAME, arch:NAME, torchvision:NAME, timm:NAME, hf:DIR, PATH.py:FUNCTION, FILE.onnx "
            "(all forms: ostrich list models); for dazzle detector:viola-jones|lbp|cnn",
            "metavar": "MODEL",
        }
    )
    weights: Path | None = option("safetensors or torch file")
    mean: str | None = option("per channel, of images in [0, 1]: 0.485,0.456,0.406")
    std: str | None = option("per channel: 0.229,0.224,0.225")
    size: str | None = option("the network's input size in pixels, by a plain resize", "N|HxW")
    resize: str | None = option("the shorter side, or both, before --crop", "N|HxW")
    crop: str | None = option("the network's input size, cut out of the centre", "N|HxW")
    interpolation: str | None = option("of the resize", "nearest|bilinear|bicubic|lanczos")
    classes: Path | None = option("class names, one a line")
    output: str | None = option(
        "which of several outputs the scores are, and what one output is", "NAME|INDEX|logit|sigmoid|logits"
    )
    draws: int | None = option("answers to each image, where they are random [default: 20]")
    rename: list[str] | None = option("text to replace in the weights' names (repeatable)", "OLD=NEW")
    drop: list[str] | None = option("names in the weights file to leave out (repeatable)", "GLOB")
    ema: str | None = option("whether a file's averaged weights are taken [default: yes]", "yes|no")
    device: str = option("auto, cpu or cuda", default="auto")

    def load(self, data_size: tuple[int, int] | None = None) -> Any:
        """The `Classifier`; where it has no input size of its own, the data's. Raises InputError."""
        from ostrich.models.loading import load  # with torch, which `ostrich --help` does without

        classifier = load(
            self.model,
            weights=self.weights,
            rename=[pair(text) for text in self.rename or ()],
            mean=numbers("--mean", self.mean),
            std=numbers("--std", self.std),
            drop=self.drop or (),
            ema=_yes_or_no("--ema", self.ema),
            size=self.size,
            resize=self.resize,
            crop=self.crop,
            interpolation=self.interpolation,
            classes=self.classes,
            output=self.output,
            draws=self.draws,
            device=self.device,
        )
        if classifier.size is None and data_size is not None:
            classifier.size = data_size
            classifier.probe()
        if classifier.size is None:
            raise InputError(f"The input size of {self.model} is not known; give it with --size N or HxW.")
        classifier.words = tuple(self.words())
        return classifier

    def detector(self) -> str:
        """The face detector that MODEL names; it has no options. Raises InputError."""
        if len(words := self.words()) > 1:
            raise InputError(f"A detector is whole as it is: {' '.join(words[1:])} belongs to a classifier.")
        return self.model

    def words(self) -> list[str]:
        """The same as command-line words, to be printed in other commands; these choose their device."""
        return [self.model, *option_words(self, without=("model", "device"))]


def _yes_or_no(option: str, text: str | None) -> bool | None:
    if text not in (None, "yes", "no"):
        raise InputError(f"{option} is yes or no; got {text!r}.")
    return None if text is None else text == "yes"


def numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Numbers with commas between. Raises InputError."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{option} {text!r}: numbers with commas between are expected.") from None
