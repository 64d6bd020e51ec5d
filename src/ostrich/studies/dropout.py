"""Dropout: one network trained as many thinned ones (Srivastava et al. 2014, JMLR 15).

Each step trains the network with half of its units left out. At test all units are used, with their outputs
scaled ("weight scaling"), which stands for the average over all thinned networks. The average can also be
taken as it is said, over sampled masks ("Monte-Carlo", section 7.5); the paper finds that it takes about
50 masks to be as good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ostrich.figures.chart import Chart
from ostrich.published import published
from ostrich.runtime.randomness import keyed, seeded
from ostrich.statistics import interval, spread
from ostrich.studies.datasets import open_splits
from ostrich.studies.fitting import built, fitted, measured, recipe_for
from ostrich.studies.points import by_seed, mean_points, paired, ranged
from ostrich.studies.schema import Done, Findings, Row, Spec, Study, Table, Trial, crossed, decided, rows_of
from ostrich.training.loop import logits_of
from ostrich.training.recipe import Recipe

CLOSE = 0.25  # points of error: closer, two ways of averaging count as equally good


@dataclass(frozen=True, kw_only=True)
class Settings(Spec):
    """`sizes` are numbers of training images, `masks` how many thinned networks are averaged."""

    sizes: tuple[int, ...] = (100, 300, 1000)
    test: int = 797
    pixels: int = 8
    hidden: int = 512
    layers: int = 2
    drop: float = 0.5
    steps: int = 2000
    batch_size: int = 64
    learning_rate: float = 0.05
    masks: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100)


def trials(spec: Settings) -> list[Trial]:
    return crossed(spec.seeds, n=spec.sizes, drop=(0.0, spec.drop))


def run(spec: Settings, trial: Trial, folder: Path) -> list[Row]:
    seed, drop = trial["seed"], trial["drop"]
    given = open_splits(spec.data, size=spec.pixels, train=trial["n"], test=spec.test, seed=seed)
    recipe = recipe_for(
        given,
        steps=spec.steps,
        batch_size=spec.batch_size,
        seed=seed,
        learning_rate=spec.learning_rate,
        weight_decay=0.0,
        clip_norm=1.0,
    )
    network = built(f"mlp,hidden={spec.hidden},layers={spec.layers},dropout={drop}", given, seed, spec.device)
    fitted(network, recipe, given, folder)
    rows: list[Row] = [{"way": "weight scaling", **measured(network, recipe, given)}]
    if drop:
        images, labels = given.test.tensors()
        errors = monte_carlo(network, recipe, images, labels, spec.masks, seed)
        rows += [{"way": "Monte-Carlo", "masks": k, "test_error": error} for k, error in errors.items()]
    return rows


def monte_carlo(
    network: nn.Module, recipe: Recipe, images: Tensor, labels: Tensor, masks: Sequence[int], seed: int
) -> dict[int, float]:
    """Test error in percent after averaging the probabilities of so many thinned networks."""
    network.eval()
    for module in network.modules():
        module.train(isinstance(module, nn.Dropout))
    found, total = {}, torch.zeros(())
    device = next(network.parameters()).device
    with seeded(int(torch.randint(2**62, (), generator=keyed(seed, 12))), device):
        for k in range(1, max(masks) + 1):
            total = total + logits_of(network, recipe, images).softmax(1)
            if k in masks:
                found[k] = 100 * (total.argmax(1) != labels).float().mean().item()
    network.eval()
    return found


def judge(spec: Settings, done: Sequence[Done]) -> Findings:
    rows = rows_of(done)
    scaled = [row for row in rows if row["way"] == "weight scaling"]
    gains: dict[int, list[float]] = {}
    table = []
    for n in spec.sizes:
        without, with_ = (by_seed(scaled, "test_error", n=n, drop=drop) for drop in (0.0, spec.drop))
        gains[n] = paired(without, with_)
        table.append((n, spread(list(without.values())), spread(list(with_.values())), spread(gains[n])))
    n = max(spec.sizes)
    most = [k for k in spec.masks if k <= 50][-1]
    sampled = {k: by_seed(rows, "test_error", way="Monte-Carlo", n=n, masks=k) for k in spec.masks}
    whole = by_seed(scaled, "test_error", n=n, drop=spec.drop)
    apart = {k: paired(found, whole) for k, found in sampled.items()}
    gain, low, high = interval(gains[n])
    many_masks = interval(apart[most])
    near = max(-many_masks[1], many_masks[2]) <= CLOSE
    one_mask = interval(apart[min(spec.masks)])
    reached = low > 0 and near and one_mask[1] > 0
    direction = gain > 0 and one_mask[0] > 0
    because = (
        f"With {n} images dropout takes {gain:.2f} points off the test error (95 % interval {low:.2f} to "
        f"{high:.2f}); {most} masks are {ranged(many_masks, 2, '+')} points from weight scaling, one "
        f"mask {ranged(one_mask, 2, '+')} (n = {spec.seeds})."
    )
    curves = {
        ("no dropout" if not drop else f"dropout {drop}"): mean_points(
            [row for row in scaled if row["drop"] == drop], "n", "test_error"
        )
        for drop in (0.0, spec.drop)
    }
    averaged = mean_points(
        [r for r in rows if r["way"] == "Monte-Carlo" and r["n"] == n], "masks", "test_error"
    )
    level = sum(whole.values()) / len(whole)
    line = [{"x": k, "y": level} for k in (min(spec.masks), max(spec.masks))]
    return Findings(
        verdict=decided(reached, direction),
        because=because,
        tables=[
            Table(
                title="Test error in percent",
                columns=("training images", "no dropout", f"dropout {spec.drop}", "gain, paired"),
                rows=table,
            ),
            Table(
                title=f"Averaging thinned networks, {n} training images, test error in percent",
                columns=("masks", "Monte-Carlo", "less weight scaling, paired"),
                rows=[(k, spread(list(sampled[k].values())), spread(apart[k])) for k in spec.masks],
            ),
        ],
        charts=[
            Chart(title="How many images", x_label="training images", y_label="test error, %", series=curves),
            Chart(
                title="One network as many",
                x_label="masks averaged",
                y_label="test error, %",
                series={"Monte-Carlo": averaged, "weight scaling": line},
                dashed=frozenset(["weight scaling"]),
            ),
        ],
        compared=[
            (
                "points of error that dropout takes off",
                f"{_error('mlp') - _error('mlp-dropout'):.2f} of {_error('mlp'):.2f} (MNIST)",
                ranged((gain, low, high), 2),
            )
        ],
        figures={"gain": gain, "gain_low": low, "gain_high": high},
    )


def _error(network: str) -> float:
    """Published, of MNIST."""
    return published(f"mnist-{network}/test-error").value


STUDY = Study(
    name="dropout",
    question="Is one network trained with dropout as good as many thinned ones averaged?",
    claim="Dropout lowers the test error, not on the smallest sets; averaging the predictions of about 50 "
    "sampled thinned networks matches the one network with scaled weights.",
    source="Srivastava et al. 2014, Dropout, sections 6.1.1, 7.4 and 7.5, table 2, figures 10 and 11.",
    differs="8x8 digits instead of MNIST's 60,000 images, 512 units a layer, and no max-norm; the published "
    "errors are those of another data set, so only differences are comparable. The paper's p is the "
    "probability to keep a unit; here `drop` is that to drop it.",
    rule="Reproduced: with the most images the gain, paired by seed, has a 95 % interval above zero, the "
    f"average over 50 masks lies within {CLOSE} points of weight scaling by all of its interval, and one "
    "mask is worse than it, with an interval above zero. Direction only: the mean gain is above zero and "
    "one mask is worse in the mean. Else not reproduced.",
    published=(
        "mnist-mlp/test-error",
        "mnist-mlp-dropout/test-error",
        "mnist-mlp-dropout-max-norm/test-error",
    ),
    specs={
        "smoke": Settings(sizes=(60, 200), test=200, hidden=32, steps=40, masks=(1, 10)),
        "cpu": Settings(seeds=8),
        "gpu": Settings(device="cuda", seeds=10, sizes=(100, 300, 1000), hidden=1024, layers=3, steps=20_000),
        "paper": Settings(
            device="cuda",
            data="folder:MNIST",
            seeds=5,
            sizes=(100, 500, 1000, 5000, 10_000, 50_000),
            test=10_000,
            pixels=28,
            hidden=1024,
            steps=400_000,
            masks=(1, 2, 5, 10, 20, 50, 100, 120),
        ),
    },
    trials=trials,
    run=run,
    judge=judge,
)
