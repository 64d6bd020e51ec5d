"""Playgrounds without a server: jobs are called as the worker calls them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import ostrich
from ostrich.models.classifier import Classifier
from ostrich.serve.jobs import JOBS
from ostrich.serve.playground import Playground
from ostrich.serve.worker import Job


class Told(Job):
    """A job whose events are collected; after `most` pictures on the way it is stopped."""

    def __init__(self, most: int = 10**6) -> None:
        self._most = most
        self.page, self.stopped, self.told = "0" * 16, threading.Event(), list[dict[str, Any]]()

    def emit(self, event: str, **data: Any) -> None:
        self.told.append({"event": event, **data})
        if [row["event"] for row in self.told].count("step") >= self._most:
            self.stopped.set()


def playground_of(
    folder: Path, networks: list[Classifier], data: str = "toybox", limit: int = 12
) -> Playground:
    """A playground on some images of DATA."""
    from ostrich.data import open_data
    from ostrich.verbs.inputs import read_samples

    samples = read_samples(open_data([data]), networks[0], limit=limit, seed=0)
    return Playground(networks, samples, folder / "playground")


def asked(playground: Playground, name: str, **words: Any) -> list[dict[str, Any]]:
    """The events of a job."""
    kind, do = JOBS[name]
    job = Told()
    do(playground, kind.model_validate(words), job)
    return job.told


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Playground:
    """The demo's networks on toybox."""
    networks = [ostrich.load(f"zoo:toybox-{name}") for name in ("resnet20", "robust")]
    return playground_of(tmp_path_factory.mktemp("toys"), networks)
