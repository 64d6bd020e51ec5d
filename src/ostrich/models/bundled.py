"""`zoo:NAME`, trained, its weights in `models/zoo/` or from a package; `arch:NAME`, ours, untrained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from ostrich.errors import UnknownName
from ostrich.models import architectures
from ostrich.models.asked import Asked, Builder
from ostrich.models.channels import input_channels
from ostrich.models.checkpoints import load_weights
from ostrich.models.packaged import PACKAGED, packaged_facts

ZOO = Path(__file__).parent / "zoo"


def zoo_cards(folder: Path = ZOO) -> dict[str, dict[str, Any]]:
    """The cards of the bundled networks in a folder, by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def zoo_facts(name: str, asked: Asked) -> dict[str, Any]:
    """`zoo:NAME`. Raises UnknownName."""
    if name in PACKAGED:
        return packaged_facts(name, asked)
    cards = zoo_cards()
    if name not in cards:
        raise UnknownName("model", f"zoo:{name}", [f"zoo:{n}" for n in (*cards, *PACKAGED)])
    card = cards[name]
    network, _, size = architectures.build(card["architecture"])
    if not asked.own_weights:
        load_weights(network, ZOO / f"{name}.safetensors")
    return {
        "network": network,
        "builder": _builder(card["architecture"], len(card["class_names"])),
        "size": size,
        "mean": card["mean"],
        "std": card["std"],
        "class_names": card["class_names"],
        "source": f"trained here on {card['data']}",
    }


def arch_facts(spec: str, asked: Asked) -> dict[str, Any]:
    """`arch:NAME,option=value`. Raises UnknownName, and InputError for options."""
    network, entry, size = architectures.build(spec)
    facts = {"network": network, "size": size, "source": entry.source}
    if entry.leaves_classes_open(spec):
        facts["builder"] = _builder(spec, entry.classes())
    return facts


def _builder(spec: str, classes: int) -> Builder:
    return Builder(classes=classes, build=lambda k: architectures.build(f"{spec},classes={k}")[0])


def known_models() -> list[dict[str, Any]]:
    """What `ostrich list models` shows: name, kind, parameters at the published size, input, source."""
    rows = []
    for name, card in zoo_cards().items():
        network, _, size = architectures.build(card["architecture"])
        source = (
            f"trained on {card['data']}, {card['test_accuracy']:.1%} of {card['test_images']} test images"
        )
        rows.append(_row(f"zoo:{name}", "trained", network, size, source))
    rows += [{"name": f"zoo:{name}", "kind": "trained", **facts} for name, facts in PACKAGED.items()]
    for name, entry in architectures.ARCHITECTURES.items():
        network, _, size = architectures.build(name)
        rows.append(_row(f"arch:{name}", "architecture", network, size, entry.source))
    return rows


def _row(name: str, kind: str, network: nn.Module, size: tuple[int, int], source: str) -> dict[str, Any]:
    count = sum(p.numel() for p in network.parameters())
    shape = [input_channels(network, size), *size]
    return {"name": name, "kind": kind, "parameters": count, "input": shape, "source": source}
