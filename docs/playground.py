"""The playground's pictures of the gallery: three screenshots, and a recording of "turn it into".

`make gallery ARGS=playground` opens `ostrich serve` in Chromium and takes them. The photographs are those
that scikit-image carries, the other images the toybox's.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image

NAME = "playground"
REAL = ("zoo:imagenet-efficientnet-lite0", "photographs")
SCREEN, QUALITY = {"width": 1280, "height": 860}, 84
TALL = 1720  # pixels, for the map of a layer and the sheet of a channel on one screenshot
FILM = (800, 538)  # pixels of the recording
SECONDS, COLOURS = 20.0, 192
WAIT = 120_000  # milliseconds
SECTION = """## The playground

A page of this machine on which a person breaks, opens and steers a network by hand.

```sh
ostrich serve zoo:imagenet-efficientnet-lite0 photographs
```

### Turn it into an ostrich

The class is chosen, the attack climbs within 2/255, and what counts is decided on the file.

![A cat is turned, step by step, into what the network calls an ostrich](gallery/playground.gif)

### Before, the change enlarged, after

Hover the last picture and see the first in its place.

![The page after an attack: bars, the verdict, and three pictures](gallery/playground-turn.jpg)

### A channel and its sheet

The channels of a layer for this image; where one of them looks, what it moves, prefers and answers to.

![The page on a channel of EfficientNet-Lite0's third stage](gallery/playground-network.jpg)

### From clean to fooled, beside a robust network

`ostrich serve` alone opens the demo's networks: the same picture before both.

![The page's slider over budgets, with the bars of two networks](gallery/playground-budgets.jpg)"""


def take(folder: Path) -> None:
    """Write playground.gif and the three screenshots into a folder."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("The playground's pictures are taken in Chromium; install it.")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with _serving(*REAL) as address:
            page = browser.new_page(viewport=SCREEN, color_scheme="light")
            _film(page, address, folder)
            _screenshot(page, folder / "playground-turn.jpg")
            page.goto(address.partition("?")[0] + "#panel=network&unit=blocks.2.1:7&image=d0")
            page.reload()
            page.wait_for_selector("text=what it prefers", timeout=WAIT)
            page.set_viewport_size({"width": SCREEN["width"], "height": TALL})
            page.wait_for_selector(".tile-map", timeout=WAIT)
            _screenshot(page, folder / "playground-network.jpg")
        with _serving() as address:
            page = browser.new_page(viewport=SCREEN, color_scheme="light")
            page.goto(address + "#panel=budgets&image=d5")
            page.wait_for_selector("#budget[max='7']", timeout=WAIT)
            page.fill("#budget", "4")
            page.wait_for_selector(".verdict-line:has-text('/255')", timeout=WAIT)
            _screenshot(page, folder / "playground-budgets.jpg")
        browser.close()


def _film(page: Any, address: str, folder: Path) -> None:
    """A recording: the class is chosen, the attack climbs, the change is enlarged."""
    page.goto(address + "#image=d0")
    page.wait_for_selector("#bars .share", timeout=WAIT)
    camera = _Camera(page)
    camera.until(3)
    page.select_option("#panel select >> nth=0", label="ostrich")
    page.fill("#panel input[type=number]", "2")
    camera.until(5)
    page.click("#begin")
    while page.query_selector("#save") is None and camera.seconds < SECONDS - 6:
        camera.frame()
    page.wait_for_selector("#save", timeout=WAIT)
    camera.until(SECONDS - 5)
    for times in (20, 35, 50):
        page.fill("#panel .pairs + .form input[type=range]", str(times))
        camera.until(camera.seconds + 1)
    camera.until(SECONDS)
    camera.write(folder / "playground.gif")


class _Camera:
    """Frames of a page, and when each was taken."""

    def __init__(self, page: Any) -> None:
        self._page, self._frames = page, list[tuple[float, Image.Image]]()
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def frame(self) -> None:
        at = self.seconds
        shot = Image.open(io.BytesIO(self._page.screenshot())).convert("RGB")
        self._frames.append((at, shot.resize(FILM, Image.Resampling.LANCZOS)))
        time.sleep(0.05)

    def until(self, seconds: float) -> None:
        while self.seconds < seconds:
            self.frame()

    def write(self, path: Path) -> None:
        """A GIF; what did not change is held longer, not drawn again."""
        times = [at for at, _ in self._frames] + [SECONDS]
        first, last = self._frames[0][1], self._frames[-1][1]
        both = Image.new("RGB", (FILM[0], 2 * FILM[1]))
        both.paste(first, (0, 0))
        both.paste(last, (0, FILM[1]))
        palette = both.quantize(COLOURS, method=Image.Quantize.FASTOCTREE)
        frames = [shot.quantize(palette=palette, dither=Image.Dither.NONE) for _, shot in self._frames]
        durations = [max(20, round(1000 * (b - a))) for a, b in pairwise(times)]
        frames[0].save(
            path, save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True
        )


def _screenshot(page: Any, path: Path) -> None:
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(500)
    page.screenshot(path=path, type="jpeg", quality=QUALITY)


@contextmanager
def _serving(*words: str) -> Iterator[str]:
    """The address of a playground."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "ostrich",
            "serve",
            *words,
            "--port",
            "0",
            "--out",
            f"{folder}/saved",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as server:
            assert server.stdout is not None
            try:
                found = re.search(r"http\S+", server.stdout.readline())
                assert found is not None
                yield found[0]
            finally:
                server.send_signal(signal.SIGINT)
