"""What every verb returns: its figures, and the run directory that its command writes."""

from __future__ import annotations

import base64
import io
import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image

from ostrich.data.dataset import Samples
from ostrich.errors import InputError
from ostrich.models.classifier import Classifier
from ostrich.runtime import distributed, events, lock
from ostrich.runtime.runs import NEW, Run, read_run

Where = str | Path | None


class Outcome(ABC):
    """Figures of a verb, as run.json holds them under `results`.

    `name` is the verb and its technique, "attack-pgd". In a notebook it shows its figures and its picture.
    """

    name: str
    figures: dict[str, Any]

    folder: Any  # Path of its run directory; None where it has none yet
    run: Run | None = None  # that wrote it; since then the folder may have become another's

    @abstractmethod
    def save(self, folder: str | Path, *, force: bool = False) -> Path:
        """Write the run directory that the command would have written; its path.

        Raises RunExists where there is a finished run, unless `force`, and InputError for a folder of
        something else, or where its files are gone.
        """

    def _written_by(self, run: Run) -> None:
        """Its files are those of this run."""
        self.folder, self.run = run.folder, run

    def _is_there(self) -> bool:
        """Whether it has a run directory that still is its own."""
        return self.run is not None and self.run.is_there()

    def __repr__(self) -> str:
        shown = [f"{name}={_short(self.figures[name])}" for name in self.headline if name in self.figures]
        return f"<{self.name}: {', '.join(shown) or 'done'}>"

    @property
    def headline(self) -> tuple[str, ...]:
        """The figures that stand in its `repr`."""
        return tuple(name for name, value in self.figures.items() if isinstance(value, int | float | str))[:5]

    @property
    def picture(self) -> Path | bytes | None:
        """What a notebook shows of it: a PNG."""
        return None

    def _repr_html_(self) -> str:
        import html

        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name.replace('_', ' '))}</th>"
            f"<td style='text-align:left'>{html.escape(_short(value))}</td></tr>"
            for name, value in self.figures.items()
            if not isinstance(value, list | Mapping)
        )
        shown = self.picture
        if isinstance(shown, Path):
            shown = shown.read_bytes() if shown.exists() and self._is_there() else None
        image = (
            ""
            if shown is None
            else f"<img src='data:image/png;base64,{base64.b64encode(shown).decode()}' "
            f"alt='{html.escape(self.name)}' style='max-width:100%'>"
        )
        return f"<div><b>{html.escape(self.name)}</b><table>{rows}</table>{image}</div>"


class Question(Protocol):
    """All that decides the result of a verb."""

    def begin(self, out: Where, force: bool) -> AbstractContextManager[Run]:
        """Its run directory."""

    def answered(self, run: Run | None) -> Any:
        """Its outcome; with a run, its files are written there as they come."""


def answer(question: Question, out: Where, force: bool) -> Any:
    """The outcome of a question: in memory, or with `out` written to a run directory from the beginning."""
    if out is None:
        return question.answered(None)
    with question.begin(out, force) as run:
        found = question.answered(run)
        found._written_by(run)
        run.finish(found.figures)
    return found


class InMemory(Outcome):
    """An outcome whose files are written when it is saved, or were as it was computed (`folder`)."""

    folder: Path | None = None

    def __init__(self, name: str, question: Question, figures: Mapping[str, Any]) -> None:
        self.name, self.question, self.figures = name, question, dict(figures)

    @abstractmethod
    def write(self, run: Run) -> None:
        """Write its files."""

    def save(self, folder: str | Path, *, force: bool = False) -> Path:
        target = Path(folder)
        written = self.folder is not None and target.resolve() == self.folder.resolve()
        if written and distributed.broadcast_str("there" if self._is_there() else ""):
            return target
        with self.question.begin(target, force) as run:
            self.write(run)
            run.finish(self.figures)
        if not self._is_there():
            self._written_by(run)
        return target


class Kept(Outcome):
    """An outcome whose files lie in a folder: that of its run, or one that goes when nobody holds it."""

    folder: Path

    def __init__(
        self,
        name: str,
        run: Run,
        figures: Mapping[str, Any],
        picture: str | None = None,
        headline: tuple[str, ...] = (),
    ) -> None:
        self.name, self.figures = name, dict(figures)
        self._written_by(run)
        self._picture, self._headline = picture, headline

    @property
    def headline(self) -> tuple[str, ...]:
        return self._headline or super().headline

    @property
    def picture(self) -> Path | None:
        return None if self._picture is None else self.folder / self._picture

    def save(self, folder: str | Path, *, force: bool = False) -> Path:
        return copy_run(self, folder, force=force)


def folder_of(run: str | Path | Outcome) -> Path:
    """Where a run lies: its folder or run.json as it was given, or the folder of what a verb returned.

    Raises InputError where that was not saved, and where its folder is gone or another's by now.
    """
    if isinstance(run, str | Path):
        return Path(run)
    if not isinstance(run, Outcome):
        raise InputError(
            "A run is its folder, its run.json, or what ostrich.attack, check, ... returned; got "
            f"{type(run).__name__}."
        )
    if run.run is None:
        raise InputError(f"{run.name} has no run directory yet; save it first.")
    folder = run.run.folder
    if not run.run.is_there():
        gone = "holds another run by now, or an edited one" if (folder / "run.json").exists() else "is gone"
        raise InputError(f"The files of this {run.name} cannot be read: its folder {str(folder)!r} {gone}.")
    return folder


def copy_run(found: Outcome, folder: str | Path, *, force: bool) -> Path:
    """The run directory of an outcome copied to another folder; its path. Raises RunExists, InputError."""
    source, target = folder_of(found), Path(folder)
    asked = read_run(source)
    if target.resolve() == source.resolve():
        return target
    with Run.begin(source.name, asked["command"], asked["asked"], out=target, force=force) as run:
        for path in sorted(source.iterdir()):
            if path.is_dir():
                shutil.copytree(path, run.folder / path.name, dirs_exist_ok=True)
            elif path.name != lock.NAME:
                shutil.copy2(path, run.folder / path.name)
    return target


@contextmanager
def begun(
    name: str,
    asked: Mapping[str, Any],
    *,
    model: str,
    device: torch.device,
    data: Mapping[str, Any] | None,
    seed: int,
    out: Where,
    force: bool,
    network: Mapping[str, str] | None = None,
) -> Iterator[Run]:
    """The run directory of a verb on a classifier or generator named `model`.

    `out` is a folder, NEW for a new one under runs/, or None for one that goes when nobody holds the run any
    more. `data` describes it in run.json, and `network` what was found out about the network.
    """
    with kept_in(f"{name}-{_as_folder_name(model)}", name, asked, out=out, force=force) as run:
        run.describe(seed=seed, device=device, data=data, network=network)
        yield run


@contextmanager
def kept_in(title: str, name: str, asked: Mapping[str, Any], *, out: Where, force: bool) -> Iterator[Run]:
    """The run directory of a verb that describes it itself; `title` names a new one."""
    command = events.command() or f"ostrich.{name.replace('-', ' ', 1)} in Python"
    if out is None:
        folder = tempfile.mkdtemp(prefix=f"ostrich-{title}-")
        with Run.begin(title, command, asked, out=folder) as run:
            weakref.finalize(run, shutil.rmtree, folder, ignore_errors=True)
            yield run
        return
    with Run.begin(title, command, asked, out=None if out == NEW else out, force=force) as run:
        yield run


@contextmanager
def begun_on(
    name: str,
    asked: Mapping[str, Any],
    classifier: Classifier,
    samples: Samples | None,
    *,
    seed: int,
    out: Where,
    force: bool,
    data: Mapping[str, Any] | None = None,
) -> Iterator[Run]:
    """The run directory of a verb on a classifier, and on samples where it takes any.

    `data` describes what a verb without samples makes of its own. What was found out about the network is
    said.
    """
    whole: dict[str, Any] = {"model": list(classifier.words), "seed": seed, "device": str(classifier.device)}
    whole |= {"network": classifier.digest()}
    if samples is not None:
        whole |= {"data": list(samples.words), "sha256": samples.sha256, "limit": samples.limit}
        data = samples.describe()
    said = classifier.remarks() | ({} if samples is None else samples.said())
    events.say(*(f"{what}: {sentence}" for what, sentence in said.items()))

    def known() -> dict[str, str]:
        return {**classifier.remarks(), "preprocessing": classifier.preprocessing}

    with begun(
        name,
        {**whole, **asked},
        model=classifier.words[0],
        device=classifier.device,
        data=data,
        seed=seed,
        out=out,
        force=force,
        network=known(),
    ) as run:
        run.learn = known
        yield run


def as_png(picture: Image.Image) -> bytes:
    """A picture as the content of a PNG file."""
    content = io.BytesIO()
    picture.save(content, format="PNG")
    return content.getvalue()


def _short(value: Any) -> str:
    if value is None:
        return "not known"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _as_folder_name(model: str) -> str:
    """A model's name as part of a folder's name."""
    return "".join(c if c.isalnum() else "-" for c in Path(model).name if c not in "'\"")[:40].strip("-")
