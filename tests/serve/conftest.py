"""Playgrounds without a server, whose jobs are called as the worker calls them; and one in a Chromium."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import ostrich
from ostrich.models.classifier import Classifier
from ostrich.serve.jobs import JOBS
from ostrich.serve.playground import Playground
from ostrich.serve.worker import Job

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")  # of a browser without one
REFUSED = "status of 400"  # what the browser says of a wish that was refused in words
WAIT = 60_000  # milliseconds


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


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[str]:
    """The address of a playground, for as long as it is wanted; it ends with an interrupt, and quietly."""
    with subprocess.Popen(
        [sys.executable, "-m", "ostrich", "serve", *words, "--port", "0", "--out", str(folder / "saved")],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        try:
            found = re.search(r"http\S+", server.stdout.readline())
            assert found, server.stderr.read()
            yield found[0]
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
        assert server.stderr.read() == ""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium, where there is one; not for longer, since its loop lets no other one run beside it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *CAMERA])
        yield started
        started.close()


@pytest.fixture
def show(browser: Any) -> Iterator[Any]:
    """A function that opens an address; what the page complains of, or asks for elsewhere, is a failure."""
    contexts, complaints = [], []

    def asked(request: Any) -> None:
        if urlsplit(request.url).hostname not in ("127.0.0.1", None, ""):
            complaints.append(request.url)

    def opened(address: str, state: str = "", *, ready: bool = True, **settings: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console",
            lambda message: complaints.append(message.text) if REFUSED not in message.text else None,
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", asked)
        page.goto(address + state)
        if ready:
            page.wait_for_selector("html[data-ready]", timeout=WAIT)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
