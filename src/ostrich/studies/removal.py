"""What of a finished network can be removed, and what does it cost: layers, channels, no retraining.

*Layers.* Every part of the network whose output has its input's shape is replaced by the identity, one at a
time. Veit et al. 2016 find that of a residual network nearly every block may go, while a plain network is at
chance without any of its layers. Which of the two a network is, is measured: a block is residual where its
output still depends on its input while all its weights give zero. *Channels.* In every convolution the
channels with the smallest filters (L1 norm; Li et al. 2017) give their mean over the images, whatever the
image: nothing downstream is fed what it never saw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from ostrich.errors import InputError
from ostrich.figures.chart import Chart
from ostrich.inspection.watching import module_of
from ostrich.models import Classifier
from ostrich.models.untouched import untouched
from ostrich.statistics import interval, spread, wilson
from ostrich.studies.networks import NetworkSpec, opened
from ostrich.studies.points import by_seed
from ostrich.studies.schema import (
    Done,
    Findings,
    Row,
    Study,
    Table,
    Trial,
    crossed,
    decided,
    rows_of,
    values_of,
)

CHEAP = 0.10  # of what is above chance: a part that costs no more can go
DEAR = 1 - CHEAP  # a part that costs so much leaves the network at chance
NEARLY = 0.9  # of the parts: what "nearly every" is taken for here; the paper gives no number
HALF = 0.5
BATCH = 64
KINDS = ("stage", "block", "layer")


@dataclass(frozen=True, kw_only=True)
class Settings(NetworkSpec):
    """Of so many shares of a convolution's channels; each seed takes other images."""

    shares: tuple[float, ...] = (0.25, 0.5)


def trials(spec: Settings) -> list[Trial]:
    return crossed(spec.seeds)


def run(spec: Settings, trial: Trial, folder: Path) -> list[Row]:
    classifier, images, labels = opened(spec, trial["seed"])
    network = module_of(classifier)
    with untouched(network), torch.no_grad():

        def right() -> float:
            found = classifier.predict(images, BATCH).argmax(1).cpu()
            return 100 * (found == labels).float().mean().item()

        rows: list[Row] = [
            {
                "part": "whole",
                "name": "",
                "accuracy": right(),
                "n": len(labels),
                "classes": classifier.num_classes,
            }
        ]
        parts = removable(classifier, images[:2])
        for name, module in parts.items():
            with replaced(module, lambda given, _output: given):
                kind = _kind(name, parts)
                rows.append({"part": kind, "name": name, "accuracy": right()})
            rows[-1]["shortcut"] = has_shortcut(classifier, module, images[:2])
        for name, convolution in _convolutions(classifier, images[:2]).items():
            mean = _mean_output(classifier, convolution, images)
            order = convolution.weight.abs().flatten(1).sum(1).argsort()
            for share in spec.shares:
                gone = order[: round(share * len(order))]
                with replaced(convolution, _without(gone, mean)):
                    rows.append({"part": "channels", "name": name, "share": share, "accuracy": right()})
    return rows


def removable(classifier: Classifier, images: Tensor) -> dict[str, nn.Module]:
    """Parts with weights whose output has their input's shape, called once in a forward; blocks and layers.

    Left out is what only normalises, and a part that is the only child of another one.
    """
    calls: dict[str, list[bool]] = {}
    network = module_of(classifier)
    candidates = {
        name: module
        for name, module in network.named_modules()
        if name
        and any(p.numel() for p in module.parameters())
        and any(isinstance(m, nn.Conv2d | nn.Linear) for m in module.modules())
    }

    def watch(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            first = inputs[0] if inputs else None
            alike = isinstance(first, Tensor) and isinstance(output, Tensor) and first.shape == output.shape
            calls.setdefault(name, []).append(alike)

        return hook

    handles = [module.register_forward_hook(watch(name)) for name, module in candidates.items()]
    try:
        classifier(images)
    finally:
        for handle in handles:
            handle.remove()
    return {name: candidates[name] for name, alike in calls.items() if alike == [True]}


def _kind(name: str, parts: dict[str, nn.Module]) -> str:
    """A layer has no parts of its own, a block has, and a stage has removable blocks inside."""
    if not any(parts[name].children()):
        return "layer"
    inside = [part for other, part in parts.items() if other.startswith(f"{name}.")]
    return "stage" if any(any(part.children()) for part in inside) else "block"


def has_shortcut(classifier: Classifier, module: nn.Module, images: Tensor) -> bool:
    """Whether a path leads around the module's weights: its output tells two images apart without them.

    All parts inside it that have weights of their own give zeros meanwhile.
    """
    weighted = [m for m in module.modules() if any(True for _ in m.parameters(recurse=False))]
    if module in weighted:
        return False
    outputs: list[Tensor] = []
    handles = [m.register_forward_hook(lambda _module, _inputs, output: _zeros(output)) for m in weighted]
    handles.append(module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output)))
    try:
        classifier(images)
    finally:
        for handle in handles:
            handle.remove()
    return bool((outputs[0][0] != outputs[0][1]).any())


def _zeros(output: object) -> object:
    """Zeros for a tensor or a tuple of them."""
    if isinstance(output, tuple):
        return tuple(_zeros(part) for part in output)
    return torch.zeros_like(output) if isinstance(output, Tensor) else output


@contextmanager
def replaced(module: nn.Module, instead: Callable[[Tensor, Tensor], Tensor]) -> Iterator[None]:
    """Within it the module returns `instead(input, output)`."""
    handle = module.register_forward_hook(lambda _module, inputs, output: instead(inputs[0], output))
    try:
        yield
    finally:
        handle.remove()


def _without(channels: Tensor, mean: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    def instead(_given: Tensor, output: Tensor) -> Tensor:
        changed = output.clone()
        changed[:, channels] = mean[channels, None, None].to(output)
        return changed

    return instead


def _convolutions(classifier: Classifier, images: Tensor) -> dict[str, nn.Conv2d]:
    """Those that a forward meets."""
    met: list[nn.Module] = []
    found = {n: m for n, m in module_of(classifier).named_modules() if isinstance(m, nn.Conv2d)}
    handles = [m.register_forward_hook(lambda module, _i, _o: met.append(module)) for m in found.values()]
    try:
        classifier(images)
    finally:
        for handle in handles:
            handle.remove()
    return {name: module for name, module in found.items() if any(module is one for one in met)}


def _mean_output(classifier: Classifier, convolution: nn.Conv2d, images: Tensor) -> Tensor:
    """The mean (C,) of each channel over images and places."""
    sums: list[Tensor] = []
    handle = convolution.register_forward_hook(lambda _m, _i, output: sums.append(output.mean((2, 3)).sum(0)))
    try:
        for part in images.split(BATCH):
            classifier(part)
    finally:
        handle.remove()
    return torch.stack(sums).sum(0) / len(images)


def judge(spec: Settings, done: Sequence[Done]) -> Findings:
    rows = rows_of(done)
    whole = by_seed(rows, "accuracy", part="whole")
    first = next(row for row in rows if row["part"] == "whole")
    chance = 100 / first["classes"]
    above = interval(list(whole.values()))[0] - chance
    if above <= 0:
        raise InputError(
            "The network is no better than chance on these images: nothing can be removed from it."
        )
    names = {
        kind: list(dict.fromkeys(r["name"] for r in rows if r["part"] == kind))
        for kind in (*KINDS, "channels")
    }

    def costs(**wanted: object) -> list[float]:
        found = by_seed(rows, "accuracy", **wanted)
        return [whole[seed] - value for seed, value in found.items()]

    single = {(kind, name): costs(part=kind, name=name) for kind in KINDS for name in names[kind]}
    chosen = "block" if names["block"] else "layer"
    if not names[chosen]:
        raise InputError("No part of the network has an output of its input's shape: none can be removed.")
    shares = {name: interval(single[chosen, name])[0] / above for name in names[chosen]}
    residual = _is_residual(rows, chosen)
    fitting = [n for n, share in shares.items() if (share <= CHEAP if residual else share >= DEAR)]
    low, high = wilson(len(fitting), len(shares))
    share, middle = len(fitting) / len(shares), median(shares.values())
    verdict = decided(share >= NEARLY and low > HALF, share > HALF)
    claimed = (
        f"may go for at most {CHEAP:.0%} of what is above chance"
        if residual
        else f"cost at least {DEAR:.0%} of what is above chance"
    )
    told = (
        f"the network is {'residual' if residual else 'plain'}: of {len(shares)} {chosen}s "
        f"{len(fitting)} {claimed} ({share:.0%}; 95 % interval {low:.0%} to {high:.0%}); the median "
        f"cost is {middle:.0%}"
    )
    order = {name: i for i, name in enumerate(n for kind in KINDS for n in names[kind])}
    points = {
        f"one {kind} removed": [
            {"x": order[name], "y": centre, "low": low, "high": high, "label": name}
            for name in names[kind]
            for centre, low, high in [interval([whole[s] - c for s, c in zip(whole, single[kind, name])])]
        ]
        for kind in KINDS
        if names[kind]
    }
    thinned = {
        f"{share:.0%} of the channels": [
            {
                "x": i,
                "y": interval(
                    values_of([r for r in rows if r["name"] == name and r.get("share") == share], "accuracy")
                )[0],
                "label": name,
            }
            for i, name in enumerate(names["channels"])
        ]
        for share in spec.shares
        if names["channels"]
    }
    charts = [
        Chart(title=title, x_label=x, even=True, y_label="right, %", series=series)
        for title, x, series in (("Layers", "removed", points), ("Channels", "convolution", thinned))
        if series
    ]
    return Findings(
        verdict=verdict,
        because=f"{told[0].upper()}{told[1:]} (accuracy {spread(list(whole.values()), 1)} %, "
        f"{first['n']} images each).",
        tables=[
            Table(
                title="Points of accuracy that one removed part costs",
                columns=("part", "kind", "cost"),
                rows=[(name, kind, spread(cost, 1)) for (kind, name), cost in single.items()],
            ),
            Table(
                title="Points of accuracy that the channels with the smallest filters cost",
                columns=("convolution", *(f"{share:.0%} of them" for share in spec.shares)),
                rows=[
                    (n, *(spread(costs(part="channels", name=n, share=s), 1) for s in spec.shares))
                    for n in names["channels"]
                ],
            ),
        ],
        charts=charts,
        compared=[
            (
                f"{chosen}s of a {'residual' if residual else 'plain'} network that "
                + ("may go" if residual else "leave it at chance"),
                "nearly every" if residual else "every",
                f"{len(fitting)} of {len(shares)}",
            )
        ],
        figures={
            "parts": len(shares),
            "residual": int(residual),
            "as_claimed": len(fitting),
            "as_claimed_low": low,
            "as_claimed_high": high,
            "median_cost_share": middle,
        },
    )


def _is_residual(rows: Sequence[Row], kind: str) -> bool:
    """Whether most of the parts of that kind have a path around their weights."""
    found = {row["name"]: row["shortcut"] for row in rows if row["part"] == kind}
    return sum(found.values()) > HALF * len(found)


STUDY = Study(
    name="removal",
    question="Which layers and channels of this network can be removed, and what does each cost?",
    claim="Nearly every single block of a residual network may be removed without retraining for a small "
    "loss; a plain network does not survive the removal of any.",
    source="Veit, Wilber and Belongie 2016, Residual networks behave like ensembles of relatively shallow "
    "networks, section 4.1 and figure 3; Li et al. 2017, Pruning filters for efficient ConvNets, for the "
    "order of channels.",
    differs="Any network; the paper's are ResNet-110 and VGG on CIFAR-10. So the verdict is about this "
    "network: whether it behaves as the paper's networks of its kind do. Parts whose output has not their "
    "input's shape, as the first blocks of a stage, cannot be removed and are not counted. A removed "
    "channel gives its mean, not zero.",
    rule="The network is residual where most of its blocks have a path around their weights, else plain; "
    "its parts are its blocks, where there are any, else its layers; a part's cost is its mean over the "
    f"draws of images. Reproduced: of a residual network at least {NEARLY:.0%} of the parts (taken for "
    f'"nearly every") cost at most {CHEAP:.0%} of the accuracy above chance; of a plain one as many cost '
    f"at least {DEAR:.0%} of it; and of either the lower end of the share's 95 % interval (Wilson, over "
    "parts) is above one half. Direction only: the share is above one half. Else not reproduced.",
    specs={
        "smoke": Settings(images=30, shares=(0.5,)),
        "cpu": Settings(),
        "gpu": Settings(device="cuda", seeds=5, images=2000),
    },
    trials=trials,
    run=run,
    judge=judge,
    takes_model=True,
)
