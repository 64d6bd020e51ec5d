"""What the verbs on a trained generator have in common: the generator, and its answer with its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostrich.errors import InputError
from ostrich.generative.generator import Generator, load_generator
from ostrich.images import picture
from ostrich.models.loading import pick_device
from ostrich.runtime.runs import Run
from ostrich.verbs.outcome import InMemory, Where, as_png, begun


def as_generator(generator: str | Path | Generator, device: str = "auto") -> Generator:
    """A generator as it is; else the one of that name or folder. Raises InputError, UnknownName."""
    if isinstance(generator, Generator):
        return generator
    if not isinstance(generator, str | Path):
        raise InputError(
            "A generator is zoo:NAME, the folder of an `ostrich generate train`, or a Generator; got "
            f"{type(generator).__name__}."
        )
    return load_generator(str(generator), pick_device(device))


class Question:
    """What a generator is asked: all that decides the answer, and the data it is compared with."""

    def __init__(
        self,
        name: str,
        generator: Generator,
        asked: Mapping[str, Any],
        seed: int,
        compute: Callable[[Question], Answer],
        data: Mapping[str, Any] | None = None,
    ) -> None:
        self.name, self.generator, self.seed = f"generate-{name}", generator, seed
        self.compute, self.data = compute, data
        self.asked = {"generator": generator.name, "card": generator.card, "seed": seed, **asked}

    def begin(self, out: Where, force: bool) -> AbstractContextManager[Run]:
        """Its run directory."""
        return begun(
            self.name,
            self.asked,
            model=self.generator.name,
            device=self.generator.device,
            data=self.data,
            seed=self.seed,
            out=out,
            force=force,
        )

    def answered(self, run: Run | None) -> Answer:
        """The answer; with a run, its files are written there."""
        found = self.compute(self)
        if run is not None:
            found.write(run)
        return found


class Answer(InMemory):
    """What a generator answered, in memory; `save(folder)` writes its files."""

    def __init__(self, question: Question, figures: Mapping[str, Any]) -> None:
        super().__init__(question.name, question, figures)

    @property
    def shown(self) -> Tensor | None:
        """What a notebook shows of it, (C, H, W)."""
        return None

    @property
    def picture(self) -> bytes | None:
        return None if self.shown is None else as_png(picture(self.shown))


def facts_of(name: str, count: int, sha256: str) -> dict[str, Any]:
    """The `data` field of run.json."""
    return {"name": name, "n": count, "sha256": sha256}


def chosen_classes(generator: Generator, classes: Any) -> list[int] | None:
    """Classes by name or number. Raises InputError, UnknownName."""
    if classes is None:
        return None
    if isinstance(classes, Tensor):
        classes = classes.tolist()
    every = [classes] if isinstance(classes, str | int) else list(classes)
    if not every:
        raise InputError("Classes are at least one name or number; None takes all of them in turn.")
    return [generator.class_index(str(one)) for one in every]


def as_codes(codes: Any) -> Tensor:
    """Codes (N, Z) as float32 on the CPU. Raises InputError for what holds no real numbers."""
    try:
        found = torch.as_tensor(codes).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"Codes are a tensor (N, Z) or a .npy file; got {type(codes).__name__}.") from None
    if found.is_complex() or not found.numel():
        raise InputError(f"Codes are at least one, of real numbers; got {found.dtype}, {tuple(found.shape)}.")
    return found.float()
