"""What the verbs on a trained generator have in common: the generator, and its answer with its files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ostrich.errors import InputError
from ostrich.generative.generator import Generator, load_generator
from ostrich.images import encoded_png
from ostrich.models.loading import pick_device
from ostrich.runtime.runs import Run
from ostrich.verbs.outcome import Outcome, Where, begun

A = TypeVar("A", bound="Answer")


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
        data: Mapping[str, Any] | None = None,
    ) -> None:
        self.name, self.generator, self.seed, self.data = f"generate-{name}", generator, seed, data
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

    def answered(self, compute: Callable[[], A], out: Where, force: bool) -> A:
        """The answer; with `out` written there."""
        if out is None:
            return compute()
        with self.begin(out, force) as run:
            found = compute()
            found.folder = run.folder
            found.write(run.folder)
            run.finish(found.figures)
        return found


class Answer(Outcome):
    """What a generator answered, in memory; `save(folder)` writes its files."""

    def __init__(self, question: Question, figures: Mapping[str, Any]) -> None:
        self.question, self.name, self.figures = question, question.name, dict(figures)
        self.folder: Path | None = None

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write its files."""

    @property
    def shown(self) -> Tensor | None:
        """What a notebook shows of it, (C, H, W)."""
        return None

    @property
    def picture(self) -> bytes | None:
        return None if self.shown is None else encoded_png(self.shown)

    def save(self, folder: str | Path, *, force: bool = False) -> Path:
        with self.question.begin(folder, force) as run:
            self.write(run.folder)
            run.finish(self.figures)
        return Path(folder)


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
    """Codes (N, Z) as float32 on the CPU. Raises InputError for what holds no numbers."""
    try:
        return torch.as_tensor(codes).detach().cpu().float()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"Codes are a tensor (N, Z) or a .npy file; got {codes!r} ({error}).") from None
