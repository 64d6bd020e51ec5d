"""Can a robustness figure from gradients be believed? What a sound attack must not lose against.

After Carlini et al. 2019, "On evaluating adversarial robustness", section 5, and Athalye, Carlini and
Wagner 2018, "Obfuscated gradients give a false sense of security", section 3.1. On 16 images, to leave
what they are predicted to be, PGD without a random start where noise is the rival. Differences count where
the exact paired p < 0.01; the unbounded attack has two tries, and then every image must be broken.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from ostrich.attacks import PGD, Linf, Square
from ostrich.diagnosis.model_under_test import Finding, ModelUnderTest, NotApplicable
from ostrich.diagnosis.significance import LIKELY, p_value_text, paired_test
from ostrich.images import LEVELS
from ostrich.runtime.randomness import keyed

USUAL, LARGE = 8 / 255, 32 / 255
FEW_STEPS, MANY_STEPS = 10, 40
DRAWS = 5  # of noise
QUERIES = 300  # of the attack without gradients
NOT_BELIEVED = "Do not believe a robustness figure by gradients here: "


def noise(model: ModelUnderTest) -> Iterator[Finding]:
    """Five draws of noise, each value up or down by the whole budget, against PGD from the image itself."""
    images, own = model.images[model.few], model.predictions[model.few]
    for eps in (USUAL, LARGE):
        threat = Linf(eps)
        by_noise = torch.zeros_like(own, dtype=torch.bool)
        for draw in range(DRAWS):
            signs = torch.randn(images.shape, generator=keyed(model.seed, 5, draw)).sign().to(images)
            by_noise |= model.scores(threat.quantize(images + eps * signs, images)).argmax(1) != own
        if not by_noise.any():
            continue
        by_gradient = model.attacked(PGD(threat=threat, steps=FEW_STEPS, random_start=False)).success
        finding = _weaker(
            "noise-beats-gradient",
            "Random noise breaks images that the gradient does not.",
            (f"{DRAWS} draws of noise of {_text(eps)}", by_noise),
            (f"PGD of {FEW_STEPS} steps at the same budget", by_gradient),
        )
        if finding:
            yield finding
            return


def steps(model: ModelUnderTest) -> Iterator[Finding]:
    """One step, ten and forty at the same budget."""
    tried = [(count, _broken(model, USUAL, count)) for count in (1, FEW_STEPS, MANY_STEPS)]
    for (few, by_few), (many, by_many) in pairwise(tried):
        finding = _weaker(
            "more-steps-weaker",
            "An attack with more steps breaks fewer images.",
            (f"PGD of {few} {'step' if few == 1 else 'steps'} at {_text(USUAL)}", by_few),
            (f"of {many} steps", by_many),
        )
        if finding:
            yield finding
            return


def budgets(model: ModelUnderTest) -> Iterator[Finding]:
    """The same attack at 2, 8, 32 and 255 of 255."""
    tried = [(eps, _broken(model, eps, FEW_STEPS)) for eps in (2 / 255, USUAL, LARGE, 1.0)]
    for (small, by_small), (large, by_large) in pairwise(tried):
        finding = _weaker(
            "larger-budget-weaker",
            "An attack with a larger budget breaks fewer images.",
            (f"PGD of {FEW_STEPS} steps at {_text(small)}", by_small),
            (f"at {_text(large)}", by_large),
        )
        if finding:
            yield finding
            return


def unbounded(model: ModelUnderTest) -> Iterator[Finding]:
    """A budget of the whole range: every image can be made any other."""
    broken = _broken(model, 1.0, MANY_STEPS)
    if not broken.all():
        again = PGD(threat=Linf(1.0), steps=MANY_STEPS, random_start=False, step_size=16 / 255)
        broken = broken | model.attacked(again).success
    if not broken.all():
        yield Finding(
            code="unbounded-attack-fails",
            sentence="An attack that may change every value at will does not break every image.",
            evidence=f"PGD of {MANY_STEPS} steps at 255/255, twice, breaks {int(broken.sum())} of n = "
            f"{len(broken)}.",
            fix=f"{NOT_BELIEVED}its gradients do not lead out of the class. Look for a step without "
            "derivative, saturation, or a gradient of the network's own making.",
        )


def black_box(model: ModelUnderTest) -> Iterator[Finding]:
    """Square, which sees the scores only, where PGD has failed."""
    by_gradient = _broken(model, USUAL, MANY_STEPS)
    if by_gradient.all():
        return
    by_scores = model.attacked(Square(threat=Linf(USUAL), queries=QUERIES)).success
    finding = _weaker(
        "black-box-beats-white-box",
        "An attack that sees only the scores breaks images that one with gradients does not.",
        (f"Square of {QUERIES} queries at {_text(USUAL)}", by_scores),
        (f"PGD of {MANY_STEPS} steps", by_gradient),
    )
    if finding:
        yield finding


def transfer(model: ModelUnderTest) -> Iterator[Finding]:
    """Images made for the surrogate, where there is one."""
    if model.surrogate is None:
        raise NotApplicable("There is no other network: give one with --surrogate MODEL.")
    if model.surrogate.access != "gradient":
        raise NotApplicable(f"The other network {model.surrogate.lacks}.")
    by_gradient = _broken(model, USUAL, MANY_STEPS)
    method = PGD(threat=Linf(USUAL), steps=MANY_STEPS, stop="budget")
    finding = _weaker(
        "transfer-beats-white-box",
        "Images made for another network break this one where its own gradient does not.",
        (
            f"PGD of {MANY_STEPS} steps at {_text(USUAL)} on {model.surrogate.name}",
            model.transferred(method),
        ),
        ("on the network itself", by_gradient),
    )
    if finding:
        yield finding


def _broken(model: ModelUnderTest, eps: float, count: int) -> Tensor:
    """Which of the few images (n,) PGD breaks."""
    return model.attacked(PGD(threat=Linf(eps), steps=count)).success


def _weaker(code: str, sentence: str, weak: tuple[str, Tensor], strong: tuple[str, Tensor]) -> Finding | None:
    """A finding where what should be the weaker attack breaks clearly more of the same images."""
    _, _, p = paired_test(weak[1], strong[1])
    if p >= LIKELY:
        return None
    return Finding(
        code=code,
        sentence=sentence,
        evidence=f"{weak[0]}: {int(weak[1].sum())} of n = {len(weak[1])}; {strong[0]}: "
        f"{int(strong[1].sum())} ({p_value_text(p)}).",
        fix=f"{NOT_BELIEVED}the true robust accuracy is at most what the best attack leaves. Attack with "
        "`square`, with more restarts and other losses, and through a differentiable stand-in of the part "
        "that hides the gradient.",
    )


def _text(eps: float) -> str:
    return f"{eps * LEVELS:g}/255"
