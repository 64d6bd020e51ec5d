"""What an attack did to each image."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from torch import Tensor


@dataclass(eq=False, repr=False)
class Result:
    """What an attack did to N images.

    `originals` (N, C, H, W) are what was given. `images` (N, C, H, W) are on the 8-bit grid: the adversarial
    image, the best attempt where there is none, the original where nothing was to be done. `float_images` are
    as the attack left them. `success` (N,) says where the goal was reached, on 8 bits and inside the budget;
    `clean_predictions` int64 (N,) are those of the originals. `attacked` (N,) is false for images that had
    reached the goal, or were wrong, from the start. `distance` and `distance_float` (N,) are in the threat
    model's norm, `predictions` of `images`, `confidence` the softmax probability of that prediction.
    `found_by` int64 (N,) is the place among an ensemble's members of the one that succeeded (0 for a single
    attack), -1 where none did.

    What speaks against a robust image: `zero_gradient` (N,), most gradients that the attack asked for were
    zero or not finite; `flat_scores` (N,), no query of an attack on scores changed what it follows;
    `unattacked` (N,), it was to be attacked and the attack found no way to begin. Of an ensemble they are
    what any member met; `worked` (N,) are images on which some member had a gradient, or scores that moved.
    `fooled_draws` (N,) is the part of the network's answers to `images` that reach the goal: 1 or 0, unless
    its answers are random. `forwards` and `backwards` (N,) are what an image cost, `checks` the forwards of
    single images that belong to none.
    """

    originals: Tensor
    images: Tensor
    float_images: Tensor
    success: Tensor
    attacked: Tensor
    clean_predictions: Tensor
    predictions: Tensor
    confidence: Tensor
    distance: Tensor
    distance_float: Tensor
    forwards: Tensor
    backwards: Tensor
    found_by: Tensor
    zero_gradient: Tensor
    flat_scores: Tensor
    worked: Tensor
    unattacked: Tensor
    fooled_draws: Tensor
    checks: int = 0  # forwards of single images that belong to no image: proofs of the fast path

    def without_images(self) -> Result:
        """The same without its three batches of images, which are empty (N, 0) then."""
        nothing = self.images.new_empty(len(self.success), 0)
        return replace(self, originals=nothing, images=nothing, float_images=nothing)

    def __repr__(self) -> str:
        attacked, broken = int(self.attacked.sum()), int(self.success.sum())
        return f"<Result of {len(self.attacked)} images: {attacked} attacked, {broken} broken>"


class Joining:
    """The results of the batches of `count` images, in order, as one.

    What comes is copied at once into tensors of the whole length: the small ones of each batch would lie
    between large ones that are freed, and the next batch would find no place there.
    """

    def __init__(self, count: int) -> None:
        self._count, self._filled, self._checks = count, 0, 0
        self._tensors: dict[str, Tensor] = {}

    def add(self, part: Result) -> None:
        """The next batch."""
        stop = self._filled + len(part.success)
        for field in fields(Result):
            if field.name == "checks":
                continue
            value: Tensor = vars(part)[field.name]
            if field.name not in self._tensors:
                self._tensors[field.name] = value.new_empty(self._count, *value.shape[1:])
            self._tensors[field.name][self._filled : stop] = value
        self._filled, self._checks = stop, self._checks + part.checks

    def whole(self) -> Result:
        """All of them, once they have come."""
        assert self._filled == self._count
        return Result(**self._tensors, checks=self._checks)
