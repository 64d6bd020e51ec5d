"""How long the playground lets a person wait: python -m benchmarks.playground [--rounds 10]

For the demo's network and EfficientNet-Lite0, as `ostrich serve` serves them: from a dropped picture to its
first bars, and from "turn it" to the first step that is shown; medians in milliseconds.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx2
import numpy as np
from PIL import Image

from ostrich.serve.guard import COOKIE, cookie_of

SERVED = {
    "zoo:toybox-resnet20": ("zoo:toybox-resnet20", "toybox"),
    "zoo:imagenet-efficientnet-lite0": ("zoo:imagenet-efficientnet-lite0", "photographs"),
}
PAGE = "0123456789abcdef"


def photograph(seed: int) -> bytes:
    """A picture of a camera's kind: 640x480, as JPEG."""
    pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).resize((640, 480)).save(content, format="JPEG")
    return content.getvalue()


def first(client: httpx2.Client, job: str, asked: dict[str, object], event: str) -> None:
    """Wait for the first event of that name."""
    body = json.dumps({"page": PAGE, "asked": asked})
    with client.stream("POST", f"/jobs/{job}", content=body) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: ") and json.loads(line[6:])["event"] == event:
                return
    raise SystemExit(f"{job} did not answer with {event}")


def waits(address: str, rounds: int) -> dict[str, float]:
    """Medians in milliseconds."""
    base, _, token = address.partition("?token=")
    origin = base.rstrip("/")
    with httpx2.Client(base_url=origin, headers={"origin": origin}, timeout=120) as client:
        client.cookies.set(COOKIE, cookie_of(token))
        found: dict[str, list[float]] = {"first bars": [], "first step": []}
        for number in range(rounds + 1):  # the first one warms up
            started = time.perf_counter()
            image = client.post("/images", content=photograph(number)).json()["image"]
            first(client, "look", {"image": image}, "bars")
            found["first bars"].append(time.perf_counter() - started)
            started = time.perf_counter()
            first(client, "turn", {"image": image, "attack": "pgd"}, "step")
            found["first step"].append(time.perf_counter() - started)
    return {name: 1000 * statistics.median(times[1:]) for name, times in found.items()}


@contextmanager
def serving(words: Sequence[str], folder: str) -> Iterator[tuple[str, int]]:
    """The address of a playground, and its process, for as long as it is wanted."""
    command = [sys.executable, "-m", "ostrich", "serve", *words, "--port", "0", "--out", folder + "/saved"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as server:
        assert server.stdout is not None
        try:
            address = re.search(r"http\S+", server.stdout.readline())
            assert address is not None
            yield address[0], server.pid
        finally:
            server.send_signal(signal.SIGINT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    for name, words in SERVED.items():
        with tempfile.TemporaryDirectory() as folder, serving(words, folder) as (address, _):
            for what, milliseconds in waits(address, rounds).items():
                print(f"{name}: {what} {milliseconds:.0f} ms")


if __name__ == "__main__":
    main()
