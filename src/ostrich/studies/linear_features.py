"""Features and a linear classifier on them: what the studies of features off the shelf share.

Pixels, HOG (Dalal and Triggs 2005), and the outputs of a network's layers, each of length one as Razavian et
al. 2014 took them; a linear SVM whose C is chosen on a part of the training images (`data/split.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ostrich.data.split import hold_out
from ostrich.inspection.watching import observe
from ostrich.models import Classifier
from ostrich.published import published
from ostrich.studies.datasets import Splits
from ostrich.studies.schema import Row
from ostrich.training.loop import to_images

CLAIM = (
    "A linear SVM on a trained network's features beats most of what was built for a task: 69.0 % on "
    "MIT-67 indoor scenes (before: 64.0), 77.2 mean average precision on VOC 2007 (71.1), with "
    "augmentation."
)
SOURCE = (
    "Razavian, Azizpour, Sullivan and Carlsson 2014, CNN features off-the-shelf, tables 1 and 2, figure 2."
)
PUBLISHED = tuple(
    f"off-the-shelf-{task}/{what}"
    for task in ("voc07", "mit67")
    for what in ("cnn", "cnn-augmented", "before")
)
PENALTIES = (0.1, 1.0, 10.0)  # C of the support vector machine
BATCH = 128
HELD_OUT = 0.25  # of the training images of the new classes: on these C and the layer are chosen


@torch.no_grad()
def layer_features(own: Classifier, images: Tensor, names: Sequence[str], most: int) -> dict[str, np.ndarray]:
    """Each layer's output (N, D) of length one; maps are averaged down to at most `most` numbers."""
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    for pixels_ in images.split(BATCH):
        seen = observe(own, to_images(pixels_, own.device), names).outputs
        for name in names:
            x = seen[name]
            while x.ndim == 4 and x[0].numel() > most and min(x.shape[2:]) > 1:
                x = F.avg_pool2d(x, 2, ceil_mode=True)
            parts[name].append(x.flatten(1).cpu())
    return {name: unit_length(torch.cat(found).numpy()) for name, found in parts.items()}


def unit_length(features: np.ndarray) -> np.ndarray:
    """Rows of length one; a row of zeros stays."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(length > 0, length, 1)


def pixels(images: Tensor) -> np.ndarray:
    """The pixels themselves, (N, D), without their mean, of length one."""
    flat = images.flatten(1).numpy().astype(np.float32) / 255
    return unit_length(flat - flat.mean(1, keepdims=True))


def hog(images: Tensor) -> np.ndarray:
    """Histograms of oriented gradients of the grey image, (N, D): cells of 8 pixels, or a quarter."""
    from skimage.feature import hog as of_one

    cell = min(8, images.shape[2] // 4)
    grey = images.float().mean(1).numpy()
    found = [
        of_one(one, orientations=9, pixels_per_cell=(cell, cell), cells_per_block=(2, 2)) for one in grey
    ]
    return unit_length(np.stack(found).astype(np.float32))


def linear(x: np.ndarray, test_x: np.ndarray, target: Splits, seed: int) -> dict[str, float]:
    """Validation and test accuracy, in percent, of a linear SVM, one against the rest, on features (N, D).

    C is that of the best validation accuracy on a seed's quarter of the training images; with it all of them
    are learned from.
    """
    from sklearn.svm import LinearSVC

    labels, test_labels = (part.tensors()[1].numpy() for part in (target.train, target.test))
    held = hold_out(target.train.keys, round(HELD_OUT * len(labels)), labels.tolist(), seed=seed)

    def score(penalty: float, rows: Sequence[int], on: np.ndarray, truth: np.ndarray) -> float:
        machine = LinearSVC(C=penalty, dual=True, max_iter=20_000, random_state=0)
        return 100 * float((machine.fit(x[rows], labels[rows]).predict(on) == truth).mean())

    stay, aside = held
    validated = {c: score(c, stay, x[aside], labels[aside]) for c in PENALTIES}
    best = max(PENALTIES, key=lambda c: validated[c])
    return {
        "validation": validated[best],
        "accuracy": score(best, range(len(labels)), test_x, test_labels),
    }


def published_gains() -> str:
    """Points, published, over the best before, in words."""
    gains = {}
    for task in ("mit67", "voc07"):
        ours, before = (
            published(f"off-the-shelf-{task}/{what}").value for what in ("cnn-augmented", "before")
        )
        gains[task] = ours - before
    return f"{gains['mit67']:+.1f} (MIT-67), {gains['voc07']:+.1f} (VOC 2007), augmented"


def chosen_layers(rows: Sequence[Row], what: str) -> dict[int, str]:
    """For each seed the layer of the best validation accuracy; the first of equals."""
    found: dict[int, Row] = {}
    for row in rows:
        if (
            row["what"] == what
            and row["validation"] > found.get(row["seed"], {"validation": -1})["validation"]
        ):
            found[row["seed"]] = row
    return {seed: row["layer"] for seed, row in found.items()}
