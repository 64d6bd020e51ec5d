"""Adversarial training: each step is taken on the images that PGD makes of the batch.

Madry, Makelov, Schmidt, Tsipras, Vladu 2018, section 2.1, equation (2.1): minimise the expected
maximum of the loss over |change|_inf <= eps; the inner maximum by PGD from a random start. The inner
network is in evaluation mode, so that the batch statistics are learned from the outer step alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.models.fastpath import autocast


def worst_case(
    network: nn.Module,
    normalise: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    start: Tensor,
    *,
    eps: float,
    steps: int,
    precision: str = "fast",
) -> Tensor:
    """Images (N, C, H, W) in [0, 1], each within `eps` of its original, after `steps` of ascent.

    `start` (N, C, H, W) in [0, 1) says where within the budget it begins, from one end to the other. The step
    size is 2.5 eps / steps. The network is left in evaluation mode.
    """
    network.eval()
    found = (images + eps * (2 * start.to(images) - 1)).clamp_(0, 1)
    for _ in range(steps):
        found.requires_grad_(True)
        with autocast(precision, images.device):
            logits = network(normalise(found))
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits.float(), labels), found)
        found = found.detach() + 2.5 * eps / steps * gradient.sign()
        found = torch.clamp(found, images - eps, images + eps).clamp_(0, 1)
    return found
