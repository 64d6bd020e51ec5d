"""What the page works on: networks, loaded once, and images, by ids that no path can hide in.

d0, d1, ...   of DATA
u0, u1, ...   dropped, pasted or taken
m0, m1, ...   made here, by an attack or a brush
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from torch import Tensor
from torch.nn.functional import one_hot

from ostrich.attacks.fitted.artefact import Artefact
from ostrich.data.dataset import Samples
from ostrich.errors import InputError
from ostrich.images import fit, from_bytes, picture, rounded
from ostrich.models.answers import answered, predictions
from ostrich.models.classifier import Classifier
from ostrich.serve.worker import ON_THE_WAY, Event, Job
from ostrich.verbs.outcome import as_png

KEPT = 64  # images of visitors, results of attacks, and answers that are kept
TOP = 5  # classes of a bar chart
T = TypeVar("T")


class Playground:
    """Networks, images, and where failures are saved.

    `networks` has the one in question first, and perhaps one beside it. Images are (1, C, H, W) in [0, 1] on
    the 8-bit grid.
    """

    def __init__(self, networks: Sequence[Classifier], samples: Samples, folder: Path) -> None:
        self.networks, self.samples, self.folder = tuple(networks), samples, folder
        self.claims = Kept[Callable[[Path], Path]]()  # by the id of a made image: writes its proof
        self.fitted = Kept[tuple[Artefact, Event]]()  # by what was asked: with how good it is
        self._images = Kept[Tensor]()
        self._answers = Kept[list[Event]]()
        self._numbers = itertools.count()

    @property
    def classifier(self) -> Classifier:
        """The network in question."""
        return self.networks[0]

    def image(self, name: str) -> Tensor:
        """An image by its id. Raises InputError."""
        kind, number = name[:1], name[1:]
        if kind == "d" and number.isascii() and number.isdigit() and int(number) < len(self.samples):
            return rounded(self.samples[int(number) : int(number) + 1])
        found = self._images.get(name)
        if found is None:
            raise InputError("That image is not here any more; take it again.")
        return found

    def keep(self, image: Tensor, kind: str) -> str:
        """The id of a new image; `kind` is "u" or "m". The oldest ones go."""
        name = f"{kind}{next(self._numbers)}"
        self._images.put(name, rounded(image.detach().cpu()))
        return name

    def save(self, name: str) -> Path:
        """Write a made image's proof into the run folder; where it lies. Raises InputError without one."""
        claim = self.claims.get(name)
        if claim is None:
            raise InputError("Only a failure that was verified is saved with its proof; this is none.")
        folder = self.folder / name
        return folder if (folder / "run.json").exists() else claim(folder)

    def saved_file(self, name: str, kind: str) -> Path:
        """The picture or the proof of what was saved: `kind` says which. Raises InputError."""
        if self.claims.get(name) is None or kind not in ("picture", "proof"):
            raise InputError("Nothing is saved by that name.")
        folder = self.folder / name
        found = [folder / "run.json"] if kind == "proof" else sorted(folder.glob("images/*-adversarial.*"))
        if not found or not found[0].exists():
            raise InputError("Nothing is saved by that name.")
        return found[0]

    def bars(self, image: Tensor, wanted: Sequence[int] = ()) -> list[dict[str, Any]]:
        """Of each network what it sees in one image: the TOP classes with their shares, and those wanted."""
        found = []
        for network in self.networks:
            shares = shares_of(network, image)
            best = shares.topk(min(TOP, len(shares))).indices.tolist()
            rows = [*best, *(k for k in wanted if k not in best and k < len(shares))]
            found.append(
                {
                    "network": network.name,
                    "classes": [
                        {"index": k, "name": network.class_name(k), "share": shares[k].item()} for k in rows
                    ],
                }
            )
        return found

    def moved(self, before: Tensor, after: Tensor) -> list[dict[str, Any]]:
        """The TOP classes whose shares (K,) moved most."""
        most = (after - before).abs().topk(min(TOP, len(before))).indices.tolist()
        return [
            {
                "index": k,
                "name": self.classifier.class_name(k),
                "before": before[k].item(),
                "after": after[k].item(),
            }
            for k in most
        ]

    def answered(self, asked: Any, job: Job, compute: Callable[[Job], None]) -> None:
        """Compute, or tell again what was told to the same question about the same image."""
        if not asked.remembered:
            compute(job)
            return
        image = getattr(asked, "image", None)
        content = b"" if image is None else self.image(image).numpy().tobytes()
        words = json.dumps({"kind": type(asked).__name__, **asked.model_dump()}, sort_keys=True)
        key = hashlib.sha256(words.encode() + content).hexdigest()
        kept = self._answers.get(key)
        if kept is None or any(self._images.get(e["made"]) is None for e in kept if e.get("made")):
            recorder = _Recorder(job)
            compute(recorder)
            if not job.stopped.is_set():  # else it is what there was by then
                self._answers.put(key, recorder.told)
            return
        for event in kept:
            job.emit(**event)


class _Recorder(Job):
    """A job whose answers are remembered, pictures on the way apart."""

    def __init__(self, job: Job) -> None:
        self._job, self.told = job, list[Event]()
        self.page, self.stopped = job.page, job.stopped

    def emit(self, event: str, **data: Any) -> None:
        self._job.emit(event, **data)
        if event not in ON_THE_WAY:
            self.told.append({"event": event, **data})


class Kept(Generic[T]):
    """The newest KEPT things by name; asked for by several threads."""

    def __init__(self) -> None:
        self._all: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, name: str, value: T) -> None:
        """Keep it, and let the oldest go."""
        with self._lock:
            self._all[name] = value
            while len(self._all) > KEPT:
                self._all.popitem(last=False)

    def get(self, name: str) -> T | None:
        """It, or None where it is gone; it is the newest again."""
        with self._lock:
            if name in self._all:
                self._all.move_to_end(name)
            return self._all.get(name)


def seen_at(network: Classifier, image: Tensor) -> Tensor:
    """An image (1, C, H, W) brought, in 8 bits, to the size that the network takes."""
    if network.size is None or tuple(image.shape[2:]) == network.size:
        return image
    return from_bytes(np.atleast_3d(np.asarray(fit(picture(image[0]), network.size))))[None]


def shares_of(network: Classifier, image: Tensor) -> Tensor:
    """The `shares` (K,) of one image (1, C, H, W)."""
    return shares(network, network.predict(seen_at(network, image)))


def shares(network: Classifier, logits: Tensor) -> Tensor:
    """The softmax shares (K,) of an answer (1, K); all 0 where it is none.

    Of a network that gives labels alone the answer has 1.
    """
    if not bool(answered(logits)[0]):
        return logits.new_zeros(logits.shape[1])
    if network.access == "labels":
        return one_hot(predictions(logits), logits.shape[1])[0].to(logits.dtype)
    return logits.softmax(1)[0]


def png(image: Tensor) -> str:
    """An image (C, H, W) as a data: address."""
    return "data:image/png;base64," + base64.b64encode(as_png(picture(image))).decode()
