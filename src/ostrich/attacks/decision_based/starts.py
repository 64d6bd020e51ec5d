"""Where a decision-based attack sets out: an image that reaches the goal already, however far away.

Each image looks for its own, one query a try: noise, or with `starts` an image that is known to be
taken for something else, or for the target. One that finds none gives up alone. From there the way to
the original may cross the boundary several times; the attack sets out from the crossing nearest to it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.per_image import lift

NOISE_TRIES = 10  # before an untargeted attack falls back on another image
TRIES = 30
PARTS = 20  # of the way from the original to the start, asked about in turn for the first crossing


def start(problem: Problem, attempt: Tensor) -> Tensor:
    """The image (n, C, H, W) that is tried as number `attempt` (n,)."""
    noise = problem.draw("uniform", -1 - attempt)
    if problem.starts is None:
        return noise
    images, logits = problem.starts
    # Of the images that reach the goal, in an order of the image's own.
    order = problem.draw("uniform", -1 - TRIES, (len(images),)).double()
    for i in range(len(problem.rows)):
        goal = problem.goal.rows(torch.full((len(images),), i, device=problem.rows.device))
        order[i] = torch.where(goal.reached(logits), order[i], torch.inf)
    ranked, index = order.sort(1)
    patience = NOISE_TRIES if problem.goal.kind == "untargeted" else 0
    turn = (attempt - patience).clamp(0, len(images) - 1)[:, None]
    known = ranked.gather(1, turn)[:, 0] < torch.inf
    other = images[index.gather(1, turn)[:, 0]]
    chosen = known & (attempt >= patience)
    return torch.where(chosen.view(-1, 1, 1, 1), other, noise)


def ask(problem: Problem, images: Tensor, mask: Tensor) -> Tensor:
    """Whether images (n, C, H, W) reach their goals, asked about where `mask` (n,), false elsewhere."""
    reached = torch.zeros_like(mask)
    if mask.any():
        reached[mask] = problem.ask(images[mask], mask.nonzero()[:, 0])
    return reached


def crossing(problem: Problem, images: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The first of PARTS points on the way from the originals to `images` that reaches the goal.

    `images` reach theirs where `mask` (n,); elsewhere they are returned as they are. The second value
    (n,) float64 is the part of the way to that point up to which the goal is known not to be reached.
    """
    x = problem.originals
    low, high = torch.zeros_like(mask, dtype=torch.float64), torch.ones_like(mask, dtype=torch.float64)
    waiting = mask
    for part in range(1, PARTS):
        waiting = waiting & (problem.left > 0)
        if not waiting.any():
            break
        reached = ask(problem, x + part / PARTS * (images - x), waiting)
        high = torch.where(reached, part / PARTS, high)
        waiting = waiting & ~reached
        low = torch.where(waiting, part / PARTS, low)
    return torch.where(mask.view(-1, 1, 1, 1), x + lift(high, x) * (images - x), images), low / high
