"""What studies of one generator have in common: train a GAN, then ask of its samples what can be measured.

    recognised    the classifier score of a judge that was trained on real images: exp of the mean divergence
                  of its answer to one sample from its answers to all; 1 where it cannot tell, K where it is
                  sure of each and sees all K classes alike
    distance      Frechet distance from held-out images, as a share of that of the mean image
    memorised     the verdict of `generative.neighbours`, in pixels and in the judge's features
    steps         how much of a way through the codes is gone in its largest step of ten: a jump, or a walk

Beside the samples stand noise, and a Gaussian: images whose pixels have the mean and the covariance of the
training images, and nothing else of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ostrich.data.split import hold_out
from ostrich.errors import Diverged
from ostrich.figures.chart import Chart
from ostrich.figures.clips import sheet
from ostrich.generative.architectures import build_gan
from ostrich.generative.collapse import diversity
from ostrich.generative.evaluation import DIVERSITY, SPLITS, evaluate
from ostrich.generative.features import features
from ostrich.generative.frechet import classifier_score, frechet_distance
from ostrich.generative.generator import Generator
from ostrich.generative.interpolation import interpolate
from ostrich.generative.memorisation import check_memorisation
from ostrich.generative.recipe import GeneratorRecipe
from ostrich.generative.references import feature_network
from ostrich.generative.training import train_gan
from ostrich.images import rounded, write_png
from ostrich.models import Classifier, load
from ostrich.models.loading import pick_device
from ostrich.runtime.randomness import keyed, seeded
from ostrich.statistics import interval, spread
from ostrich.studies.datasets import Splits, open_splits
from ostrich.studies.fitting import CHECKPOINT, METRICS, logged, logger
from ostrich.studies.points import by_seed, mean_points, ranged
from ostrich.studies.schema import Done, Findings, Row, Spec, Table, Trial, Verdict, crossed, decided, rows_of

WAYS, WAY_STEPS = 8, 11  # ways through the codes, and images on each, both ends among them
PICTURES = {  # that each trial leaves, and what they show
    "samples.png": "Samples of one generator, the first 64, none chosen.",
    "neighbours.png": "The twelve of its samples that are most like a training image, and beside each the "
    "three training images that are nearest in pixels, and the three nearest in the judge's features.",
    "interpolation.png": "Ways from one code to another, of eleven images each.",
}
SHEET, COLUMNS = 64, 16  # samples shown
GAUSSIAN, MIXED = 31, 32  # of the random numbers of that control, and of an order
FITTED = 5000  # training images that give it its covariance


@dataclass(frozen=True, kw_only=True)
class GeneratorSpec(Spec):
    """`held_out` of the `train` images are those that samples are compared with; `grey` makes one channel.

    `features` is the MODEL in whose features distances are (inception:WEIGHTS makes them FID), `judge` the
    one that says what it sees; `samples` are measured, and `copies` of them beside the training images.
    """

    train: int = 1200
    held_out: int = 300
    pixels: int = 16
    grey: bool = False
    width: float = 0.25
    steps: int = 2000
    batch_size: int = 64
    watch_every: int = 500
    samples: int = 1000
    copies: int = 256
    features: str = "zoo:digits-cnn"
    judge: str = "zoo:digits-cnn"
    precision: str = "fast"


def trials(spec: GeneratorSpec) -> list[Trial]:
    """A generator for each seed."""
    return crossed(spec.seeds)


def opened(spec: GeneratorSpec, seed: int) -> Splits:
    """Images to train on and images that are held out, both in a seeded order; none is of the test split."""
    every = open_splits(
        spec.data, size=spec.pixels, train=spec.train, test=1, seed=seed, pool=spec.train, grey=spec.grey
    )
    labels = every.train.tensors()[1].tolist()
    parts = hold_out(every.train.keys, spec.held_out, labels, seed=seed)
    stay, aside = (every.train.take(_mixed(rows, seed)) for rows in parts)
    return replace(every, train=stay, test=aside)


def _mixed(rows: Sequence[int], seed: int) -> list[int]:
    """In an order that no class has a part in: folders are read class by class, and parts are measured."""
    return [rows[i] for i in torch.randperm(len(rows), generator=keyed(seed, MIXED)).tolist()]


def made(spec: GeneratorSpec, recipe: GeneratorRecipe, given: Splits, folder: Path) -> list[Row]:
    """Train a generator in the trial's folder, going on from its checkpoint, and measure its samples.

    Rows of the way, and one with step None of the last generator.
    """
    judge = load(spec.judge, device=spec.device)
    log = logger(folder / METRICS)
    real = given.test.images()
    of_real = features(judge, real)[0]
    with seeded(recipe.seed):
        gan = build_gan(recipe.architecture).to(pick_device(spec.device))
    some = min(DIVERSITY, len(real))

    def watch(step: int, network: nn.Module, row: dict[str, float]) -> dict[str, float]:
        samples = Generator.of(gan, network).sample(range(spec.copies), seed=recipe.seed)[0]
        measured: Row = {"step": step, "told_apart": row["told_apart"]}
        if torch.isfinite(samples).all():
            measured["judge_distance"] = frechet_distance(features(judge, samples)[0], of_real)
            measured["diversity"] = diversity(samples[:some], real[: min(some, len(samples))])
        log(measured)
        return {}  # so that the last generator is kept, not the best

    pixels, checkpoint = given.train.tensor(), folder / CHECKPOINT
    try:
        network = train_gan(gan, recipe, pixels, None, checkpoint=checkpoint, watch=watch)
    except Diverged:
        return [*logged(folder / METRICS), {"step": None, "diverged": True}]
    generator = Generator.of(gan, network, name="trained here")
    end = {"step": None, **asked(spec, generator, given, judge, recipe.seed, folder)}
    return [*logged(folder / METRICS), end]


def asked(
    spec: GeneratorSpec, generator: Generator, given: Splits, judge: Classifier, seed: int, folder: Path
) -> Row:
    """What is measured of a trained generator; its samples, neighbours and ways are written as pictures."""
    network = feature_network(generator, spec.features, spec.device)
    samples = generator.sample(range(spec.samples), seed=seed)[0]
    if not torch.isfinite(samples).all():
        return {"diverged": True}
    found = evaluate(generator, given.test, network, samples=spec.samples, seed=seed)
    check = check_memorisation(samples[: spec.copies], given.train, given.test, judge)
    codes = generator.codes.numbered(range(2 * WAYS), seed)
    ways = interpolate(generator, codes, WAY_STEPS)
    write_png(folder / "samples.png", sheet(samples[:SHEET], COLUMNS))
    write_png(folder / "interpolation.png", ways.sheet)
    check.write(folder)
    shape = tuple(samples.shape)
    controls = {
        "samples": rounded(samples),
        "real": given.test.images(),
        "noise": rounded(torch.rand(shape, generator=keyed(seed, GAUSSIAN, 0))),
        "gaussian": rounded(gaussian(given.train.images(0, FITTED), len(samples), seed)),
    }
    copies = [check.figures[space] for space in check.neighbours]
    names = ("frechet_distance", "floor_two_halves_of_real", "ceiling_mean_image", "ceiling_noise")
    return {
        "diverged": False,
        **{f"score_{name}": score(judge, images) for name, images in controls.items()},
        **{name: found[name] for name in names},
        "gaussian": frechet_distance(
            features(network, controls["gaussian"])[0], features(network, controls["real"])[0]
        ),
        "share_of_mean_image": found["share_of_mean_image"],
        **{name: found[name] for name in ("precision", "recall", "diversity")},
        "memorised": check.figures["memorised"],
        "copies": max(len(one["copies"]) for one in copies),
        "largest_step": largest_step(ways.images),
    }


def score(judge: Classifier, images: Tensor) -> float:
    """The judge's classifier score of images (N, C, H, W), in as many parts as `evaluate` takes."""
    logits = features(judge, images)[1]
    return classifier_score(logits, max(1, min(SPLITS, len(logits) // logits.shape[1], len(logits) // 2)))[0]


def gaussian(images: Tensor, count: int, seed: int) -> Tensor:
    """`count` images (count, C, H, W) of the normal distribution with mean and covariance of images (N, ...).

    A sum of the centred images by normal weights has their covariance, without one being computed.
    """
    flat = images.flatten(1)
    weights = torch.randn(count, len(flat), generator=keyed(seed, GAUSSIAN, 1)) / (len(flat) - 1) ** 0.5
    mean = flat.mean(0)
    return (mean + weights @ (flat - mean)).clamp(0, 1).unflatten(1, images.shape[1:])


def largest_step(images: Tensor) -> float:
    """The largest step's share of the way through images (S, R, C, H, W), mean over the ways R."""
    lengths = images.diff(dim=0).flatten(2).norm(dim=2)  # (S - 1, R)
    return (lengths.amax(0) / lengths.sum(0).clamp_min(1e-12)).mean().item()


def verdict_of(ends: Sequence[Row], most: float) -> tuple[Verdict, dict[str, int]]:
    """The verdict of rows with step None, and in how many seeds each of its three parts holds.

    `most` is the share of the mean image's distance that may be left.
    """
    whole = [row for row in ends if not row["diverged"]]
    holds = {
        "recognised": sum(
            row["score_samples"] > max(row["score_noise"], row["score_gaussian"]) for row in whole
        ),
        "near": sum(row["share_of_mean_image"] <= most for row in whole),
        "not memorised": sum(not row["memorised"] for row in whole),
    }
    every = len(ends)
    nearer = all(
        row["frechet_distance"] < min(row["ceiling_mean_image"], row["ceiling_noise"], row["gaussian"])
        for row in whole
    )
    verdict = decided(
        bool(whole) and all(count == every for count in holds.values()),
        every > 0 and holds["recognised"] == every and nearer,
    )
    return verdict, holds


def findings(spec: GeneratorSpec, done: Sequence[Done], most: float) -> Findings:
    """The findings of such a study, whose rule asks for `most` of the mean image's distance at most."""
    rows = rows_of(done)
    ends = [row for row in rows if row["step"] is None]
    whole = [row for row in ends if not row["diverged"]]
    verdict, holds = verdict_of(ends, most)

    def of(field: str) -> list[float]:
        return list(by_seed(whole, field).values())

    scores = {name: interval(of(f"score_{name}")) for name in ("samples", "gaussian", "noise", "real")}
    share = interval(of("share_of_mean_image"))
    walk = 1 / (WAY_STEPS - 1)
    because = (
        f"Of {len(ends)} generators {holds['recognised']} make samples that {spec.judge} recognises better "
        f"than noise and a Gaussian of the pixels (score {ranged(scores['samples'], 2)}; the Gaussian "
        f"{ranged(scores['gaussian'], 2)}, real images {ranged(scores['real'], 2)}); {holds['near']} lie at "
        f"most {most:.2f} times as far from real images as the mean image does ({ranged(share, 2)}, features "
        f"of {spec.features}); {holds['not memorised']} have not memorised their training images."
    )
    if len(whole) < len(ends):
        because += f" {len(ends) - len(whole)} diverged."
    distances = (
        ("samples", "frechet_distance"),
        ("two halves of real images", "floor_two_halves_of_real"),
        ("the mean image", "ceiling_mean_image"),
        ("noise", "ceiling_noise"),
        ("a Gaussian of the pixels", "gaussian"),
    )
    rest = (
        ("classifier score of samples", "score_samples"),
        ("of a Gaussian of the pixels", "score_gaussian"),
        ("of noise", "score_noise"),
        ("of real images", "score_real"),
        ("precision", "precision"),
        ("recall", "recall"),
        ("diversity, of real images'", "diversity"),
        (f"copies of training images, of {spec.copies} samples", "copies"),
        (f"largest step of a way, where an even walk has {walk:g}", "largest_step"),
    )
    way = [row for row in rows if row["step"] is not None]
    return Findings(
        verdict=verdict,
        because=because,
        compared=[
            ("distance from real images, of that of the mean image", "-", ranged(share, 2)),
            (
                "classifier score: samples, real images",
                "-",
                f"{ranged(scores['samples'], 2)}, {ranged(scores['real'], 2)}",
            ),
            ("generators that memorised", "none (in words)", f"{len(whole) - holds['not memorised']}"),
        ],
        tables=[
            Table(
                title=f"Frechet distance from held-out images, features of {spec.features}",
                columns=("of", "distance"),
                rows=[(name, spread(of(field), 1)) for name, field in distances],
            ),
            Table(
                title="Samples",
                columns=("what", "here"),
                rows=[(name, spread(of(field))) for name, field in rest],
            ),
        ],
        charts=[
            Chart(
                title="On the way",
                x_label="steps of the generator",
                y_label=f"distance, {spec.judge}",
                even=True,
                fraction=False,
                series={"samples": mean_points(way, "step", "judge_distance")},
            ),
            Chart(
                title="Does the discriminator tell them apart?",
                x_label="steps of the generator",
                y_label="share",
                even=True,
                fraction=True,
                series={
                    "pairs told apart": mean_points(way, "step", "told_apart"),
                },
            ),
        ],
        figures={
            "share_of_mean_image": share[0] if whole else None,
            "score": scores["samples"][0] if whole else None,
            "score_gaussian": scores["gaussian"][0] if whole else None,
            "score_real": scores["real"][0] if whole else None,
            **{name.replace(" ", "_"): count for name, count in holds.items()},
        },
    )
