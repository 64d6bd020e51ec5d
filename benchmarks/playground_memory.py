"""How much memory strangers can make the playground take: python -m benchmarks.playground_memory

The server's own resident memory, read every hundredth of a second, and its most, as the kernel keeps it,
above what it holds when idle; Linux alone. Nothing may take more than MOST.
"""

from __future__ import annotations

import io
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
from PIL import Image

from benchmarks.playground import SERVED, serving
from ostrich.serve.guard import COOKIE, cookie_of
from ostrich.serve.uploads import MOST_BYTES, MOST_PIXELS

MOST = 1024  # MB above idle
AT_ONCE = 50
SIDE = int(MOST_PIXELS**0.5) // 8 * 8


class Stranger:
    """Who knows the token, and means no good."""

    def __init__(self, address: str) -> None:
        base, _, token = address.partition("?token=")
        self.cookie = f"{COOKIE}={cookie_of(token)}"
        self.origin = base.rstrip("/")
        self.place = self.origin.removeprefix("http://")

    def client(self) -> httpx2.Client:
        """A client that is let in."""
        headers = {"origin": self.origin, "cookie": self.cookie}
        return httpx2.Client(base_url=self.origin, headers=headers, timeout=120)

    def upload(self, content: bytes) -> int:
        """The status with which a picture is answered; 0 where the line was cut."""
        with self.client() as client, suppress(httpx2.TransportError):
            status: int = client.post("/images", content=content).status_code
            return status
        return 0

    def wish(self, number: int, job: str, **asked: Any) -> int:
        """The status with which a wish of another page is answered."""
        body = json.dumps({"page": f"{number:016x}", "asked": asked})
        with self.client() as client, suppress(httpx2.TransportError):
            status: int = client.post(f"/jobs/{job}", content=body).status_code
            return status
        return 0

    def left(self, path: str, body: bytes, sent: int) -> socket.socket:
        """A request of which only so many bytes are sent; whoever asked reads nothing."""
        host, _, port = self.place.partition(":")
        line = socket.create_connection((host, int(port)))
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self.place}\r\nOrigin: {self.origin}\r\n"
            f"Cookie: {self.cookie}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        line.sendall(head.encode() + body[:sent])
        return line


def bomb(width: int, height: int, mode: str = "RGBA") -> bytes:
    """A PNG of zeros, small as a file and large when it is unpacked."""
    depth, colour, size = {"RGB": (8, 2, 3), "RGBA": (8, 6, 4), "I;16": (16, 0, 2)}[mode]

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(bytes(1 + size * width)) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def photograph(width: int, height: int) -> bytes:
    """A large JPEG."""
    content = io.BytesIO()
    Image.new("RGB", (width, height), (90, 120, 60)).save(content, format="JPEG")
    return content.getvalue()


def resident(process: int, name: str = "VmRSS") -> float:
    """MB that a process holds; with VmHWM the most since its mark was set back."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise ValueError(name)


def most_during(process: int, act: Callable[[], object]) -> tuple[float, object]:
    """The most MB that it holds meanwhile, and what `act` gives."""
    Path(f"/proc/{process}/clear_refs").write_text("5")  # the mark is set back to what is held now
    over, seen = threading.Event(), [resident(process)]

    def watch() -> None:
        while not over.wait(0.01):
            seen.append(resident(process))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        found = act()
    finally:
        over.set()
        watching.join()
    return max([*seen, resident(process, "VmHWM")]), found


def trials(stranger: Stranger, image: str = "d0") -> dict[str, Callable[[], object]]:
    """What strangers do, by name; each answers with what came of it."""
    at_most = bomb(SIDE, SIDE)

    def together(act: Callable[[int], int]) -> dict[int, int]:
        with ThreadPoolExecutor(AT_ONCE) as several:
            answers = list(several.map(act, range(AT_ONCE)))
        return {status: answers.count(status) for status in sorted(set(answers))}

    def cut() -> int:
        body = bytes(MOST_BYTES)
        lines = [stranger.left("/images", body, len(body) - 1) for _ in range(AT_ONCE)]
        time.sleep(1)
        for line in lines:
            line.close()
        return len(lines)

    def kept_open() -> int:
        lines = []
        for number in range(AT_ONCE):
            asked = {"image": image, "attack": "pgd", "steps": 2000}
            body = json.dumps({"page": f"{number:016x}", "asked": asked}).encode()
            lines.append(stranger.left("/jobs/turn", body, len(body)))
        time.sleep(10)  # nobody reads
        for line in lines:
            line.close()
        return len(lines)

    return {
        f"{AT_ONCE} wishes at once": lambda: together(
            lambda n: stranger.wish(n, "turn", image=image, attack="pgd", steps=20 + n)
        ),
        f"{AT_ONCE} explanations at once": lambda: together(
            lambda n: stranger.wish(n, "explain", image=image, methods=["gradient", "smoothgrad"])
        ),
        f"{AT_ONCE} pictures of {SIDE}x{SIDE} at once": lambda: together(lambda n: stranger.upload(at_most)),
        "a picture of 10,000x10,000": lambda: stranger.upload(bomb(10_000, 10_000, "RGB")),
        "the largest of 16 bits": lambda: stranger.upload(bomb(SIDE, SIDE, "I;16")),
        "the largest photograph": lambda: stranger.upload(photograph(8000, 6000)),
        "more bytes than go": lambda: stranger.upload(bytes(4 * MOST_BYTES)),
        f"{AT_ONCE} pictures cut off": cut,
        f"{AT_ONCE} streams that nobody reads": kept_open,
    }


def strained(name: str, folder: str) -> dict[str, tuple[float, object]]:
    """Of each trial the MB above idle, and what came of it."""
    found = {}
    with serving(SERVED[name], folder) as (address, process):
        stranger = Stranger(address)
        assert stranger.wish(0, "turn", image="d0", attack="pgd") == 200  # all that is loaded once is there
        idle = resident(process)
        for what, act in trials(stranger).items():
            most, came = most_during(process, act)
            found[what] = most - idle, came
        assert stranger.wish(0, "look", image="d0") == 200  # it still answers
    return found


def main() -> None:
    for name in SERVED:
        with TemporaryDirectory() as folder:
            for what, (more, came) in strained(name, folder).items():
                print(f"{name}: {what}: {more:.0f} MB above idle, answered {came}")


if __name__ == "__main__":
    main()
