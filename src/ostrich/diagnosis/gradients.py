"""Do gradients say how the scores move?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ostrich.diagnosis.model_under_test import Finding, ModelUnderTest, NotApplicable
from ostrich.diagnosis.outputs import switched_on
from ostrich.images import LEVELS
from ostrich.models.answers import alone
from ostrich.models.classifier import HALVES

AMPLITUDES = (0.25, 1.0, 4.0, 16.0, 64.0)  # levels of 255
ZEROS = 0.1  # share of images
STEP, SHARE = (
    0.25 / LEVELS,
    0.05,
)  # of the difference quotient: largest step, and change to aim at of the scores
MANY_STEPS, FEW_STEPS = 256, 4  # of rounding, in half precision: 256 are more than all that is aimed at
AGREE = (0.5, 2.0)  # the quotient by the gradient: 1 for a smooth function
NO_GRADIENT = "An attack by gradients stands still and calls the network robust. "
WITHOUT = "Attack with `square` or `boundary`, which need none, or give the part that cuts it a derivative."


def quantized(model: ModelUnderTest) -> Iterator[Finding]:
    """Scores that do not move at all when every value of the image does, up to a size.

    Steps of one level of 255 are those of a file and no fault, unless they also cut the gradient.
    """
    if model.classifier.access == "labels":
        raise NotApplicable("Labels move in steps by their nature.")
    images = model.images[model.few]
    base, signs = model.scores(images), _signs(model, images)
    still = 0.0
    for amplitude in AMPLITUDES:
        moved = model.scores((images + signs * amplitude / LEVELS).clamp(0, 1))
        if (moved == base).all(1).double().mean() <= 0.5:
            break
        still = amplitude
    if still == AMPLITUDES[-1] or still == 0:
        return
    if still < 1:
        gradient = _margin_gradient(model, images) if model.classifier.access == "gradient" else images
        if gradient is not None and bool(gradient.any()):
            return
    yield Finding(
        code="quantized-input",
        sentence="The scores move in steps: the input, or something inside, is rounded.",
        evidence=f"When every value moves by {still:g}/255 the scores of most of n = {len(images)} images "
        f"stay exactly as they are; by {AMPLITUDES[AMPLITUDES.index(still) + 1]:g}/255 they move.",
        fix="A derivative of a step is zero or made up. Attack with `square`, or give the rounding a "
        "straight-through derivative: `x + (x.round() - x).detach()`. Rounding to 8 bits belongs to the "
        "file.",
    )


def useless(model: ModelUnderTest) -> Iterator[Finding]:
    """Gradients that are cut, zero, not finite, or the same for every image; scores of one class alone."""
    images = model.images[model.few]
    single = int(alone(model.logits[model.few]).sum())
    if single > ZEROS * len(images):
        yield Finding(
            code="other-classes-off",
            sentence="All classes but the predicted one are switched off: no score says how far another is.",
            evidence=f"For {single} of n = {len(images)} images.",
            fix="Return the scores as they are before the others are switched off. Else an attack by "
            "gradients or scores sees no way to another class; `rays` and `hopskipjump` need labels alone.",
        )
        return
    gradient = _margin_gradient(model, images)
    if gradient is None:
        yield _zero("Nothing differentiable leads from the image to the scores", len(images), len(images))
        return
    flat = gradient.flatten(1)
    broken = ~torch.isfinite(flat).all(1)
    if broken.any():
        yield Finding(
            code="nan-gradient",
            sentence="Gradients are NaN or infinite where the scores are finite.",
            evidence=f"For {int(broken.sum())} of n = {len(images)} images.",
            fix="Look for a root or norm at 0 (`torch.sqrt(x + 1e-12)`), and for `where` around an undefined "
            f"branch. {NO_GRADIENT}",
        )
        return
    still = (flat == 0).all(1)
    if int(still.sum()) > ZEROS * len(images):
        moved = model.scores((images + _signs(model, images) * AMPLITUDES[-1] / LEVELS).clamp(0, 1))
        if (moved != model.scores(images)).any(1)[still].any():
            yield _zero("The gradient of the margin is exactly zero", int(still.sum()), len(images))
            return
    yield from _constant(model, images)


def _zero(what: str, count: int, total: int) -> Finding:
    return Finding(
        code="zero-gradient",
        sentence="Gradients are zero although the scores depend on the image.",
        evidence=f"{what} for {count} of n = {total} images.",
        fix=f"Look for rounding, `detach`, `no_grad`, numpy or argmax inside. {NO_GRADIENT}{WITHOUT}",
    )


def _constant(model: ModelUnderTest, images: Tensor) -> Iterator[Finding]:
    """The same gradient for every image, of a network that bends: a linear one may have it."""
    if len(images) < 2:
        return
    draw = torch.Generator().manual_seed(model.seed)
    weights = torch.randn(model.logits.shape[1], generator=draw, dtype=torch.float64).to(images)
    gradient = model.gradient(images, lambda scores: switched_on(scores) @ weights.to(scores))
    if gradient is None:
        return
    size = float(gradient.abs().amax())
    if size == 0 or float((gradient - gradient[:1]).abs().amax()) > 1e-6 * size:
        return
    inside, step = 0.5 + 0.5 * (images - 0.5), 0.2 * _signs(model, images)
    answers = [switched_on(model.attack_logits(x)) for x in (inside, inside + step, inside - step, inside)]
    here, up, down, again = (scores @ weights.to(scores) for scores in answers)
    bend, slope = (up + down - 2 * here).abs().sum(), (up - down).abs().sum()
    rounding = torch.finfo(model.classifier.dtype).eps * (answers[0].abs() @ weights.abs().to(here)).sum()
    by_itself = 4 * ((here - again).abs().sum() + rounding)  # bends as four answers do that are not exact
    if float(bend) > 1e-2 * float(slope) + float(by_itself):
        yield Finding(
            code="constant-gradient",
            sentence="Gradients are the same for every image although the network is not linear.",
            evidence=f"They agree for n = {len(images)} images to one part in a million; the scores bend by "
            f"{float(bend / slope.clamp_min(1e-30)):.2g} of their slope.",
            fix="Look for an autograd function with a backward of its own that does not look at its input. "
            f"{NO_GRADIENT}{WITHOUT}",
        )


def masked(model: ModelUnderTest) -> Iterator[Finding]:
    """The slope of the margin along the gradient's sign, by a central difference, against the gradient's.

    The step is such that the gradient tells a change of 5 % of the largest score, and a quarter of a level
    at most: trained networks then keep nearly all of what it tells. Images are drawn in by 2 %, so that a
    step leaves none of them, and off the 8-bit grid.
    """
    inside = 0.02 + 0.96 * model.images[model.few]
    draw = torch.rand(inside.shape, generator=torch.Generator().manual_seed(model.seed))
    images = inside + (draw.to(inside) - 0.5) / LEVELS
    scores = model.attack_logits(images)
    top = scores.topk(2, 1).indices
    margin = _margin(top)
    gradient = model.gradient(images, margin)
    assert gradient is not None, "a check before this one has met it"
    slope = gradient.double().abs().flatten(1).sum(1)
    size = switched_on(scores).abs().amax(1).double()
    length = (SHARE * size / (2 * slope).clamp_min(1e-30)).clamp_max(STEP)
    step = length.view(-1, 1, 1, 1).to(images) * gradient.sign()
    up, down = (margin(model.attack_logits(x)).double() for x in (images + step, images - step))
    kind = model.classifier.dtype
    rounded = torch.finfo(kind).eps * (FEW_STEPS if kind in HALVES else MANY_STEPS) * size
    told = 2 * length * slope > rounded  # more than rounding
    told &= (up - down).isfinite()  # a second class may be switched off on one side
    if not told.any():
        raise NotApplicable("The gradients are too small to be compared with differences.")
    quotient = ((up - down) / (2 * length * slope))[told]
    middle = float(quotient.median())
    if AGREE[0] <= middle <= AGREE[1]:
        return
    low, high = float(quotient.amin()), float(quotient.amax())
    yield Finding(
        code="masked-gradient",
        sentence="The scores do not move as the gradients say.",
        evidence=f"Along the gradient, by at most a quarter of a level, the margin moves by {middle:.2g} of "
        f"what the gradient tells in the median of n = {int(told.sum())} images ({low:.2g} to {high:.2g}); "
        "1 is right.",
        fix="Look for a backward of its own, randomness, rounding, or ripples finer than a level of 255. "
        f"Attacks by gradients are misled. {WITHOUT}",
    )


def _margin_gradient(model: ModelUnderTest, images: Tensor) -> Tensor | None:
    """The gradient of the largest score less the second: unlike cross-entropy's it does not saturate."""
    return model.gradient(images, _margin(model.logits[model.few].topk(2, 1).indices))


def _margin(top: Tensor) -> Callable[[Tensor], Tensor]:
    """The distance (n,) of two given scores of each image; `top` (n, 2)."""

    def value(scores: Tensor) -> Tensor:
        own = scores.gather(1, top)
        return own[:, 0] - own[:, 1]

    return value


def _signs(model: ModelUnderTest, images: Tensor) -> Tensor:
    """Random signs (n, C, H, W)."""
    draw = torch.Generator().manual_seed(model.seed)
    return (torch.randint(0, 2, images.shape, generator=draw) * 2 - 1).to(images)
