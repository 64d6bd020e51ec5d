"""A trained generator: codes to images or clips in [0, 1], with what is known of it.

A generator is named by `zoo:NAME` (bundled), by the folder of its run, or by any folder with
`generator.safetensors` and `card.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ostrich.errors import InputError, UnknownName
from ostrich.figures.clips import is_clip
from ostrich.generative.architectures import build_gan
from ostrich.generative.biggan import ConditionalGenerator
from ostrich.generative.codes import Codes
from ostrich.generative.gan import GAN
from ostrich.generative.video_gan import VideoGenerator
from ostrich.models.bundled import zoo_cards
from ostrich.models.checkpoints import load_weights
from ostrich.models.class_names import class_index
from ostrich.models.untouched import untouched
from ostrich.runtime.deadline import check_time
from ostrich.runtime.events import counted
from ostrich.runtime.files import read_card
from ostrich.runtime.resumable import Content, mapped

ZOO = Path(__file__).parent / "zoo"
WEIGHTS, CARD = "generator.safetensors", "card.json"
BATCH = 128  # images, or frames, per forward


@dataclass(frozen=True, kw_only=True)
class Generator:
    """`network(codes, classes)` gives (N, C, H, W) in [-1, 1]; called, a generator gives images in [0, 1].

    The network is asked in evaluation mode, in its own type, and is as it was again afterwards.
    `name` is what it is called, `codes` the distribution of its codes, `card` what is known of its training.
    Where `shape` is (C, T, H, W), they are clips (N, C, T, H, W) here and below. `class_names` are None
    where it is not conditional.
    """

    name: str
    network: nn.Module
    codes: Codes
    shape: tuple[int, ...]
    class_names: tuple[str, ...] | None
    card: dict[str, Any]

    @classmethod
    def of(
        cls,
        gan: GAN,
        network: nn.Module,
        *,
        name: str = "in training",
        names: Sequence[str] | None = None,
        card: dict[str, Any] | None = None,
    ) -> Generator:
        """A `network` of the form of the generator of `gan`.

        It is called `name`, and `card` is what is known of it. Its classes have numbers where they have no
        `names`.
        """
        return cls(
            name=name,
            network=network,
            codes=gan.codes,
            shape=gan.shape,
            class_names=None if gan.classes is None else tuple(names or map(str, range(gan.classes))),
            card=card or {},
        )

    @torch.no_grad()
    def __call__(self, codes: Tensor, classes: Tensor | None = None) -> Tensor:
        """Images (N, C, H, W) in [0, 1], on the CPU, of codes (N, Z) and, if conditional, classes (N,).

        Raises InputError for codes of another length and classes that are missing or too many.
        """
        self._check(codes, classes)
        return self._images(lambda rows: self.network(*self._given(codes, classes, rows)), len(codes))

    def _given(self, codes: Tensor, classes: Tensor | None, rows: slice) -> tuple[Tensor, Tensor | None]:
        """Some of the codes and their classes, where the network is, the codes in its type."""
        some = None if classes is None else classes[rows].to(self.device)
        return codes[rows].to(next(self.network.parameters())), some

    def _check(self, codes: Tensor, classes: Tensor | None) -> None:
        self.codes.check(codes)
        if self.class_names is None:
            if classes is not None:
                raise InputError(f"{self.name} is not conditional: it takes no classes.")
        elif classes is None or classes.shape != codes.shape[:1]:
            raise InputError(f"{self.name} is conditional: give one class for each of {len(codes)} codes.")
        elif classes.numel() and not 0 <= classes.min() <= classes.max() < len(self.class_names):
            raise InputError(f"The classes of {self.name} are 0 to {len(self.class_names) - 1}.")

    @torch.no_grad()
    def between_classes(self, codes: Tensor, start: int, end: int, shares: Sequence[float]) -> Tensor:
        """Images (S, N, C, H, W) of the same codes (N, Z) on the straight line between two class embeddings.

        `start` and `end` are class indices, `shares` (S,) how far each image is on the way, from 0 to 1.
        Raises InputError for a generator that is not conditional, or whose embeddings are not known.
        """
        self.codes.check(codes)
        network = self.network
        if self.class_names is None:
            raise InputError(f"{self.name} is not conditional: it has no classes to go between.")
        if not isinstance(network, ConditionalGenerator | VideoGenerator) or network.embedding is None:
            raise InputError(
                f"{self.name} has a network of its own, whose class embeddings are not known, so there is no "
                "way between them. Without both classes it goes between codes."
            )
        ends = network.embedding(torch.tensor([start, end], device=self.device))  # (2, E)
        share = ends.new_tensor(shares)[:, None]
        way = ((1 - share) * ends[0] + share * ends[1]).repeat_interleave(len(codes), 0)  # (S N, E)
        all_codes = codes.repeat(len(shares), 1).to(ends)
        images = self._images(lambda rows: network.from_embedding(all_codes[rows], way[rows]), len(way))
        return images.unflatten(0, (len(shares), len(codes)))

    @torch.no_grad()
    def streams(self, codes: Tensor, classes: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Of clips of two streams: foreground, mask (N, 1, T, H, W), background (N, C, 1, H, W), in [0, 1].

        The clips, of codes (N, Z) and, if conditional, classes (N,), are m f + (1 - m) b. Raises InputError
        for a generator that has no streams, and as a call.
        """
        self._check(codes, classes)
        network = self.network
        if not isinstance(network, VideoGenerator):
            raise InputError(f"{self.name} has no streams: it is no video GAN.")
        batches = self._batches(len(codes))
        with untouched(network):
            parts = [network.streams(*self._given(codes, classes, rows)) for rows in batches]
        foreground, mask, background = (torch.cat(each).float().cpu() for each in zip(*parts))
        return foreground.add(1).div(2), mask, background.add(1).div(2)

    def sample(
        self,
        numbers: range,
        *,
        seed: int = 0,
        truncation: float | None = None,
        classes: Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The samples of these numbers under a seed, (N, C, H, W) in [0, 1], and their classes (N,).

        A sample is the same whatever others are drawn. With `truncation`, numbers of a normal code beyond it
        are drawn again. `classes`, by index, are taken in turn, all by default.
        """
        asked = self.in_turn(numbers, classes)
        return self(self.codes.numbered(numbers, seed, truncation), asked), asked

    def in_turn(self, numbers: range, classes: Sequence[int] | None) -> Tensor | None:
        """The classes (N,) of the samples of these `numbers`: `classes`, or all, taken in turn.

        Raises InputError for classes of a generator that is not conditional.
        """
        if self.class_names is None:
            if classes is not None:
                raise InputError(f"{self.name} is not conditional: it takes no class.")
            return None
        choice = list(classes) if classes is not None else list(range(len(self.class_names)))
        return torch.tensor([choice[number % len(choice)] for number in numbers])

    def class_index(self, name: str) -> int:
        """The class of that name or number. Raises InputError, UnknownName."""
        if self.class_names is None:
            raise InputError(f"{self.name} is not conditional: it has no class {name!r}.")
        return class_index(name, self.class_names, len(self.class_names))

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return next(self.network.parameters()).device

    @property
    def _batch(self) -> int:
        return max(1, BATCH // self.shape[1]) if is_clip(self.shape) else BATCH

    def _batches(self, count: int) -> list[slice]:
        return [slice(i, i + self._batch) for i in range(0, count, self._batch)]

    def _images(self, batch: Callable[[slice], Tensor], count: int) -> Tensor:
        @torch.no_grad()
        def made(rows: slice) -> Content:
            check_time()
            with untouched(self.network):
                return {"images": batch(rows).float().cpu()}

        asked = self._batches(count)
        with counted("samples", len(asked), "batches") as advance:
            parts = [content["images"] for content in mapped(made, asked, advance)]
        return torch.cat(parts).add_(1).div_(2).clamp_(0, 1) if parts else torch.empty(0, *self.shape)


def known_generators() -> list[dict[str, Any]]:
    """The rows of `ostrich list models` for the bundled generators; the input is the code's length."""
    rows = []
    for name, card in zoo_cards(ZOO).items():
        gan = build_gan(card["architecture"])
        count = sum(p.numel() for p in gan.generator.parameters())
        rows.append(
            {
                "name": f"zoo:{name}",
                "kind": "generator",
                "parameters": count,
                "input": [gan.codes.length],
                "source": f"trained on {card['data']}, {card['steps']} steps",
            }
        )
    return rows


def load_generator(name: str, device: torch.device | None = None) -> Generator:
    """The generator of that name, in evaluation mode, on `device`; None: the CPU.

    Raises InputError, UnknownName.
    """
    bare = name.removeprefix("zoo:")
    folder = Path(name)
    if bare in (bundled := zoo_cards(ZOO)):
        card, weights = bundled[bare], ZOO / f"{bare}.safetensors"
    elif folder.is_dir():
        card, weights = _read_card(folder), folder / WEIGHTS
    else:
        raise UnknownName(
            "generator", name, [f"zoo:{known}" for known in bundled], "The folder of a run of `ostrich "
            "generate train` does too.",
        )  # fmt: skip
    gan = build_gan(card["architecture"])
    load_weights(gan.generator, weights)
    network = gan.generator.eval().requires_grad_(False).to(device or torch.device("cpu"))
    return Generator.of(gan, network, name=name, names=card["class_names"], card=card)


def _read_card(folder: Path) -> dict[str, Any]:
    card = read_card(folder / CARD, folder / WEIGHTS, ("architecture",))
    if card is None:
        files = f"{WEIGHTS} and its {CARD}"
        raise InputError(f"{str(folder)!r} holds no finished generator of `ostrich generate train`: {files}.")
    return card
