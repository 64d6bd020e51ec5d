"""What an attack leaves on disk: a file per image and images.csv, read back at the end."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostrich.attacks.engine.runner import Result
from ostrich.attacks.goals import SLACK, Goal
from ostrich.attacks.threats import Threat, within
from ostrich.data.dataset import Samples
from ostrich.errors import InputError, UnknownName
from ostrich.images import fingerprints, image_name, numbered, read_image, write_image
from ostrich.models.answers import predictions
from ostrich.models.batch_dependence import SAME
from ostrich.models.classifier import Classifier
from ostrich.models.steadiness import moved, refuse_other_answers
from ostrich.runtime.deadline import in_its_own_time
from ostrich.runtime.events import counted
from ostrich.runtime.files import NOT_TEXT, write_text
from ostrich.runtime.resumable import Checkpoint, Computation, Content, Piece


class BrokenClaim(Exception):
    """A file does not show what is claimed of it: a fault of ours, or of the disk."""


EPS = torch.finfo(torch.float32).eps
TABLE = "images.csv"
KEEP = ("all", "failures", "none")  # which images are files
BOTH = 2  # files of an image, the clean and the adversarial one
FILES = "files"  # begins the names of the pieces in which they are read back
OTHERWISE = "Read back, files are answered otherwise"
VALUES = 2**22  # numbers that are read back together
TOLD = (  # of a result, in the table
    "attacked",
    "success",
    "clean_predictions",
    "predictions",
    "confidence",
    "distance",
    "distance_float",
    "forwards",
    "backwards",
)
COLUMNS = (
    "index",
    "file",
    "label",
    "clean_prediction",
    "goal",
    "target",
    "adversarial_prediction",
    "confidence",
    "success",
    "distance",
    "distance_float",
    "forwards",
    "backwards",
    "clean_file",
    "adversarial_file",
)


class Evidence:
    """The files of an attack on samples: images and images.csv, written batch by batch, and read back.

    `labels` (N,) are the clean predictions where there are none. `keep` says which images are files, "all",
    "failures" of the network, or "none"; images.csv has a row of each. What a run that was cut off had
    written is written again.
    """

    def __init__(self, folder: Path, samples: Samples, labels: Tensor, goal: Goal, keep: str = "all") -> None:
        self.folder, self.samples, self.goal = folder, samples, goal
        self._at = folder.resolve()  # as it is seen from other processes
        channels = samples[:1].shape[1]
        self.pictures = Pictures(self._at, samples.index, keep, channels)
        self._labels = labels.tolist()
        self._targets = goal.classes.tolist() if goal.kind != "untargeted" else None
        self._claims = _Claims(array("q"), array("q"), array("q"))
        self._kept = bytearray()  # of each row, how many of its two files there are
        write_table(folder / TABLE, COLUMNS, [])

    def add(self, rows: range, part: Result, keys: list[int] | None = None) -> None:
        """The images at some rows of the samples, in order; `keys` tell them where they are written."""
        if keys is None:
            keys = fingerprints(part.images)
            self.pictures.write(rows, part)
        told = {name: getattr(part, name).tolist() for name in TOLD}
        table = [self._row(row, place, told, keys[place]) for place, row in enumerate(rows)]
        with (self.folder / TABLE).open("a", encoding="utf-8", errors=NOT_TEXT, newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(table)

    def _row(self, row: int, place: int, told: dict[str, list[Any]], key: int) -> tuple[Any, ...]:
        """A line of images.csv: COLUMNS."""
        attacked, success = told["attacked"][place], told["success"][place]
        kept = self.pictures.kept(attacked, success)
        clean, adversarial = self.pictures.names(row, kept)
        self._kept.append(kept)
        if success and adversarial:
            self._claims.add(row, key, told["predictions"][place])
        found: tuple[Any, ...] = ("", "", "true" if success else "false", "", "")
        if attacked:
            found = (
                told["predictions"][place],
                f"{told['confidence'][place]:.6f}",
                "true" if success else "false",
                f"{told['distance'][place]:.6g}",
                f"{told['distance_float'][place]:.6g}",
            )
        return (
            self.samples.index[row],
            self.samples.files[row],
            self._labels[row],
            told["clean_predictions"][place],
            self.goal.kind,
            self._targets[row] if self._targets else "",
            *found,
            told["forwards"][place],
            told["backwards"][place],
            clean,
            adversarial,
        )

    def reread(self, classifier: Classifier, threat: Threat) -> None:
        """Check every success once more, by its file.

        The file of a success must be the image that was verified, within the budget, and the plain network
        must see in it what the table says, and with that the goal, both times that it is asked. These
        forwards are not counted. The executor around shares them: who sees the files reads them, too.
        Raises RandomAnswers for a network whose answers change from call to call, and BrokenClaim, which
        names the files for which that does not hold.
        """
        together = _together(classifier)
        batches = {
            f"{FILES}-{start}": self._claims.part(start, start + together)
            for start in range(0, len(self._claims), together)
        }
        look = _LookAgain(classifier, threat, self.goal, self.pictures)
        wrong: list[str] = []
        otherwise: list[Tensor] = []  # images that are what was verified, and answered otherwise
        with (
            counted("files read back", len(batches), "batches") as advance,
            Computation(None, {}, waits=False) as computation,
        ):
            pieces = [Piece(key) for key in batches]
            found = computation.in_order(pieces, look, lambda one: batches[one.key], progress=advance)
            for _, claims, content in found:
                answer = content or look.at(claims)
                files = [self.pictures.names(row, BOTH)[1] for row in claims.rows]
                wrong += [file for file, holds in zip(files, answer["held"], strict=True) if not holds]
                otherwise += answer["otherwise"].unbind()
        if otherwise:
            refuse_other_answers(classifier, torch.stack(otherwise), OTHERWISE)
        if wrong:
            raise BrokenClaim(
                f"Read back, {', '.join(wrong)} of {str(self.folder)!r} do not show what was found."
            )

    def images(self) -> FileImages:
        """The adversarial images, where they lie; the clean ones where nothing was to be done."""
        return FileImages(self.folder, self.pictures, bytes(self._kept), adversarial=True)

    def originals(self) -> FileImages:
        """The clean ones."""
        return FileImages(self.folder, self.pictures, bytes(self._kept), adversarial=False)


@dataclass(frozen=True)
class Pictures:
    """Which images of an attack are files of its run directory, and where; it can be pickled."""

    folder: Path
    index: tuple[int, ...]  # of each image in its data set
    keep: str
    channels: int

    def __call__(self, classifier: Classifier, goal: Goal, rows: range, part: Result) -> bool:
        """Write those of a batch where the folder is seen from here; whether it is.

        Where none is kept, no file of a success can be read back: each is asked for once more. Raises
        RandomAnswers.
        """
        if not (self.folder / TABLE).exists():
            return False
        self.write(rows, part)
        if self.keep == "none":
            refuse_lost_successes(classifier, part, goal)
        return True

    def write(self, rows: range, part: Result) -> None:
        """Write those of a batch at some rows."""
        attacked, success = part.attacked.tolist(), part.success.tolist()
        for place, row in enumerate(rows):
            names = self.names(row, self.kept(attacked[place], success[place]))
            for name, images in zip(names, (part.originals, part.images)):
                if name:
                    write_image(self.folder / name, images[place])

    def kept(self, attacked: bool, success: bool) -> int:
        """How many of the two files of an image there are: the clean one first."""
        if self.keep == "none" or (self.keep == "failures" and not success):
            return 0
        return BOTH if attacked else 1

    def names(self, row: int, kept: int = BOTH) -> tuple[str, str]:
        """What the files of an image are called, clean and adversarial; "" for what is no file."""
        if not kept:
            return "", ""
        name = numbered("images", self.index[row], len(self.index))
        clean, adversarial = (
            image_name(f"{name}-{kind}", self.channels) for kind in ("clean", "adversarial")
        )
        return clean, adversarial if kept == BOTH else ""


@dataclass(frozen=True)
class _Claims:
    """Successes: of each its row, the fingerprint of the image that was verified, and its prediction."""

    rows: array[int]
    keys: array[int]
    predictions: array[int]

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, row: int, key: int, prediction: int) -> None:
        """One more."""
        self.rows.append(row)
        self.keys.append(key)
        self.predictions.append(prediction)

    def part(self, start: int, stop: int) -> _Claims:
        """Some in a row."""
        return _Claims(self.rows[start:stop], self.keys[start:stop], self.predictions[start:stop])


@dataclass(frozen=True)
class _LookAgain:
    """What some claims come to by their files, wherever these are seen."""

    classifier: Classifier
    threat: Threat
    goal: Goal
    pictures: Pictures

    def __call__(self, claims: _Claims, checkpoint: Checkpoint) -> Content:
        """See `at`; nothing where not all files are seen from here."""
        seen = all(file.exists() for files in self._files(claims) for file in files)
        return self.at(claims) if seen else {}

    def at(self, claims: _Claims) -> Content:
        """Which hold, (n,) bool, and the images (m, C, H, W) that are as verified and answered otherwise."""
        found, whole = _as_verified(claims, self._files(claims), self.classifier, self.threat)
        return _held(claims, found, whole, self.classifier, self.goal)

    def _files(self, claims: _Claims) -> list[list[Path]]:
        """The clean files, and the adversarial ones."""
        pairs = [self.pictures.names(row) for row in claims.rows]
        return [[self.pictures.folder / pair[kind] for pair in pairs] for kind in (0, 1)]


def _as_verified(
    claims: _Claims, files: list[list[Path]], classifier: Classifier, threat: Threat
) -> tuple[Tensor, Tensor]:
    """Images (n, C, H, W) of the files, and whether each is what was verified, within the budget, (n,)."""
    clean, found = (_stacked(some, classifier) for some in files)
    return found, _same(claims, found) & within(threat, found, clean)


def _stacked(files: Sequence[Path], classifier: Classifier) -> Tensor:
    """Images (n, C, H, W) of files, where the network is."""
    return torch.stack([_read(file) for file in files]).to(classifier.device)


def _same(claims: _Claims, found: Tensor) -> Tensor:
    """Whether images (n, C, H, W) are what was verified, (n,)."""
    same = [key == claimed for key, claimed in zip(fingerprints(found), claims.keys, strict=True)]
    return torch.tensor(same, device=found.device)


def _together(classifier: Classifier) -> int:
    """How many files are read back together."""
    size = classifier.size or (224, 224)
    return max(1, min(64, VALUES // (size[0] * size[1] * classifier.channels)))


def _held(claims: _Claims, found: Tensor, whole: Tensor, classifier: Classifier, goal: Goal) -> Content:
    """Which claims hold, (n,) bool, of images (n, C, H, W) that are as verified where `whole` (n,) says so.

    And which of these images (m, C, H, W) are answered otherwise.
    """
    so, steady = _answered_so(claims, found, classifier, goal)
    return {"held": whole & so, "otherwise": found[whole & ~(so & steady)]}


def _answered_so(claims: _Claims, found: Tensor, classifier: Classifier, goal: Goal) -> tuple[Tensor, Tensor]:
    """Whether the network sees in images (n, C, H, W) what is claimed, both times that it is asked, (n,).

    And whether it gives the same scores both times, (n,).
    """
    holds = torch.ones(len(claims), dtype=torch.bool, device=found.device)
    if classifier.draws > 1 or classifier.neighbours is not None:  # another question, another answer
        return holds, holds
    said = torch.tensor(claims.predictions.tolist(), device=found.device)
    rows = torch.tensor(claims.rows.tolist(), device=goal.classes.device)
    reached = goal.rows(rows).to(found.device).reached
    first, again = classifier.predict(found), classifier.predict(found)
    for logits in (first, again):
        largest = logits.abs().amax(1)
        tied = logits.gather(1, said.clamp_min(0)[:, None])[:, 0] >= logits.amax(1) - SLACK * EPS * largest
        holds &= ((predictions(logits) == said) | tied) & reached(logits)
    return holds, ~moved(first, again, SAME)


def look_again(classifier: Classifier, goal: Goal, result: Result, files: Mapping[int, Path]) -> None:
    """Check successes of what has no original once more, by the file of each row.

    A file must be the image that was verified, and the plain network must see in it what was found, both
    times that it is asked. Raises BrokenClaim, and RandomAnswers.
    """
    rows = list(files)
    keys = fingerprints(result.images[rows])
    claims = _Claims(array("q", rows), array("q", keys), array("q", result.predictions[rows].tolist()))
    wrong: list[str] = []
    together = _together(classifier)
    for start in range(0, len(rows), together):
        part = claims.part(start, start + together)
        found = _stacked([files[row] for row in part.rows], classifier)
        answer = _held(part, found, _same(part, found), classifier, goal)
        if len(answer["otherwise"]):
            refuse_other_answers(classifier, answer["otherwise"], OTHERWISE)
        wrong += [str(files[row]) for row, holds in zip(part.rows, answer["held"]) if not holds]
    if wrong:
        raise BrokenClaim(f"Read back, {', '.join(wrong)} do not show what was found.")


def refuse_lost_successes(classifier: Classifier, result: Result, goal: Goal) -> None:
    """Refuse, by RandomAnswers, a network that answers a success otherwise when it is asked once more."""
    if classifier.draws > 1 or classifier.neighbours is not None or not result.success.any():
        return
    with in_its_own_time():
        logits = classifier.predict(result.images[result.success])
    lost = ~goal.rows(result.success).reached(logits)
    images = result.images[result.success][lost]
    refuse_other_answers(classifier, images, "Changed images are answered otherwise")


@dataclass(frozen=True, eq=False)
class FileImages:
    """Images of a run directory by row, decoded when asked for: images[3], images[4:8], images[mask]."""

    folder: Path
    pictures: Pictures
    kept: bytes  # of each row, how many of its two files there are
    adversarial: bool

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, rows: int | slice | Tensor) -> Tensor:
        """One image (C, H, W), or some (n, C, H, W)."""
        places = torch.arange(len(self))[rows.cpu() if isinstance(rows, Tensor) else rows]
        if places.ndim == 0:
            return _read(self._file(int(places)))
        if not len(places):
            return _read(self._file(0))[None][:0] if len(self) else torch.empty(0, 3, 0, 0)
        return torch.stack([_read(self._file(place)) for place in places.tolist()])

    def _file(self, row: int) -> Path:
        """Its file. Raises InputError where the image was not kept."""
        clean, adversarial = self.pictures.names(row, self.kept[row])
        return self.folder / _kept((self.adversarial and adversarial) or clean)


def _kept(file: str) -> str:
    """The name of a file. Raises InputError where the image was not kept."""
    if not file:
        raise InputError("This image was not kept: ask with --keep all, or keep='all'.")
    return file


def _read(file: Path) -> Tensor:
    """An image that was just written. Raises BrokenClaim."""
    try:
        return read_image(file)
    except (OSError, SyntaxError, ValueError) as error:
        raise BrokenClaim(f"{str(file)!r} cannot be read back ({error}).") from None


def check_keep(keep: str) -> None:
    """Refuse, by UnknownName, what is no choice of images."""
    if keep not in KEEP:
        raise UnknownName("choice of images to keep", keep, KEEP)


def write_table(path: Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    """A CSV file with these columns, whole or absent; what a row lacks is empty."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
