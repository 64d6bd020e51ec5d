"""Where a decision-based attack sets out: an image that reaches the goal already, however far away.

Each image looks for its own, one query a try: noise, or with `starts` an image that is known to be
taken for something else, or for the target. One that finds none gives up alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ostrich.attacks.problem import Problem

NOISE_TRIES = 10  # before an untargeted attack falls back on another image
TRIES = 30


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
