"""The architectures of Ostrich by name, and the `arch:` spec: `resnet20,classes=10,width=0.5`.

An option is a parameter of the builder: a number, true or false, or one of a few words (a `Literal`).
A builder with a parameter `size` gets the image size (H, W), which the option `size` changes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from ostrich.errors import InputError, UnknownName
from ostrich.models.alexnet import alexnet, alexnet_small
from ostrich.models.asked import RENAMED
from ostrich.models.digits_cnn import digits_cnn
from ostrich.models.face_cnn import FaceCNN
from ostrich.models.lenet import lenet
from ostrich.models.mlp import mlp
from ostrich.models.residual import SmallNet
from ostrich.models.residual_imagenet import ImageNetResidual
from ostrich.models.strided_cnn import strided_cnn
from ostrich.runtime.settings import read_value


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How to build a network, and the image size (H, W) it was published for."""

    name: str
    build: Callable[..., nn.Module]
    size: tuple[int, int]
    source: str

    def options(self) -> dict[str, Any]:
        """The options of the spec and their types: the builder's parameters, and the image size."""
        fixed = set(self.build.keywords) if isinstance(self.build, partial) else set()
        short = {long: name for name, long in RENAMED.items()}
        parameters = inspect.signature(self.build, eval_str=True).parameters
        found = {short.get(p, p): facts.annotation for p, facts in parameters.items() if p not in fixed}
        return {**found, "size": tuple[int, int]}

    def leaves_classes_open(self, spec: str) -> bool:
        """Whether a spec of it does not say how many classes it has, and could."""
        return "classes" in self.options() and ",classes=" not in spec

    def classes(self) -> int:
        """How many classes it has, unless said."""
        return int(inspect.signature(self.build).parameters["num_classes"].default)


_ALEX = "Krizhevsky et al. 2012, ImageNet classification with deep convolutional neural networks"
_HE = "He et al. 2016, Deep residual learning for image recognition"
_HE_SMALL, _HE_LARGE = f"{_HE}, section 4.2", f"{_HE}, table 1"
ARCHITECTURES = {
    entry.name: entry
    for entry in (
        Architecture(name="alexnet", build=alexnet, size=(224, 224), source=_ALEX),
        Architecture(name="alexnet-small", build=alexnet_small, size=(64, 64), source=f"after {_ALEX}"),
        Architecture(
            name="digits-cnn", build=digits_cnn, size=(8, 8), source="after LeCun et al. 1998, LeNet-5"
        ),
        Architecture(
            name="face-cnn",
            build=FaceCNN,
            size=(24, 24),
            source="after Garcia and Delakis 2004, Convolutional face finder",
        ),
        Architecture(name="lenet", build=lenet, size=(28, 28), source="after LeCun et al. 1998, LeNet-5"),
        Architecture(
            name="mlp",
            build=mlp,
            size=(28, 28),
            source="Srivastava et al. 2014, Dropout, section 6.1.1",
        ),
        Architecture(
            name="strided-cnn",
            build=strided_cnn,
            size=(28, 28),
            source="after Gowal et al. 2018, Interval bound propagation",
        ),
        *(
            Architecture(name=f"resnet{d}", build=partial(SmallNet, depth=d), size=(32, 32), source=_HE_SMALL)
            for d in (8, 14, 20, 32, 44, 56, 110)
        ),
        *(
            Architecture(
                name=f"plain{d}",
                build=partial(SmallNet, depth=d, residual=False),
                size=(32, 32),
                source=_HE_SMALL,
            )
            for d in (8, 14, 20, 32, 44, 56, 110)
        ),
        *(
            Architecture(
                name=f"resnet{d}", build=partial(ImageNetResidual, depth=d), size=(224, 224), source=_HE_LARGE
            )
            for d in (18, 34)
        ),
        *(
            Architecture(
                name=f"plain{d}",
                build=partial(ImageNetResidual, depth=d, residual=False, shortcut="A"),
                size=(224, 224),
                source=_HE_LARGE,
            )
            for d in (18, 34)
        ),
    )
}


def build(
    spec: str, table: Mapping[str, Architecture] = ARCHITECTURES, kind: str = "architecture"
) -> tuple[nn.Module, Architecture, tuple[int, int]]:
    """The network of an `arch:` spec without its prefix, its entry, and its image size (H, W).

    `table` is where names are looked up, `kind` what they are called when unknown.
    """
    name, *settings = spec.split(",")
    if name not in table:
        raise UnknownName(kind, name, table)
    entry = table[name]
    options: dict[str, Any] = {}
    known, size = entry.options(), entry.size
    for setting in settings:
        key, _, text = setting.partition("=")
        if key not in known:
            raise UnknownName(f"option of arch:{name}", key, known)
        if key == "size":
            size = parse_size(text)
        else:
            options[RENAMED.get(key, key)] = read_value(f"arch:{name},{key}", text, known[key])
    if "size" in inspect.signature(entry.build).parameters:
        options["size"] = size
    return entry.build(**options), entry, size


def parse_size(text: str | int | tuple[int, int]) -> tuple[int, int]:
    """N or HxW as (H, W). Raises InputError."""
    if isinstance(text, tuple):
        return text
    parts = str(text).lower().split("x")
    if len(parts) in (1, 2) and all(part.isdigit() and int(part) > 0 for part in parts):
        return int(parts[0]), int(parts[-1])
    raise InputError(f"A size is N or HxW in pixels, for example 224 or 240x320; got {text!r}.")
