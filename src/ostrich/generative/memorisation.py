"""Has a generator memorised its training images? In pixels, and in the features of a named classifier."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostrich.data.dataset import Samples
from ostrich.errors import InputError
from ostrich.figures.clips import film, is_clip, stills, write_clip
from ostrich.generative.features import features
from ostrich.generative.neighbours import Neighbours, memorisation, nearest, neighbours, sentence
from ostrich.images import fingerprints, grid, rounded, write_png
from ostrich.models import Classifier
from ostrich.runtime.files import write_text

SIDE = 512  # pixels of a film
SHOWN = 12  # samples on the sheet of neighbours, those nearest to a training image first
NEAREST = 3  # training images beside each, in pixels and again in features


@dataclass(frozen=True, kw_only=True)
class MemorisationCheck:
    """Samples `images` (N, C, H, W) with their nearest training images in each space of distances.

    `shown` (rows, 1 + 2 NEAREST, C, H, W) has a sample, its nearest in pixels, and its nearest in features.
    """

    figures: Mapping[str, Any]
    images: Tensor
    neighbours: Mapping[str, Neighbours]
    training: Samples
    shown: Tensor

    @property
    def sentences(self) -> list[str]:
        """The verdict in each space."""
        return [self.figures[space]["sentence"] for space in self.neighbours]

    @property
    def sheet(self) -> Tensor:
        """The samples beside their neighbours in one image (C, H', W')."""
        return grid(stills(self.shown.flatten(0, 1)), self.shown.shape[1])

    def write(self, folder: Path) -> None:
        """Write the sheet, of clips as a film too, and the table of all distances."""
        write_png(folder / "neighbours.png", self.sheet)
        if is_clip(tuple(self.images.shape[1:])):
            clip = film(self.shown.flatten(0, 1), self.shown.shape[1])
            write_clip(folder / "neighbours.gif", clip, SIDE)
        write_text(folder / "neighbours.csv", _table(self.training, self.neighbours))


def check_memorisation(
    images: Tensor, training: Samples, held_out: Samples, network: Classifier, *, mirrored: bool = False
) -> MemorisationCheck:
    """Compare samples (N, C, H, W) and held-out images alike with the training images.

    `mirrored` says that the generator was trained on their mirror images too. A training image that is there
    twice counts once, and a held-out one that is a training image does not count: it says nothing of how
    near what was not trained on comes. Where `mirrored`, an image and its mirror image are the same.
    Raises InputError for too few images.
    """
    every, all_held_out = training.images(), held_out.images()
    once, apart = _different(every, all_held_out, mirrored)
    training, held_out = training.take(once), held_out.take(apart)
    check_enough(training, held_out)
    images = rounded(images)
    sides = {"samples": images, "training": every[once], "held_out": all_held_out[apart]}
    if mirrored:
        sides["mirrored"] = sides["training"].flip(-1)
    spaces = {
        "pixels": {side: x.flatten(1) for side, x in sides.items()},
        f"features of {network.name}": {side: features(network, x)[0] for side, x in sides.items()},
    }
    figures: dict[str, Any] = {
        "n": len(images),
        "training": len(training),
        "training_twice": len(every) - len(training),
        "held_out": len(held_out),
        "held_out_in_training": len(all_held_out) - len(held_out),
        "mirrored": mirrored,
    }
    found: dict[str, Neighbours] = {}
    for space, rows in spaces.items():
        reference = (rows["training"], rows.get("mirrored"))
        found[space] = neighbours(rows["samples"], *reference)
        verdict = memorisation(found[space], neighbours(rows["held_out"], *reference))
        figures[space] = asdict(verdict) | {"sentence": sentence(space, verdict)}
    figures["memorised"] = any(figures[space]["memorised"] for space in spaces)
    figures |= {"sheet": "neighbours.png", "table": "neighbours.csv"}
    shown = _beside(images, _every(sides), spaces, found)
    return MemorisationCheck(figures=figures, images=images, neighbours=found, training=training, shown=shown)


def check_enough(training: Samples, held_out: Samples) -> None:
    """Refuse, by an InputError, too few images for a verdict."""
    if len(training) < 2 or len(held_out) < 2:
        raise InputError(
            f"{training.name} has {len(training)} training and {len(held_out)} held-out images: too few "
            "for a verdict."
        )


def _different(training: Tensor, held_out: Tensor, mirrored: bool) -> tuple[list[int], list[int]]:
    """The rows of training images, each image once, and those of held-out images that are none of them."""
    first: dict[int, int] = {}
    for row, key in enumerate(_keys(training, mirrored)):
        first.setdefault(key, row)
    apart = [row for row, key in enumerate(_keys(held_out, mirrored)) if key not in first]
    return list(first.values()), apart


def _keys(images: Tensor, mirrored: bool) -> list[int]:
    """A number for each image, where `mirrored` the same for its mirror image."""
    own = fingerprints(images)
    return list(map(min, own, fingerprints(images.flip(-1)))) if mirrored else own


def _every(of: Mapping[str, Tensor]) -> Tensor:
    """What is compared with: of training images, and of their mirror images."""
    return torch.cat([of["training"], of["mirrored"]]) if "mirrored" in of else of["training"]


def _beside(
    samples: Tensor, training: Tensor, spaces: dict[str, dict[str, Tensor]], found: dict[str, Neighbours]
) -> Tensor:
    """(rows, 1 + 2 NEAREST, C, H, W): a sample, its nearest training images in pixels, those in features."""
    closest = torch.stack([one.ratio for one in found.values()]).amin(0).argsort(stable=True)[:SHOWN]
    columns = [samples[closest][:, None]]
    for rows in spaces.values():
        index = nearest(rows["samples"][closest], _every(rows), min(NEAREST, len(training)))[1]
        columns.append(training[index])
    return torch.cat(columns, 1)


def _table(training: Samples, found: Mapping[str, Neighbours]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["sample", "space", "distance", "ratio", "index", "file"])
    for space, one in found.items():
        for i, (distance, ratio, index) in enumerate(
            zip(one.distance.tolist(), one.ratio.tolist(), one.index.tolist())
        ):
            table.writerow([i, space, f"{distance:.6g}", f"{ratio:.6g}", index, training.files[index]])
    return text.getvalue()
