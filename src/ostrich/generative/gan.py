"""A GAN: a generator and a discriminator that belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from ostrich.generative.codes import Codes

if TYPE_CHECKING:
    from ostrich.generative.teacher import Teacher


class GAN(nn.Module):
    """`generator(codes, classes)` gives images (N, C, H, W) in [-1, 1], `discriminator(images, classes)`
    logits (N,). A GAN of clips has (N, C, T, H, W) in their place, here and in its training.

    `codes` is what the generator takes, `shape` the images' (C, H, W) or the clips' (C, T, H, W),
    `classes` how many classes it is conditioned on, None where it is not. With a `teacher` codes are not
    drawn: they are those of the real images, which the generator is to make again, and the discriminator
    takes them as `classes`.
    """

    def __init__(
        self,
        *,
        generator: nn.Module,
        discriminator: nn.Module,
        codes: Codes,
        shape: tuple[int, ...],
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.codes = codes
        self.shape = shape
        self.classes = classes
        self.teacher: Teacher | None = None
