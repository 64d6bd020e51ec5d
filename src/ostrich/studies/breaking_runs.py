"""What the rows of the study `breaking` run: an attack on one share of a network's images.

Rows have a `kind`: "about" (the network, its images), "image" (one that was attacked, or made), "evolution",
"chance" (random changes of the same size), "transfer" (another network's image), "transformation" (of
prints). Every claim is a file of the trial's folder that was read back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ostrich.attacks import (
    CW,
    FGSM,
    LBFGS,
    PGD,
    AdversarialPatch,
    Confident,
    DeepFool,
    FoolingAscent,
    FoolingCPPN,
    FoolingDirect,
    Goal,
    InputSpecificAttack,
    Linf,
    OnePixel,
    Printed,
    Result,
    Targeted,
    Universal,
    Untargeted,
)
from ostrich.attacks import attack as run_attack
from ostrich.attacks.base import FittedAttack
from ostrich.attacks.engine.evidence import BrokenClaim, Evidence
from ostrich.attacks.fitted import evidence as fitted_evidence
from ostrich.attacks.fitted.artefact import judge
from ostrich.attacks.fitted.held_out import CleanImages, fit_part
from ostrich.attacks.fooling import evidence as fooling_evidence
from ostrich.attacks.fooling.ascent import noise, spread
from ostrich.attacks.fooling.map_elites import EvolutionAttack
from ostrich.attacks.threats import Patch
from ostrich.data.dataset import Samples
from ostrich.errors import InputError
from ostrich.images import fingerprints, read_png
from ostrich.models import Classifier
from ostrich.models.answers import predictions, right
from ostrich.models.loading import load
from ostrich.runtime.randomness import keyed
from ostrich.studies.networks import opened_samples
from ostrich.studies.schema import Row

if TYPE_CHECKING:
    from ostrich.studies.breaking import Settings

PATCHES = {"patch-5": 0.05, "patch-10": 0.1, "patch-20": 0.2}  # parts of the image's area
QUICK = ("fgsm", "pgd", "deepfool", "lbfgs", "lbfgs-target", "fooling-ascent", "printed", "universal")
ROWS = (*QUICK, *PATCHES, "fooling-direct", "fooling-cppn", "cw", "one-pixel")  # cheapest first
FOLDED = ("universal", *PATCHES)
EVOLVED: dict[str, type[EvolutionAttack]] = {"fooling-cppn": FoolingCPPN, "fooling-direct": FoolingDirect}

ORDER, FOLD = 51, 52  # purposes of random numbers
FOLDS = 3  # of a fitted attack: a share is judged on one of them, fitted on the others
IMAGENET = 1000
EPS = {True: 4 / 255, False: 8 / 255}  # of fgsm and pgd, on a network of ImageNet or another
UNIVERSAL, PRINTED = 10 / 255, 16 / 255
CERTAIN, SURE = 0.9999, 0.99


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The network, all of its images, its predictions (N,), and the places of those it gets right."""

    classifier: Classifier
    samples: Samples
    labels: Tensor
    predictions: Tensor

    @property
    def right(self) -> list[int]:
        return right(self.predictions, self.labels).nonzero()[:, 0].tolist()

    def about(self, **more: Any) -> Row:
        return {
            "kind": "about",
            "classes": self.classifier.num_classes,
            "of": len(self.samples),
            "right": len(self.right),
            **more,
        }

    def share(self, seed: int, count: int) -> list[int]:
        """Block `seed` of `count` images that are right, in a random order that is always the same.

        Raises InputError where no image is left for it.
        """
        known = self.right
        order = torch.randperm(len(known), generator=keyed(0, ORDER)).tolist()
        chosen = sorted(known[i] for i in order[seed * count : (seed + 1) * count])
        if not chosen:
            raise InputError(
                f"Share {seed} has no image: {self.classifier.name} gets {len(known)} images right, and a "
                f"share has {count}. Give images={max(1, len(known) // (seed + 1))}, or more DATA."
            )
        return chosen


def opened(spec: Settings) -> Opened:
    """All images of the data, and what the network says of them. Raises InputError."""
    classifier, samples = opened_samples(spec, limit=None)
    said = predictions(classifier.predict(samples.images().to(classifier.device)))
    assert samples.labels is not None
    return Opened(
        classifier=classifier, samples=samples, labels=samples.labels.to(said.device), predictions=said
    )


def run(spec: Settings, name: str, seed: int, folder: Path) -> list[Row]:
    """The rows of one share of the row `name`."""
    own = opened(spec)
    if name in EVOLVED:
        method = EVOLVED[name](
            population=spec.fooling_population, generations=spec.fooling_generations, stop="budget"
        )
        return evolved(own, method, seed, folder)
    if name == "fooling-ascent":
        return climbed(own, spec.images, seed, folder)
    if name == "universal":
        method_ = Universal(threat=Linf(UNIVERSAL), epochs=spec.universal_epochs)
        return fitted(own, method_, None, spec.also, seed, folder)
    if name in PATCHES:
        patch = AdversarialPatch(threat=Patch(PATCHES[name]), epochs=spec.patch_epochs)
        return fitted(own, patch, own.classifier.class_index(spec.patch_target), (), seed, folder)
    if name == "printed":
        return printed(own, Printed(attack="fgsm", threat=Linf(PRINTED)), spec.images, seed, folder)
    return single(own, method_of(spec, name, own), _goal(spec, name, own), spec, name, seed, folder)


def method_of(spec: Settings, name: str, own: Opened) -> InputSpecificAttack:
    """The attack of a row on single images, with its settings."""
    eps = EPS[own.classifier.num_classes == IMAGENET]
    made: dict[str, Callable[[], InputSpecificAttack]] = {
        "fgsm": lambda: FGSM(threat=Linf(eps)),
        "pgd": lambda: PGD(threat=Linf(eps)),
        "deepfool": DeepFool,
        "lbfgs": lambda: LBFGS(constants=spec.lbfgs_constants),
        "lbfgs-target": lambda: LBFGS(constants=spec.lbfgs_constants),
        "cw": lambda: CW(constants=spec.cw_constants, iterations=spec.cw_iterations),
        "one-pixel": lambda: OnePixel(
            population=spec.one_pixel_population, generations=spec.one_pixel_generations
        ),
    }
    return made[name]()


def _goal(spec: Settings, name: str, own: Opened) -> int | None:
    return own.classifier.class_index(spec.target) if name == "lbfgs-target" else None


def attacked(
    own: Opened, method: InputSpecificAttack, target: int | None, chosen: list[int], seed: int, folder: Path
) -> tuple[Samples, Goal, Result]:
    """An attack on some images that are right, its files written and read back."""
    samples, labels = own.samples.take(chosen), own.labels[chosen]
    goal = Untargeted(labels) if target is None else Targeted(torch.full_like(labels, target))
    images = samples.images().to(own.classifier.device)
    result = run_attack(
        method, own.classifier, images, goal, labels=labels, seed=seed, shards=folder / "pieces"
    )
    files = Evidence(folder / "files", samples, labels, goal)
    files.add(range(len(samples)), result)
    files.reread(own.classifier, method.threat)
    return samples, goal, result


def single(
    own: Opened,
    method: InputSpecificAttack,
    target: int | None,
    spec: Settings,
    name: str,
    seed: int,
    folder: Path,
) -> list[Row]:
    """A row for each image: whether it is broken, and how far away the change lies.

    `l2` is the change's Euclidean length, `relative` that by the image's, `rms` that by the root of how many
    values there are; those `of_file` are of the 8-bit file.
    """
    count = spec.one_pixel_images if name == "one-pixel" else spec.images
    samples, _, result = attacked(own, method, target, own.share(seed, count), seed, folder)
    rows = [own.about()]
    for i in result.attacked.nonzero()[:, 0].tolist():
        row: Row = {"kind": "image", "image": samples.index[i], "broken": bool(result.success[i])}
        original = result.originals[i].double()
        for end, found in (("", result.float_images[i]), ("_of_file", result.images[i])):
            length = (found.double() - original).norm().item()
            row[f"l2{end}"] = length
            row[f"relative{end}"] = length / original.norm().item()
            row[f"rms{end}"] = length / math.sqrt(original.numel())
        rows.append({**row, "forwards": int(result.forwards[i])})
    return rows


def printed(own: Opened, method: Printed, count: int, seed: int, folder: Path) -> list[Row]:
    """A row for each image, of its photograph and the clean print's, and one for each transformation."""
    chosen = own.share(seed, count)
    samples, goal, result = attacked(own, method, None, chosen, seed, folder)
    told = method.report(folder / "files", own.classifier, samples.index, goal, result, seed)
    keys, labels = fingerprints(result.originals), own.labels[chosen]
    wrong = []
    for images in (result.images, result.originals):
        shots = method.photographed(images, keys, seed)
        wrong.append(predictions(own.classifier.predict(shots)) != labels)
    rows = [own.about()]
    for i in result.attacked.nonzero()[:, 0].tolist():
        rows.append(
            {
                "kind": "image",
                "image": samples.index[i],
                "broken": int(result.predictions[i]) != int(labels[i]),
                "photograph_wrong": bool(wrong[0][i]),
                "clean_photograph_wrong": bool(wrong[1][i]),
            }
        )
    for name, rate in told["destruction_rate"].items():
        rows.append(
            {
                "kind": "transformation",
                "transformation": name,
                "fooled": told["n_fooled"],
                "destroyed": round((rate or 0) * told["n_fooled"]),
                "attacked": told["n_attacked"],
                "kept": round((told["clean_kept"][name] or 0) * told["n_attacked"]),
            }
        )
    return rows


# From noise --------------------------------------------------------------------------------------


def classes_of(own: Opened, count: int, seed: int) -> list[int]:
    """The classes of a share: all where there are few, else other ones for each of three seeds."""
    total = own.classifier.num_classes
    if total <= count:
        return list(range(total))
    every = spread(total, FOLDS * count)
    return every[seed % FOLDS :: FOLDS]


def climbed(own: Opened, count: int, seed: int, folder: Path) -> list[Row]:
    """A row for each class: the confidence of the file that ascent from noise ends with."""
    classes = classes_of(own, count, seed)
    goal = _certain(own, classes, CERTAIN)
    result, confidence = _from_noise(own, FoolingAscent(), goal, seed, folder)
    return [
        own.about(),
        *(
            {"kind": "image", "class": index, "confidence": certain, "forwards": int(result.forwards[i])}
            for i, (index, certain) in enumerate(zip(classes, confidence, strict=True))
            if result.attacked[i]
        ),
    ]


def evolved(own: Opened, method: EvolutionAttack, seed: int, folder: Path) -> list[Row]:
    """One row of the archive of all classes, and the confidence of some files."""
    classes = classes_of(own, 16, seed)
    last: dict[str, Any] = {}

    def watch(step: int, state: Any) -> None:
        last.update(method.metrics(step, state) or {})

    goal = _certain(own, classes, SURE)
    _, confidence = _from_noise(own, method, goal, seed, folder, watch)
    return [
        own.about(),
        {
            "kind": "evolution",
            "of_classes": last["classes"],
            "sure": last["classes_at_0.99"],
            "median": last["median"],
            "mean": last["mean"],
            "generations": last["generation"],
            "population": method.population,
        },
        *({"kind": "file", "class": k, "confidence": p} for k, p in zip(classes, confidence, strict=True)),
    ]


def _certain(own: Opened, classes: Sequence[int], confidence: float) -> Confident:
    return Confident(torch.tensor(classes, device=own.classifier.device), confidence)


def _from_noise(
    own: Opened,
    method: InputSpecificAttack,
    goal: Confident,
    seed: int,
    folder: Path,
    watch: Callable[[int, Any], None] = lambda step, state: None,
) -> tuple[Result, list[float]]:
    """The result, and the probability of its class in each file as it is read back."""
    classifier, classes = own.classifier, goal.classes.tolist()
    assert classifier.size is not None
    start = noise(classes, (classifier.channels, *classifier.size), seed).to(classifier.device)
    result = run_attack(method, classifier, start, goal, seed=seed, shards=folder / "pieces", watch=watch)
    confidence = fooling_evidence.confidence_of(classifier, result, goal)
    fooling_evidence.write(folder / "files", classifier, goal, result, confidence)
    files = sorted((folder / "files/images").glob("*-adversarial.png"))
    again = {int(file.name[:5]): read_png(file) for file in files}
    found = confidence.tolist()
    for i, image in again.items():
        probability = classifier.predict(image[None].to(classifier.device)).double().softmax(1)
        found[i] = probability[0, classes[i]].item()
        if result.success[i] and found[i] < goal.confidence - 1e-4:
            raise BrokenClaim(f"Read back, {files[i].name} is not what was found.")
    return result, found


# Fitted ------------------------------------------------------------------------------------------


def folds(own: Opened, seed: int) -> tuple[list[int], list[int]]:
    """All images but those of a fold, and the fold: other ones for each of three seeds."""
    count = len(own.samples)
    if count < 2 * FOLDS:
        raise InputError(f"A fitted attack is judged on a third of the images; {count} are too few.")
    order = torch.randperm(count, generator=keyed(0, FOLD)).tolist()
    aside = set(order[seed % FOLDS :: FOLDS])
    return [i for i in range(count) if i not in aside], sorted(aside)


def fitted(
    own: Opened, method: FittedAttack, target: int | None, also: Sequence[str], seed: int, folder: Path
) -> list[Row]:
    """A row for each image held out: whether its prediction changed, and whether it fell, if it was right."""
    classifier, samples = own.classifier, own.samples
    images = samples.images().to(classifier.device)
    artefact, chosen, rest = fit_part(
        method,
        classifier,
        images,
        own.predictions,
        folds(own, seed),
        keys=fingerprints(images),
        target=target,
        seed=seed,
        checkpoint=folder / "fitting.checkpoint.pt",
    )
    held_out = CleanImages(samples, images, own.labels, own.predictions).take(rest)
    judged = judge(artefact, classifier, held_out.images, held_out.labels, seed)
    fitted_evidence.write(folder / "files", artefact, classifier, held_out, judged)
    result = judged.result
    rows = [own.about(fitted=len(chosen))]
    for i, index in enumerate(held_out.samples.index):
        before, after = int(result.clean_predictions[i]), int(result.predictions[i])
        known = target is None or before != target
        tried = bool(result.attacked[i])
        rows.append(
            {
                "kind": "image",
                "image": index,
                "changed": before != after if known else None,
                "broken": bool(result.success[i]) if tried else None,
            }
        )
    rows.append({"kind": "chance", "rate": judged.random_baseline or 0.0, "of": int(result.attacked.sum())})
    for words in also:
        other = other_network(words, classifier)
        found = judge(artefact, other, held_out.images, held_out.labels, seed).result
        changed = (found.predictions != found.clean_predictions).tolist()
        rows += [{"kind": "transfer", "network": other.name, "changed": one} for one in changed]
    return rows


def other_network(words: str, beside: Classifier) -> Classifier:
    """MODEL, or MODEL@FILE with its weights, which takes images of the same size. Raises InputError."""
    model, _, weights = words.partition("@")
    other = load(model, weights=weights or None, device=str(beside.device))
    if other.size != beside.size or other.channels != beside.channels:
        raise InputError(f"{model} takes images of another size than {beside.name}.")
    return other
