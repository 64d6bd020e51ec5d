"""What a product of Jacobians does to a gradient: singular values below, at and above one.

A gradient through L layers is multiplied by L Jacobians. Where all their singular values are g it changes by
g^L exactly. The lecture asks whether the determinant tells: it does not. For Gaussian matrices whose gain
keeps the gradient's length (variance 1/n), the logarithm of the determinant falls by about n/2 a layer, since
almost all directions shrink while few grow; and with ReLU one unit that is off makes it zero. Exact lines:

    a layer                     log |gradient|                      log |det|
    orthogonal times g          log g                               n log g
    Gaussian, variance g^2/n    (psi(n/2) + log(2/n)) / 2 + log g   sum_i (psi(i/2) + log(2/n)) / 2 + n log g

with i from 1 to n (log of chi-squared variables: E log X = psi(i/2) + log 2). Saxe et al. 2014 show that this
is why orthogonal starts train deep linear networks independently of depth, and Gaussian ones do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ostrich.figures.chart import Chart
from ostrich.runtime.randomness import keyed
from ostrich.statistics import interval, spread
from ostrich.studies.points import mean_points
from ostrich.studies.schema import (
    Done,
    Findings,
    Row,
    Spec,
    Study,
    Table,
    Trial,
    crossed,
    decided,
    rows_of,
    values_of,
)

KINDS = ("orthogonal", "gaussian", "relu")
EXACT = 1e-9  # error of the logarithms of orthogonal products, for each layer and unit
ERRORS = 4.0  # standard errors within which a mean must lie


@dataclass(frozen=True, kw_only=True)
class Settings(Spec):
    """Square layers of `units`; `gains` g; with ReLU the gain is that of He, sqrt(2), times g."""

    data: str = "none"
    units: int = 64
    depth: int = 50
    gains: tuple[float, ...] = (0.9, 1.0, 1.1)
    seeds: int = 20


def trials(spec: Settings) -> list[Trial]:
    return crossed(spec.seeds, kind=KINDS, gain=spec.gains)


def run(spec: Settings, trial: Trial, folder: Path) -> list[Row]:
    draw = keyed(trial["seed"], 15, KINDS.index(trial["kind"]))
    n, gain = spec.units, trial["gain"]
    gradient = torch.randn(n, generator=draw, dtype=torch.float64)
    signal = torch.randn(n, generator=draw, dtype=torch.float64)
    gradient /= gradient.norm()
    product = torch.eye(n, dtype=torch.float64)
    length = volume = 0.0  # logarithms, so that nothing overflows
    rows: list[Row] = []
    for layer in range(1, spec.depth + 1):
        jacobian, signal = _layer(trial["kind"], n, gain, signal, draw)
        gradient = gradient @ jacobian
        length += gradient.norm().log().item()
        gradient = gradient / gradient.norm()
        sign, log = torch.linalg.slogdet(jacobian)
        volume = volume + log.item() if sign else -math.inf
        product = product @ jacobian
        rows.append(
            {
                "layer": layer,
                "log_gradient": length,
                "log_determinant": volume if math.isfinite(volume) else None,
                "rank": int(torch.linalg.matrix_rank(jacobian)),
                "largest_by_mean": _largest_by_mean(product),
            }
        )
    return rows


def _layer(kind: str, n: int, gain: float, x: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """A layer's Jacobian (n, n) at its input x (n,), and its output, rescaled: only signs of it matter."""
    weights = torch.randn(n, n, generator=draw, dtype=torch.float64) / math.sqrt(n)
    if kind == "orthogonal":
        q, r = torch.linalg.qr(weights)
        weights = q * r.diagonal().sign()  # uniform over the orthogonal matrices (Mezzadri 2007)
    if kind == "relu":
        weights = math.sqrt(2) * weights
    y = gain * weights @ x
    jacobian = gain * weights
    if kind == "relu":
        jacobian = jacobian * (y > 0)[:, None]
        y = y.clamp_min(0)
    return jacobian, y / y.norm()


def _largest_by_mean(product: Tensor) -> float:
    """The largest singular value over the root of the mean square: how unevenly directions are treated."""
    singular = torch.linalg.svdvals(product)
    return (singular[0] / singular.square().mean().sqrt()).item()


def theory(kind: str, n: int, gain: float) -> tuple[float, float]:
    """Expected log of the gradient's length and of the determinant, a layer."""
    if kind == "orthogonal":
        return math.log(gain), n * math.log(gain)
    psi = [torch.digamma(torch.tensor(i / 2, dtype=torch.float64)).item() for i in range(1, n + 1)]
    logs = [(p + math.log(2 / n)) / 2 for p in psi]
    return logs[-1] + math.log(gain), sum(logs) + n * math.log(gain)


def _magnitude(value: float) -> str:
    """The power of ten that the value does not reach: 1e-14 of 7e-15; the last digits are a processor's."""
    return f"1e{math.floor(math.log10(value)) + 1:03d}" if value > 0 else "0"


def judge(spec: Settings, done: Sequence[Done]) -> Findings:
    rows = rows_of(done)
    last = [row for row in rows if row["layer"] == spec.depth]
    table, off, within = [], 0.0, True
    for kind in KINDS:
        for gain in spec.gains:
            mine = [row for row in last if row["kind"] == kind and row["gain"] == gain]
            lengths, volumes = values_of(mine, "log_gradient"), values_of(mine, "log_determinant")
            expected = tuple(spec.depth * part for part in theory(kind, spec.units, gain))
            if kind == "orthogonal":
                pairs = ((lengths, expected[0]), (volumes, expected[1]))
                off = max(off, *(abs(found - wanted) for values, wanted in pairs for found in values))
            elif kind == "gaussian":
                within &= _near(lengths, expected[0]) and _near(volumes, expected[1])
            table.append(
                (
                    kind,
                    gain,
                    spread(lengths),
                    "-" if kind == "relu" else f"{expected[0]:.2f}",
                    spread(volumes, 1) if volumes else "minus infinity",
                    "-" if kind == "relu" else f"{expected[1]:.1f}",
                    spread(values_of(mine, "largest_by_mean"), 1),
                    spread(values_of(mine, "rank"), 1),
                )
            )
    singular = all(row["log_determinant"] is None for row in last if row["kind"] == "relu")
    kept = interval(values_of([r for r in last if r["kind"] == "relu" and r["gain"] == 1], "log_gradient"))
    even = interval(
        values_of([r for r in last if r["kind"] == "gaussian" and r["gain"] == 1], "log_determinant")
    )
    length = interval(
        values_of([r for r in last if r["kind"] == "gaussian" and r["gain"] == 1], "log_gradient")
    )
    exact = off <= EXACT * spec.depth * spec.units
    reproduced = exact and within and singular
    return Findings(
        verdict=decided(reproduced, within),
        because=f"After {spec.depth} layers the logarithms of orthogonal products are "
        f"those of g^L to {_magnitude(off)} ({'within' if exact else 'more than'} {EXACT:g} per layer and "
        f"unit), Gaussian ones {'' if within else 'not '}on the exact lines: at g = 1 log |det| is "
        f"{even[0]:.0f} and log |gradient| {length[0]:.1f}. With ReLU at He's gain the determinant is "
        f"{'zero' if singular else 'not always zero'}, log |gradient| {kept[0]:.1f} (n = {spec.seeds}).",
        tables=[
            Table(
                title=f"After {spec.depth} layers of {spec.units} units, natural logarithms",
                columns=(
                    "layers",
                    "g",
                    "log |gradient|",
                    "expected",
                    "log |det|",
                    "expected",
                    "largest singular value by the mean",
                    "rank of a layer",
                ),
                rows=table,
            )
        ],
        charts=[
            Chart(
                title="The gradient",
                x_label="layers",
                y_label="log |gradient|",
                series={
                    **{
                        f"g = {gain:g}, {kind}": _curve(spec, rows, kind, gain, "log_gradient")
                        for kind in KINDS[:2]
                        for gain in spec.gains
                    },
                    "ReLU, He's gain": _curve(spec, rows, "relu", 1.0, "log_gradient"),
                },
                dashed=frozenset(f"g = {gain:g}, gaussian" for gain in spec.gains),
            ),
            Chart(
                title="The determinant at g = 1",
                x_label="layers",
                y_label="log |det|",
                series={
                    **{kind: _curve(spec, rows, kind, 1.0, "log_determinant") for kind in KINDS[:2]},
                    "Gaussian, exact": [
                        {"x": k, "y": k * theory("gaussian", spec.units, 1.0)[1]} for k in (1, spec.depth)
                    ],
                },
                dashed=frozenset(["Gaussian, exact"]),
            ),
        ],
        compared=[
            (
                "Gaussian at g = 1: log |det|, log |gradient|",
                ", ".join(f"{spec.depth * one:.1f}" for one in reversed(theory("gaussian", spec.units, 1.0))),
                f"{even[0]:.1f}, {length[0]:.1f}",
            )
        ],
        figures={"log_determinant_gaussian": even[0], "log_gradient_relu": kept[0]},
    )


def _near(values: Sequence[float], expected: float) -> bool:
    mean, low, high = interval(values)
    half = (high - low) / 2
    return abs(mean - expected) <= ERRORS / 2 * half  # the half of a 95 % interval is about 2 standard errors


def _curve(spec: Settings, rows: Sequence[Row], kind: str, gain: float, name: str) -> list[dict[str, object]]:
    every = max(1, spec.depth // 10)
    chosen = [
        r
        for r in rows
        if r["kind"] == kind and r["gain"] == gain and (r["layer"] % every == 0 or r["layer"] == 1)
    ]
    return mean_points(chosen, "layer", name)


STUDY = Study(
    name="gradients",
    question="Does the determinant of the Jacobian tell whether gradients vanish?",
    claim="A gradient through L layers goes as g^L where all singular values are g; below one it vanishes, "
    "above it explodes. The determinant is no measure of it: it vanishes where gradients do not.",
    source="Saxe, McClelland and Ganguli 2014, Exact solutions to the nonlinear dynamics of learning; "
    "Pascanu, Mikolov and Bengio 2013, On the difficulty of training recurrent neural networks, section "
    "2.1; the lecture's question.",
    differs="Nothing: it is arithmetic on random matrices, and the lines are exact expectations.",
    rule=f"Reproduced: orthogonal products follow g^L within {EXACT:g} per layer and unit in every run, the "
    f"means of Gaussian ones lie within {ERRORS:g} standard errors of the exact lines for the gradient and "
    "for the determinant, and with ReLU every determinant is zero. Direction only: the Gaussian ones do. "
    "Else not reproduced.",
    specs={
        "smoke": Settings(units=16, depth=12, seeds=4),
        "cpu": Settings(),
    },
    trials=trials,
    run=run,
    judge=judge,
)
