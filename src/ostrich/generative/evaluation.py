"""How good are samples? Distances in the features of a named classifier, beside a floor and ceilings.

They are called FID, KID and inception score only where the classifier is the one of these measures.

The floor is the distance between two halves of the held-out images; the ceilings are a generator that
always makes the mean image, and one that makes noise. All images are brought to the generator's size
first, so what the classifier sees of real images is as coarse as what it sees of samples.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ostrich.data.pictures import Pictures
from ostrich.errors import InputError
from ostrich.generative.collapse import diversity
from ostrich.generative.features import features
from ostrich.generative.generator import Generator
from ostrich.generative.inception import NAME as INCEPTION
from ostrich.generative.measures import (
    classifier_score,
    frechet_distance,
    kernel_distance,
    precision_recall,
)
from ostrich.images import rounded
from ostrich.models import Classifier
from ostrich.statistics import wilson

DIVERSITY = 256  # images on each side
SPLITS = 10  # of the classifier score
TRUNCATION = 0.5  # of the second look at a conditional generator


def evaluate(
    generator: Generator,
    held_out: Pictures,
    network: Classifier,
    *,
    judge: Classifier | None = None,
    samples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Distances of 8-bit samples from held-out images in the features of `network`.

    With a conditional generator, `judge` says how many samples it takes for the class asked for.
    Raises InputError for too few images.
    """
    if len(held_out) < 8 or samples < 8:
        raise InputError(f"Measures take at least 8 images and samples; got {len(held_out)} and {samples}.")
    made, asked = generator.sample(range(samples), seed=seed)
    made, real = rounded(made), held_out.images()
    (of_made, logits), (of_real, real_logits) = features(network, made), features(network, real)
    order = torch.randperm(len(real), generator=torch.Generator().manual_seed(seed))
    halves = order.chunk(2)
    mean = real.mean(0, keepdim=True).expand(samples, -1, -1, -1)
    noise = torch.rand(made.shape, generator=torch.Generator().manual_seed(seed))
    ceiling = frechet_distance(features(network, rounded(mean))[0], of_real)
    distance = frechet_distance(of_made, of_real)
    precision, recall = precision_recall(of_made, of_real)
    some = halves[0][:DIVERSITY]
    results: dict[str, Any] = {
        "samples": samples,
        "real": len(real),
        "features": network.name,
        "frechet_distance": distance,
        "floor_two_halves_of_real": frechet_distance(of_real[halves[0]], of_real[halves[1]]),
        "ceiling_mean_image": ceiling,
        "ceiling_noise": frechet_distance(features(network, rounded(noise))[0], of_real),
        "share_of_mean_image": distance / ceiling if ceiling else None,
        "kernel_distance": kernel_distance(of_made, of_real),
        "classifier_score": classifier_score(logits, min(SPLITS, len(made)))[0],
        "classifier_score_real": classifier_score(real_logits[order], min(SPLITS, len(real)))[0],
        "precision": precision,
        "recall": recall,
        "diversity": diversity(made[: len(some)], real[some]),
    }
    if network.name == INCEPTION:
        named = (("fid", "frechet_distance"), ("kid", "kernel_distance"), ("is", "classifier_score"))
        results |= {name: results[measure] for name, measure in named}
    if judge is not None and asked is not None:
        results["as_asked"] = _as_asked(judge, made, asked)
        cut, cut_asked = generator.sample(range(samples), seed=seed, truncation=TRUNCATION)
        assert cut_asked is not None
        results[f"as_asked_truncated_{TRUNCATION}"] = _as_asked(judge, rounded(cut), cut_asked)
        if held_out.labels is not None:
            results["as_labelled_real"] = _as_asked(judge, real, held_out.labels)
    return results


def _as_asked(judge: Classifier, images: Tensor, classes: Tensor) -> dict[str, Any]:
    """The share that the judge takes for their class, with its 95 % interval."""
    hits = int((features(judge, images)[1].argmax(1) == classes).sum())
    return {
        "judge": judge.name,
        "n": len(images),
        "share": hits / len(images),
        "interval": wilson(hits, len(images)),
    }
