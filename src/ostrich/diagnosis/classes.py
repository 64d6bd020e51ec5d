"""Does the network number its classes as the labels do? And are there enough of them?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ostrich.diagnosis.model_under_test import Finding, ModelUnderTest, NotApplicable, Remark
from ostrich.diagnosis.significance import clearly_better, p_value_text
from ostrich.models.answers import switched_off

GAIN, ALIKE, TRAINED = 0.1, 0.02, 0.5
FITTED = "the order that fits the other half of the images"
LISTED = 12  # classes that a sentence names
DLR = 4  # classes that the targeted loss compares


def order(model: ModelUnderTest) -> Iterator[Finding]:
    """Another numbering of the outputs under which the network is clearly more often right.

    The usual ones (shifted by one, sorted as text, reversed) are tried as they are. Any other is the
    assignment that fits the confusion matrix best (Kuhn 1955), found on one half of the images and judged
    on the other half, and the other way round: what fits by chance does not hold. It has to be right on
    half of the images: an untrained network has an order too under which it is better than by chance.
    None counts that is right only because it says the most frequent class.
    """
    labels, predictions = model.labels, model.predictions
    if labels is None:
        raise NotApplicable("The images have no labels.")
    classes = model.logits.shape[1]
    found: list[tuple[float, str, float]] = []
    for words, then in _numberings(model, labels, predictions, classes):
        p = clearly_better(then, predictions, labels, gain=GAIN)
        accuracy = _share(then == labels)
        if p is not None and (words != FITTED or accuracy >= TRAINED):
            found.append((accuracy, words, p))
    if not found:
        return
    best = max(value for value, *_ in found)
    accuracy, words, p = next(one for one in found if one[0] >= best - ALIKE)
    yield Finding(
        code="wrong-class-order",
        sentence="The network numbers its classes in another order than the labels do.",
        evidence=f"With {words}: {accuracy:.1%} right instead of {_share(predictions == labels):.1%} "
        f"(n = {len(labels)}, {p_value_text(p)}). {_in_use(model)}{_examples(model, labels, predictions)}",
        fix=_way_out(model, labels, predictions, classes),
    )


def _share(right: Tensor) -> float:
    return float(right.double().mean())


def _in_use(model: ModelUnderTest) -> str:
    """The order in use: how the data's classes were matched."""
    matching, names = model.matching, model.samples.class_names if model.samples else None
    if matching is None or names is None:
        return ""
    pairs = sorted(zip(matching.classes, names))
    shown = ", ".join(f"{name} is {k}" for k, name in pairs[:LISTED])
    return f"In use, matched {matching.sentence}: {shown}{', ...' if len(pairs) > LISTED else ''}. "


def _way_out(model: ModelUnderTest, labels: Tensor, predictions: Tensor, classes: int) -> str:
    """The better order, as rows of --class-map where the data's classes have names."""
    matching, names = model.matching, model.samples.class_names if model.samples else None
    general = (
        "Give the class names in the order of the network's outputs with --classes FILE, and name the "
        "folders as its classes, or INDEX_name"
    )
    if matching is None or names is None:
        return f"{general}."
    meant = _assignment(labels, predictions, classes).tolist()
    output = {k: place for place, k in enumerate(meant)}
    known = set(labels.tolist())
    rows = [f"{name},{output[k]}" for name, k in zip(names, matching.classes) if k in known]
    more = f" ... ({len(rows)} rows)" if len(rows) > LISTED else ""
    return (
        f"{general}; or write the better order into a file, after the line folder,class the lines "
        f"{' '.join(rows[:LISTED])}{more}, and give it with --class-map FILE."
    )


def _numberings(
    model: ModelUnderTest, labels: Tensor, predictions: Tensor, classes: int
) -> Iterator[tuple[str, Tensor]]:
    """Numberings in words, and the predictions (N,) under each."""
    names = model.classifier.class_names
    as_text = sorted(range(classes), key=str)
    usual = {
        "every output one class further": [(k + 1) % classes for k in range(classes)],
        "every output one class back": [(k - 1) % classes for k in range(classes)],
        "outputs sorted as text (0, 1, 10, 11, ..., 2)": as_text,
        "labels sorted as text (0, 1, 10, 11, ..., 2)": [as_text.index(k) for k in range(classes)],
        "outputs in the reversed order": list(range(classes))[::-1],
    }
    if names is not None and len(names) == classes:
        usual["outputs in the names' alphabetical order"] = sorted(range(classes), key=lambda k: names[k])
    identity = list(range(classes))
    for words, numbering in usual.items():
        if numbering != identity:
            yield words, torch.tensor(numbering, device=labels.device)[predictions]
    halves = _halves(labels.tolist())
    fitted = predictions.clone()
    for learnt, judged in (halves, halves[::-1]):
        if len(learnt) and len(judged):
            meant = _assignment(labels[learnt], predictions[learnt], classes).to(labels.device)
            fitted[judged] = meant[predictions[judged]]
    yield FITTED, fitted


def _halves(labels: list[int]) -> tuple[list[int], list[int]]:
    """The places of every second image of each class, and of the others."""
    seen: dict[int, int] = defaultdict(int)
    halves: tuple[list[int], list[int]] = ([], [])
    for i, label in enumerate(labels):
        halves[seen[label] % 2].append(i)
        seen[label] += 1
    return halves


def _assignment(labels: Tensor, predictions: Tensor, classes: int) -> Tensor:
    """The class (K,) that each output means, so that most images are right; as it is where nothing speaks."""
    from scipy.optimize import linear_sum_assignment  # slow to import, and every check imports the doctor

    met = torch.cat([labels, predictions]).unique()  # of thousands of classes most may not occur
    count, rows, columns = len(met), *(torch.searchsorted(met, one) for one in (predictions, labels))
    confusion = torch.bincount(rows * count + columns, minlength=count * count).view(count, count)
    _, found = linear_sum_assignment(confusion.cpu().numpy() + 0.5 * np.eye(count), maximize=True)
    meant = torch.arange(classes)
    meant[met.cpu()] = met.cpu()[torch.as_tensor(found)]
    return meant


def _examples(model: ModelUnderTest, labels: Tensor, predictions: Tensor) -> str:
    """The most frequent confusions: images of tench are taken for great white shark 5 of 6 times."""
    wrong = Counter((y, k) for y, k in zip(labels.tolist(), predictions.tolist()) if y != k)
    counts = Counter(labels.tolist())
    name = model.classifier.class_name
    listed = [
        f"{name(y)} for {name(k)} {times} of {counts[y]} times" for (y, k), times in wrong.most_common(3)
    ]
    return f"It takes {'; '.join(listed)}."


def few_for_dlr(model: ModelUnderTest) -> Iterator[Finding]:
    """Fewer classes than the difference-of-logits-ratio loss compares (Croce and Hein 2020, eq. 6 and 7)."""
    off = int(switched_off(model.logits).all(0).sum())
    classes = model.logits.shape[1] - off
    if 2 <= classes < DLR:
        yield Remark(
            code="too-few-classes-for-dlr",
            sentence=f"With {classes} classes{' that are not switched off' if off else ''} the DLR loss of "
            "APGD and AutoAttack is not defined.",
            evidence="It divides by the distance to the third largest score; targeted, to the third and "
            "fourth.",
            fix="Nothing to repair: attacks here take the margin between the two largest scores instead. "
            "Other tools fail or divide by zero; give them cross-entropy.",
        )
