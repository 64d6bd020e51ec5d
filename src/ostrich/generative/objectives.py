"""The objectives of a generator G and a discriminator D, a few lines each.

d = D(x) is a logit, so the discriminator's probability is sigmoid(d), and
log sigmoid(d) = -softplus(-d), log(1 - sigmoid(d)) = -softplus(d). Every function returns a scalar
to be minimised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ostrich.errors import UnknownName


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What each network minimises, of logits (N,) of real and of generated images."""

    name: str
    source: str
    discriminator: Callable[[Tensor, Tensor], Tensor]  # (real, generated) -> ()
    generator: Callable[[Tensor], Tensor]  # generated -> ()
    penalised: bool = False  # the discriminator's loss takes the gradient penalty besides


def minimax_discriminator(real: Tensor, generated: Tensor) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z)))."""
    return F.softplus(-real).mean() + F.softplus(generated).mean()


def minimax_generator(generated: Tensor) -> Tensor:
    """E log(1 - D(G(z))): the minimax loss; its gradient vanishes where D is sure."""
    return -F.softplus(generated).mean()


def non_saturating_generator(generated: Tensor) -> Tensor:
    """-E log D(G(z))."""
    return F.softplus(-generated).mean()


def least_squares_discriminator(real: Tensor, generated: Tensor) -> Tensor:
    """E (D(x) - 1)^2 / 2 + E D(G(z))^2 / 2."""
    return ((real - 1).square().mean() + generated.square().mean()) / 2


def least_squares_generator(generated: Tensor) -> Tensor:
    """E (D(G(z)) - 1)^2 / 2."""
    return (generated - 1).square().mean() / 2


def hinge_discriminator(real: Tensor, generated: Tensor) -> Tensor:
    """E max(0, 1 - D(x)) + E max(0, 1 + D(G(z)))."""
    return F.relu(1 - real).mean() + F.relu(1 + generated).mean()


def wasserstein_discriminator(real: Tensor, generated: Tensor) -> Tensor:
    """E D(G(z)) - E D(x), to which training adds the gradient penalty."""
    return generated.mean() - real.mean()


def linear_generator(generated: Tensor) -> Tensor:
    """-E D(G(z)): the generator's side of the hinge and of the Wasserstein distance."""
    return -generated.mean()


def gradient_penalty(
    discriminator: Callable[[Tensor], Tensor], real: Tensor, generated: Tensor, share: Tensor
) -> Tensor:
    """E (|grad D(x')| - 1)^2 at x' = e x + (1 - e) G(z), e uniform for each image (Gulrajani 2017, eq. 3).

    `share` (N,) in [0, 1) are the e.
    """
    share = share.view(-1, *[1] * (real.ndim - 1)).to(real)
    between = (share * real + (1 - share) * generated).detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


OBJECTIVES = {
    one.name: one
    for one in (
        Objective(
            name="minimax",
            source="Goodfellow et al. 2014, Generative adversarial nets, eq. 1",
            discriminator=minimax_discriminator,
            generator=minimax_generator,
        ),
        Objective(
            name="non-saturating",
            source="Goodfellow et al. 2014, Generative adversarial nets, section 3",
            discriminator=minimax_discriminator,
            generator=non_saturating_generator,
        ),
        Objective(
            name="least-squares",
            source="Mao et al. 2017, Least squares generative adversarial networks, eq. 9",
            discriminator=least_squares_discriminator,
            generator=least_squares_generator,
        ),
        Objective(
            name="hinge",
            source="Lim & Ye 2017, Geometric GAN; Miyato et al. 2018, Spectral normalization, eq. 16 and 17",
            discriminator=hinge_discriminator,
            generator=linear_generator,
        ),
        Objective(
            name="wgan-gp",
            source="Gulrajani et al. 2017, Improved training of Wasserstein GANs, eq. 3",
            discriminator=wasserstein_discriminator,
            generator=linear_generator,
            penalised=True,
        ),
    )
}


def objective(name: str) -> Objective:
    """The objective of that name. Raises UnknownName."""
    if name not in OBJECTIVES:
        raise UnknownName("objective", name, OBJECTIVES)
    return OBJECTIVES[name]
