"""An ensemble of classifiers as one classifier: attacked, explained and checked like any other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostrich.errors import InputError
from ostrich.models.classifier import Classifier


class Ensemble(nn.Module):
    """Images (N, C, H, W) in [0, 1] to scores (N, K): each member normalises for itself.

    `average` "probabilities" returns the logarithm of the mean softmax, "logits" the mean logit. Argmax and
    cross-entropy of the first are those of the mean probability.
    """

    def __init__(self, members: Sequence[Classifier], average: str) -> None:
        super().__init__()
        self.networks = nn.ModuleList(member.network for member in members)  # type: ignore[misc]
        self.members = tuple(members)  # with what they normalise by; their networks are those above
        self.average = average

    def forward(self, images: Tensor) -> Tensor:
        scores = [
            member.answers(member.normalised(images), network)
            for member, network in zip(self.members, self.networks)
        ]
        stacked = torch.stack(scores)  # (M, N, K)
        if self.average == "logits":
            return stacked.mean(0)
        return F.log_softmax(stacked, 2).logsumexp(0) - torch.tensor(len(scores)).log().to(stacked)


def ensemble(
    members: Sequence[Classifier], average: Literal["probabilities", "logits"] = "probabilities"
) -> Classifier:
    """The members as one classifier, in evaluation mode; their networks are shared, not copied.

    They take images of one size and number of channels, and have the same classes in the same order. Raises
    InputError where they do not, for fewer than two, and for one that is only a prediction function.
    """
    if len(members) < 2:
        raise InputError(f"An ensemble has at least two members; got {len(members)}.")
    if average not in ("probabilities", "logits"):
        raise InputError(f"An ensemble averages probabilities or logits; got {average!r}.")
    first = members[0]
    for one in members:
        if not isinstance(one.network, nn.Module):
            raise InputError(
                f"{one.name} is only a prediction function; a member of an ensemble is a network."
            )
        mine, theirs = ((m.size, m.channels, m.num_classes, m.class_names) for m in (first, one))
        if mine != theirs:
            raise InputError(
                f"{one.name} and {first.name} differ: size, channels, classes are "
                f"{theirs[:3]} and {mine[:3]}"
                + ("." if mine[:3] != theirs[:3] else ", and their class names are not the same.")
            )
        if one.device != first.device:
            raise InputError(f"{one.name} is on {one.device}, {first.name} on {first.device}.")
    return Classifier(
        Ensemble(members, average).eval(),
        name=" + ".join(one.name for one in members),
        size=first.size,
        resize=first.resize,
        interpolation=first.interpolation,
        channels=first.channels,
        class_names=first.class_names,
    )
