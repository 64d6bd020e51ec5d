"""What comes out: finite, the same each time, of each image by itself, and no probabilities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ostrich.diagnosis.model_under_test import FEW, Finding, ModelUnderTest, NotApplicable
from ostrich.models.answers import alone, answered, switched_off

ROUNDING = 1024  # rounding errors of the largest score within which two answers are the same
NEIGHBOURS = 1e-3  # of the largest score: kernels differ between batch sizes by a hundredth of this
DROPPING = frozenset(
    ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
)
SATURATED = 0.5  # share of images


def finite(model: ModelUnderTest) -> Iterator[Finding]:
    """NaN and infinity, for the images and for flat ones, which are images too; -inf switches a class off."""
    good = answered(model.logits)
    flat = _flat(model.images)
    bad_flat = ~answered(model.scores(flat))
    if not good.all():
        evidence = f"{int((~good).sum())} of n = {len(good)} images."
        model.keep(good)
    elif bad_flat.any():
        names = [name for name, bad in zip(FLAT, bad_flat.tolist()) if bad]
        evidence = f"None of n = {len(good)} images, but an image that is {' or '.join(names)} all over."
    else:
        return
    yield Finding(
        code="not-finite-output",
        sentence="The network answers legitimate images with NaN or infinity.",
        evidence=evidence,
        fix="Look for a division by a spread that can be 0, a logarithm or root of 0, or an overflow in half "
        "precision. No attack counts on such images, so a robustness figure is too high by them.",
    )


def training_mode(model: ModelUnderTest) -> Iterator[Finding]:
    """What computes as in training although the network is in evaluation mode."""
    with _Watch() as seen:
        model.scores(model.images[:2])
    if seen.counts:
        listed = ", ".join(f"{name} ({times} times)" for name, times in seen.counts.items())
        yield Finding(
            code="training-mode",
            sentence="In evaluation mode a part of the network still computes as in training.",
            evidence=f"In one forward: {listed}.",
            fix="Let it follow `self.training`: `F.dropout(x, p, training=self.training)`, modules instead "
            "of functions, no `train()` of its own that keeps a part in training, and batch norm with "
            "running statistics.",
        )


class _Watch(TorchFunctionMode):
    """Counts calls of dropout that drop, and of batch norm that normalises by the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").strip("_")

        def given(place: int, key: str, default: Any) -> Any:
            return args[place] if len(args) > place else kwargs.get(key, default)

        if name in DROPPING:
            if given(1, "p", 0.5) > 0 and given(2, "training", kwargs.get("train", True)):
                self.counts[name] += 1
        elif name == "batch_norm" and given(5, "training", False):
            self.counts["batch norm by the batch's own statistics"] += 1
        elif name == "scaled_dot_product_attention" and given(4, "dropout_p", 0.0) > 0:
            self.counts["dropout in attention"] += 1
        return func(*args, **kwargs)


def stochastic(model: ModelUnderTest) -> Iterator[Finding]:
    """The same images three times."""
    images = model.images[model.few]
    answers = torch.stack([switched_on(model.scores(images)) for _ in range(3)])  # (3, n, K)
    spread = (answers.amax(0) - answers.amin(0)).amax(1)  # (n,)
    scale = answers.abs().amax(2).amax(0)
    differs = spread > ROUNDING * torch.finfo(answers.dtype).eps * scale
    if differs.any():
        labels = answers.argmax(2)
        turned = int((labels != labels[0]).any(0).sum())
        yield Finding(
            code="stochastic-output",
            sentence="The network answers the same image in different ways.",
            evidence=f"In three calls the scores of {int(differs.sum())} of n = {len(images)} images moved, "
            f"by up to {float((spread / scale).max()):.2g} of their size, and {turned} predictions changed.",
            fix="Where it is not meant, look for dropout, noise or random crops in the forward pass. Where "
            "it is a defence, a single attack only meets a single draw: attack the average of many.",
        )


def batch_dependent(model: ModelUnderTest) -> Iterator[Finding]:
    """Each image among its neighbours, among copies of another, and alone."""
    images = model.images[model.few]
    if len(images) < 2:
        raise NotApplicable("One image has no neighbours.")
    together = switched_on(model.scores(images))
    alone = []
    for i in range(min(4, len(images))):
        other = images[-1 - i : len(images) - i].expand(3, -1, -1, -1) if i else torch.zeros_like(images[:3])
        try:
            alone += [model.scores(torch.cat([images[i : i + 1], other]))[:1]]
            alone += [model.scores(images[i : i + 1])]
        except Exception:  # a network that cannot take a batch of this size is no question of this check
            continue
    if not alone:
        raise NotApplicable("The network refuses batches of other sizes.")
    answers = switched_on(torch.cat(alone)).view(-1, 2, together.shape[1])  # (m, 2, K)
    change = (answers - together[: len(answers), None]).abs().amax((1, 2))
    scale = together[: len(answers)].abs().amax(1)
    if (change > NEIGHBOURS * scale).any():
        yield Finding(
            code="batch-dependent-output",
            sentence="The answer to an image depends on which others stand in the batch with it.",
            evidence=f"With other neighbours, or none, scores of {int((change > NEIGHBOURS * scale).sum())} "
            f"of n = {len(answers)} images moved by up to {float((change / scale).max()):.2g} of their size.",
            fix="Look for batch norm by the batch's own statistics (no running ones, or a `train()` that "
            "keeps it in training) and for means or sorting over the first axis. Otherwise neither accuracy "
            "nor robustness means anything without the batch.",
        )


def constant(model: ModelUnderTest) -> Iterator[Finding]:
    """Scores that do not move, all of them or those of some classes."""
    draw = torch.Generator().manual_seed(model.seed)
    noise = torch.rand(model.images[:8].shape, generator=draw).to(model.images)
    answers = torch.cat([model.logits, model.scores(noise), model.scores(_flat(model.images))])
    answers = answers[answered(answers)]
    if len(answers) < 8:
        raise NotApplicable("The network has too few finite answers.")
    alive = switched_off(answers).all(0)  # or not there on purpose
    alive[answers.argmax(1)] = True  # what was the answer can be
    answers = switched_on(answers)
    still = (
        answers.amax(0) - answers.amin(0) <= ROUNDING * torch.finfo(answers.dtype).eps * answers.abs().amax()
    )
    if still.all():
        yield Finding(
            code="constant-output",
            sentence="The network answers every image in the same way.",
            evidence=f"{len(model.images)} images, noise and flat colours: all scores agree to rounding.",
            fix="Look at the weights (were any loaded?), at the scale of the input, and for units that are "
            "dead since a first layer.",
        )
        return
    dead = still & ~alive
    made = model.classifier.access == "labels" or model.classifier.of_one_output
    if dead.any() and len(model.images) >= FEW and not made:  # a score that is made here may stand still
        names = [model.classifier.class_name(k) for k in torch.nonzero(dead)[:, 0].tolist()]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        yield Finding(
            code="dead-output",
            sentence=f"The score of {len(names)} of {len(still)} classes never moves: they cannot be "
            "recognised.",
            evidence=f"{', '.join(names[:5])}{more}: constant over n = {len(answers)} images, noise and "
            "colours.",
            fix="Look for outputs without weights (a head with more outputs than classes), or a ReLU after "
            "the last layer.",
        )


def probabilities(model: ModelUnderTest) -> Iterator[Finding]:
    """Softmax and sigmoid outputs; log-softmax has the same differences as logits and passes."""
    answers = torch.cat([model.logits, model.scores(_flat(model.images))]).double()
    answers = switched_on(answers[answered(answers)])
    answers = answers.exp() if model.classifier.form == "probabilities" else answers
    if answers.amin() < 0 or answers.amax() > 1 + 1e-3:
        return
    sums = answers.sum(1)
    advice = (
        "Losses, margins and gradients of attacks are computed from logits; from probabilities they are "
        "nearly flat, so that attacks fail and robustness looks too high."
    )
    largest = f"n = {len(model.logits)} images; the largest score is {float(answers.amax()):.4f}."
    if (sums - 1).abs().amax() < 1e-2:
        yield Finding(
            code="softmax-as-logits",
            sentence="The network returns probabilities where logits are expected.",
            evidence=f"All scores lie between 0 and 1, and each row sums to 1 within "
            f"{float((sums - 1).abs().amax()):.1g}; {largest}",
            fix=f"Leave the last softmax out, or take the logarithm of its output. {advice}",
        )
    elif answers.amin() < 0.05 and answers.amax() > 0.95:
        yield Finding(
            code="sigmoid-as-logits",
            sentence="The network returns a probability for each class by itself where logits are expected.",
            evidence=f"All scores lie between 0 and 1, rows sum to {float(sums.amin()):.2g} to "
            f"{float(sums.amax()):.2g}; {largest}",
            fix=f"Leave the last sigmoid out. {advice}",
        )


def saturated(model: ModelUnderTest) -> Iterator[Finding]:
    """Logits so far apart that cross-entropy in float32 is exactly zero."""
    logits = model.logits.float()
    if logits.shape[1] < 2 or model.classifier.form == "probabilities":  # that is another fault
        return
    lost = F.cross_entropy(logits, logits.argmax(1), reduction="none") == 0
    lost &= ~alone(logits)  # it is not far from another one: there is none
    if int(lost.sum()) > SATURATED * len(lost) and len(lost) > 1:
        top = model.logits.topk(2, 1).values
        apart = float((top[:, 0] - top[:, 1]).median())
        yield Finding(
            code="saturated-logits",
            sentence="The logits lie so far apart that cross-entropy in float32 has no value and no "
            "gradient.",
            evidence=f"It is exactly 0 for {int(lost.sum())} of n = {len(lost)} images; the two largest "
            f"scores lie {apart:.3g} apart in the median, and 17 are enough.",
            fix="Attacks here compute the loss in float64, which holds to 36. Divide the logits by a "
            "temperature (`/ 10`), or attack a margin; a figure of another tool from cross-entropy in "
            "float32 is too high.",
        )


def switched_on(scores: Tensor) -> Tensor:
    """Scores (..., K) with 0 for classes that are switched off, so that differences have a value."""
    rows = scores.reshape(-1, scores.shape[-1])
    return rows.masked_fill(switched_off(rows), 0).view_as(scores)


FLAT = ("black", "grey", "white")


def _flat(images: Tensor) -> Tensor:
    """A black, a grey and a white image (3, C, H, W)."""
    return torch.stack([torch.full_like(images[0], level) for level in (0.0, 0.5, 1.0)])
