"""A MODEL spec, and what a `Classifier` of it is made of. `FORMS` says what a spec may look like."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch import nn

from ostrich.errors import InputError
from ostrich.models.asked import Asked
from ostrich.models.bundled import arch_facts, zoo_facts
from ostrich.models.channels import guessed_channels
from ostrich.models.huggingface import head_remarks, hf_facts, label_names
from ostrich.models.libraries import timm_facts, timm_preprocessing, torchvision_facts
from ostrich.models.onnx import onnx_facts
from ostrich.models.paths import is_path, path_facts
from ostrich.runtime.files import checksum
from ostrich.runtime.python_file import called, from_file, from_module

FORMS = {  # a form, an example, and what it is
    "zoo:NAME": ("zoo:toybox-resnet20", "ours, trained: weights and card come with the package"),
    "arch:NAME": ("arch:resnet20,classes=10,width=0.5", "ours, untrained unless --weights"),
    "RUN": ("runs/train-digits-cnn", "what `ostrich train` left: its network, fed as its card says"),
    "torchvision:NAME": ("torchvision:resnet18,classes=3", "torchvision's, with its published preprocessing"),
    "timm:NAME": ("timm:vit_tiny_patch16_224,classes=3,in_chans=1", "timm's, likewise (extra zoo)"),
    "timm:local-dir:DIR": ("timm:local-dir:exports/mine", "a folder that timm saved"),
    "timm:hf-hub:NAME": ("timm:hf-hub:timm/resnet18.a1_in1k", "timm's form on the hub"),
    "hf:DIR": (
        "hf:runs/checkpoint-500",
        "transformers' image classifiers, as save_pretrained writes (extra hf)",
    ),
    "hf:ORG/NAME": ("hf:google/vit-base-patch16-224", "the same from the local cache or the hub"),
    "PATH.py:FUNCTION": (
        "models/net.py:build",
        "anyone's: returns a Module, or a callable to scores or labels",
    ),
    "package.module:FUNCTION": ("mypackage.models:build", "the same, of a module that can be imported"),
    "FILE.onnx": ("exports/net.onnx", "or onnx:FILE: scores without gradients (extra onnx)"),
    "FILE.pt": ("exports/traced.pt", "TorchScript"),
    "FILE.pt2": ("exports/net.pt2", "a program of torch.export"),
}
LOADERS: Mapping[str, Callable[[str, Asked], dict[str, Any]]] = {
    "zoo": zoo_facts,
    "arch": arch_facts,
    "torchvision": torchvision_facts,
    "timm": timm_facts,
    "hf": hf_facts,
    "onnx": onnx_facts,
}
MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def named_facts(model: str, asked: Asked) -> dict[str, Any]:
    """What a MODEL spec says of a classifier. Raises InputError."""
    kind, _, rest = model.partition(":")
    if kind == "detector":
        raise InputError(
            f"{model} finds faces and classifies nothing: `ostrich attack dazzle {model} faces`."
        )
    if kind in LOADERS and rest:
        return LOADERS[kind](rest, asked)
    if ".py:" in model:
        path, _, function = model.rpartition(":")
        return _returned(model, from_file(Path(path), function), Path(path).parent, asked) | {
            "source": path,
            "checksum": checksum(Path(path)),
        }
    if is_path(model):
        return path_facts(model, asked)
    if MODULE.fullmatch(model):
        return _module(model, asked)
    raise unknown(model)


def known_forms() -> list[dict[str, Any]]:
    """What `ostrich list models` shows of the forms of MODEL: each with an example."""
    empty = {"parameters": None, "input": None}
    return [
        {"name": form, "kind": "form", **empty, "source": f"{what}; {example}"}
        for form, (example, what) in FORMS.items()
    ]


def unknown(model: object) -> InputError:
    """The error about what is no MODEL."""
    near = get_close_matches(str(model).partition(":")[0], LOADERS, n=1) if ":" in str(model) else []
    hint = f" Did you mean {near[0]}:{str(model).partition(':')[2]}?" if near else ""
    return InputError(f"{model!r} is no model.{hint} A model is one of: {', '.join(FORMS)}.")


def _module(model: str, asked: Asked) -> dict[str, Any]:
    module, _, function = model.partition(":")
    try:
        found = from_module(module, function)
    except ModuleNotFoundError:
        raise unknown(model) from None
    return _returned(model, found, Path(), asked) | {"source": model}


def _returned(model: str, build: Any, folder: Path, asked: Asked) -> dict[str, Any]:
    """The network or callable that a user's function returns, and what it says of its preprocessing."""
    function = model.rpartition(":")[2]
    if not callable(build):
        raise InputError(f"{model} is no function; a function without arguments is expected.")
    hint = (
        f" Where {function} is itself the prediction function, write a function that returns it: "
        f"`def build(): return {function}`."
        if _needs_arguments(build)
        else ""
    )
    network = called(build, model, folder, hint)
    if not isinstance(network, nn.Module) and not callable(network):
        raise InputError(
            f"{model} returns a {type(network).__name__}; a torch.nn.Module or a callable from images "
            "(N, C, H, W) to scores (N, K) or labels (N,) is expected."
        )
    return {"network": network, **own_facts(model, network, asked)}


def _needs_arguments(build: Callable[..., Any]) -> bool:
    """Whether a function cannot be called without arguments."""
    try:
        inspect.signature(build).bind()
    except TypeError:
        return True
    except ValueError:  # a builtin without a signature
        return False
    return False


def own_facts(name: str, network: object, asked: Asked) -> dict[str, Any]:
    """What a network of timm's or transformers' brings: its `pretrained_cfg`, or what its `config` says.

    Raises InputError for a head that is no classifier's, as `head_remarks`.
    """
    if not isinstance(network, nn.Module):
        return {}
    own = vars(network)
    published = own.get("pretrained_cfg") or own.get("default_cfg")
    if published is not None and not isinstance(published, dict):
        published = published.to_dict()
    if published and "input_size" in published and "mean" in published:
        channels, _ = guessed_channels(network, published["mean"])
        facts = timm_preprocessing(name, published, {"in_chans": channels}, own.get("num_classes"))
        del facts["source"]
        return facts | {"told": {"preprocessing": "as the network's pretrained_cfg says; options change it"}}
    config = own.get("config")
    said = vars(config) if hasattr(config, "__dict__") else {}
    told = head_remarks(name, said.get("problem_type"), asked.output)
    found = said.get("id2label")
    names = label_names(found) if isinstance(found, dict) else None
    told |= {"class names": "as the network's config says"} if names else {}
    return {**({"class_names": names} if names else {}), **({"told": told} if told else {})}
