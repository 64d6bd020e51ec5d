"""Linear bounds, backward through the network: CROWN, with slopes that are optimised.

Zhang et al. 2018, "Efficient neural network robustness certification with general activation functions"
(CROWN): below a rectifier whose sign is not known lies a line through zero of any slope from 0 to 1, above it
the chord. A linear function of a layer's outputs so becomes one of the image, and its least within the budget
a lower bound. Xu et al. 2021, "Fast and complete: enabling complete verification with rapid and massively
parallel incomplete verifiers" (alpha-CROWN): whatever the slopes, the bound holds, so they are moved uphill.

Bounds before the rectifiers come from intervals, and where these do not know a sign, from the same walk.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ostrich.certification.balls import Ball
from ostrich.certification.intervals import Interval, differences, intervals
from ostrich.certification.intervals import margins as wide_margins
from ostrich.certification.nodes import Graph

ROWS = 512  # bounded together
RATE, DECAY = 0.1, 0.98  # of Adam on the slopes, as in Xu et al.'s implementation
Slopes = dict[int, Tensor]  # by rectifier, (k, *shape) or (1, *shape)


def margins(graph: Graph, ball: Ball, label: int, *, steps: int = 20, inner_steps: int = 0) -> Tensor:
    """Lower bounds (K - 1,) of the label's logit less each other one.

    `steps` are taken on the slopes of the last walk, `inner_steps` on those of the walks before: 0 is CROWN.
    Where intervals are closer, as for a budget under which most rectifiers are unsure, theirs are taken.
    """
    before = bounds_before(graph, ball, steps=inner_steps)
    rows = differences(graph, label, ball.image)
    found = optimised(graph, len(graph.nodes) - 1, rows, ball, before, steps=steps)
    return torch.maximum(found, wide_margins(graph, ball, label))


def bounds_before(graph: Graph, ball: Ball, *, steps: int = 0) -> dict[int, Interval]:
    """What each rectifier is given, at least and at most, (1, *shape), by its place."""
    wide = intervals(graph, ball)
    found: dict[int, Interval] = {}
    for place in graph.relus:
        parent = graph.nodes[place].parents[0]
        low, high = (one.clone() for one in wide[parent])
        unsure = ((low < 0) & (high > 0)).flatten().nonzero()[:, 0]
        for part in unsure.split(ROWS):
            rows = low.new_zeros(len(part), low.numel())
            rows[torch.arange(len(part)), part] = 1.0
            rows = rows.view(-1, *low.shape[1:])
            lower = optimised(graph, parent, rows, ball, found, steps=steps)
            upper = -optimised(graph, parent, -rows, ball, found, steps=steps)
            low.flatten()[part] = torch.maximum(low.flatten()[part], lower)
            high.flatten()[part] = torch.minimum(high.flatten()[part], upper)
        found[place] = (low, torch.maximum(low, high))
    return found


def optimised(
    graph: Graph, place: int, rows: Tensor, ball: Ball, before: dict[int, Interval], *, steps: int
) -> Tensor:
    """Lower bounds (k,) of rows (k, *shape) times the output of a node: the best of all slopes tried."""
    slopes = {relu: _usual(*bounds) for relu, bounds in before.items() if relu <= place}
    with torch.no_grad():
        best = walked(graph, place, rows, ball, before, slopes)
    if not steps or not slopes:
        return best
    slopes = {r: s.expand(len(rows), *s.shape[1:]).clone().requires_grad_(True) for r, s in slopes.items()}
    adam = torch.optim.Adam(slopes.values(), lr=RATE)
    decay = torch.optim.lr_scheduler.ExponentialLR(adam, DECAY)
    for _ in range(steps):
        with torch.enable_grad():
            found = walked(graph, place, rows, ball, before, slopes)
            adam.zero_grad()
            (-found.sum()).backward()
        adam.step()
        decay.step()
        with torch.no_grad():
            for slope in slopes.values():
                slope.clamp_(0, 1)
            best = torch.maximum(best, found.detach())
    with torch.no_grad():
        return torch.maximum(best, walked(graph, place, rows, ball, before, slopes))


def walked(
    graph: Graph, place: int, rows: Tensor, ball: Ball, before: dict[int, Interval], slopes: Slopes
) -> Tensor:
    """Lower bounds (k,) of rows (k, *shape) times the output of a node, by these slopes."""
    pending = {place: rows}
    constant = rows.new_zeros(len(rows))
    for here in range(place, 0, -1):
        given = pending.pop(here, None)
        if given is None:
            continue
        node = graph.nodes[here]
        if node.kind == "sum":
            passed = [(parent, given) for parent in node.parents]
        elif node.kind == "relu":
            through, added = _through(given, *before[here], slopes[here])
            constant = constant + added
            passed = [(node.parents[0], through)]
        else:
            constant = constant + (given * node.constant(given)).flatten(1).sum(1)
            passed = [(node.parents[0], node.transpose(given))]
        for parent, value in passed:
            pending[parent] = pending[parent] + value if parent in pending else value
    return constant + ball.least(pending[0]) if 0 in pending else constant


def _usual(low: Tensor, high: Tensor) -> Tensor:
    """The slope of the closer line below: 1 where more of the interval is above zero (CROWN)."""
    return (high > -low).to(low.dtype)


def _through(given: Tensor, low: Tensor, high: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (k, *shape) before a rectifier, and what is added (k,): lines below it, chords above it."""
    on, off = low >= 0, high <= 0
    chord = torch.where(on, 1.0, torch.where(off, 0.0, high / (high - low).clamp_min(1e-30)))
    below = torch.where(on, 1.0, torch.where(off, 0.0, slope))
    offset = torch.where(on | off, 0.0, -chord * low)
    up, down = given.clamp(min=0), given.clamp(max=0)
    return up * below + down * chord, (down * offset).flatten(1).sum(1)
