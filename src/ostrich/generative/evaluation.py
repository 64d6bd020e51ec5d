"""How good are samples? Distances in the features of a named classifier, beside a floor and ceilings.

They are called FID, KID and inception score only where the classifier is the one of these measures.

The floor is the distance between two parts of the held-out images, of as many as there are samples if
that many exist; the samples' own distance from one of the parts, at the same number, stands beside it,
since a Frechet distance grows as the numbers fall. The ceilings are a generator that
always makes the mean image, and one that makes noise. All images are brought to the generator's size
first, so what the classifier sees of real images is as coarse as what it sees of samples.

Clips are measured by their features over time (`features`), and their frames by themselves beside it.
Among their ceilings are still clips, the middle frames of one half of the real ones standing, compared
with the other half: to the measure of single frames they are as good as real, to that over time not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ostrich.data.dataset import Samples
from ostrich.data.matching import match_classes
from ostrich.errors import InputError
from ostrich.figures.clips import frames, is_clip, stills
from ostrich.generative.collapse import diversity
from ostrich.generative.features import features, features_of_frames, over_time, scores
from ostrich.generative.frechet import (
    classifier_score,
    doubts,
    frechet_distance,
    kernel_distance,
    precision_recall,
)
from ostrich.generative.generator import Generator
from ostrich.generative.inception import NAME as INCEPTION
from ostrich.generative.motion import motion, one_object, seen, unmasked
from ostrich.generative.video_gan import VideoGenerator
from ostrich.images import rounded
from ostrich.models import Classifier
from ostrich.models.answers import predictions
from ostrich.statistics import interval, wilson

DIVERSITY = 256  # images on each side
SPLITS = 10  # of the classifier score
TRUNCATION = 0.5  # of the second look at a conditional generator


def evaluate(
    generator: Generator,
    held_out: Samples,
    network: Classifier,
    *,
    judge: Classifier | None = None,
    samples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Distances of 8-bit samples from held-out images in the features of `network`.

    With a conditional generator, `judge` says how many samples it takes for the class asked for: of clips
    the share of frames. Classes are matched by name, as data's are (`data.matching`), and `classes` says how.
    Of clips with a mask it is said how many show one object all the while (`motion`). Raises InputError for
    too few images, and for a judge that knows other classes.
    """
    if len(held_out) < 8 or samples < 8:
        raise InputError(f"Measures take at least 8 images and samples; got {len(held_out)} and {samples}.")
    made, asked = generator.sample(range(samples), seed=seed)
    made, real = rounded(made), held_out.images()
    judged = {}
    if judge is not None and asked is not None:
        judged = _judged(generator, judge, made, asked, held_out, seed)
    clips = is_clip(made.shape[1:])
    look = features_of_frames if clips else features
    (of_made, logits), (of_real, real_logits) = look(network, made), look(network, real)
    if clips:
        made_frames, real_frames = of_made, of_real  # (N, T, D)
        of_made, of_real = over_time(made_frames), over_time(real_frames)
        logits, real_logits = logits.mean(1), real_logits.mean(1)
    order = torch.randperm(len(real), generator=torch.Generator().manual_seed(seed))
    halves = order.chunk(2)
    mean = real.mean(0, keepdim=True).expand(2, *real.shape[1:])  # any two alike have no covariance
    noise = torch.rand(made.shape, generator=torch.Generator().manual_seed(seed))
    of_mean = features(network, rounded(mean))[0]
    ceiling = frechet_distance(of_mean, of_real)
    distance = frechet_distance(of_made, of_real)
    precision, recall = precision_recall(of_made, of_real)
    n = min(len(made), *map(len, halves))  # of the floor, on each side
    parts = max(1, min(SPLITS, len(made) // logits.shape[1], len(made) // 2))
    real_parts = max(1, min(SPLITS, len(real) // logits.shape[1], len(real) // 2))
    some = halves[0][:DIVERSITY]
    results: dict[str, Any] = {
        "samples": samples,
        "real": len(real),
        "features": network.name,
        "frechet_distance": distance,
        "floor_two_halves_of_real": frechet_distance(of_real[halves[0][:n]], of_real[halves[1][:n]]),
        "frechet_distance_at_floor_n": frechet_distance(of_made[:n], of_real[halves[1][:n]]),
        "floor_n": n,
        "ceiling_mean_image": ceiling,
        "ceiling_noise": frechet_distance(features(network, rounded(noise))[0], of_real),
        "share_of_mean_image": distance / ceiling if ceiling else None,
        "kernel_distance": kernel_distance(of_made, of_real),
        "classifier_score": classifier_score(logits, parts)[0],
        "classifier_score_parts": parts,
        "classifier_score_real": classifier_score(real_logits[order], real_parts)[0],
        "precision": precision,
        "recall": recall,
        "diversity": diversity(made[: len(some)], real[some]),
        "warnings": doubts(len(made), len(real), of_real.shape[1], parts, logits.shape[1]),
    }
    if network.name == INCEPTION and not clips:
        named = (("fid", "frechet_distance"), ("kid", "kernel_distance"), ("is", "classifier_score"))
        results |= {name: results[measure] for name, measure in named}
    if clips:
        results |= _of_clips(generator, network, made, asked, real, made_frames, real_frames, halves, seed)
    return results | judged


def _of_clips(
    generator: Generator,
    network: Classifier,
    made: Tensor,
    asked: Tensor | None,
    real: Tensor,
    made_frames: Tensor,
    real_frames: Tensor,
    halves: tuple[Tensor, ...],
    seed: int,
) -> dict[str, Any]:
    """The ceiling of still clips, the distance of single frames beside its controls, and the motion.

    `made_frames` and `real_frames` (N, T, D) are the frames' features.
    """
    middle = real_frames[:, real.shape[2] // 2]
    still = torch.cat([middle, torch.zeros_like(middle)], 1)  # what `features` makes of it standing
    noise = torch.rand(stills(real).shape, generator=torch.Generator().manual_seed(seed))
    mean = frames(real).mean(0, keepdim=True).expand(2, *real[0, :, 0].shape)
    by_themselves = {
        "generated": made_frames.flatten(0, 1),
        "floor_two_halves_of_real": real_frames[halves[0]].flatten(0, 1),
        "still_clips": middle[halves[0]],
        "ceiling_mean_image": features(network, rounded(mean))[0],
        "ceiling_noise": features(network, rounded(noise))[0],
    }
    against = dict.fromkeys(by_themselves, real_frames.flatten(0, 1))
    for name in ("floor_two_halves_of_real", "still_clips"):
        against[name] = real_frames[halves[1]].flatten(0, 1)
    results: dict[str, Any] = {
        "ceiling_still_clips": frechet_distance(still[halves[0]], over_time(real_frames)[halves[1]]),
        "frechet_distance_of_frames": {
            name: frechet_distance(found, against[name]) for name, found in by_themselves.items()
        },
    }
    if isinstance(generator.network, VideoGenerator):
        streams = generator.streams(generator.codes.numbered(range(len(made)), seed), asked)
        _, mask, background = streams
        results["motion"] = asdict(motion(made, mask))
        results["mask_0_differs_from_background_by"] = unmasked(*streams)
        one = int(one_object(made, seen(made, mask, background)).sum())
        results["one_object"] = {"n": len(made), "share": one / len(made), "interval": wilson(one, len(made))}
    return results


def _judged(
    generator: Generator, judge: Classifier, made: Tensor, asked: Tensor, held_out: Samples, seed: int
) -> dict[str, Any]:
    """How many samples, truncated ones and held-out images the judge takes for their class."""
    names = generator.class_names or ()
    judged = {"as_asked": _as_asked(judge, made, asked, names)}
    if generator.codes.kind != "uniform":  # these have no tails
        cut, _ = generator.sample(range(len(made)), seed=seed, truncation=TRUNCATION)
        judged[f"as_asked_truncated_{TRUNCATION}"] = _as_asked(judge, rounded(cut), asked, names)
    if held_out.labels is not None:
        known = held_out.class_names or names
        judged["as_labelled_real"] = _as_asked(judge, held_out.images(), held_out.labels, known)
    return judged


def _as_asked(judge: Classifier, images: Tensor, classes: Tensor, names: Sequence[str]) -> dict[str, Any]:
    """The share that the judge takes for their class, with its 95 % interval; of clips the share of frames,
    with the interval over clips, since the frames of one are alike. No answer is never right.

    `classes` (N,) are those of the `names`, which are matched with the judge's. Raises InputError where they
    cannot be.
    """
    seen = scores(judge, images)  # (N, K), or of clips (N, T, K)
    matching = match_classes(names, judge.class_names, seen.shape[-1])
    wanted = torch.tensor(matching.classes)[classes]
    found: dict[str, Any] = {"judge": judge.name, "n": len(images), "classes": matching.sentence}
    if is_clip(images.shape[1:]):
        right = predictions(seen.flatten(0, 1)).unflatten(0, seen.shape[:2]) == wanted[:, None]  # (N, T)
        share, *ends = interval(right.float().mean(1).tolist())
        return found | {"frames": right.shape[1], "share": share, "interval": ends}
    hits = int((predictions(seen) == wanted).sum())
    return found | {"share": hits / len(images), "interval": wilson(hits, len(images))}
