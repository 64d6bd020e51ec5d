"""Who may ask, and what a stranger's bytes can do: refused or bounded, each in words."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from collections.abc import Iterator
from copy import copy
from typing import Any
from urllib.parse import unquote, urlencode

import pytest
from PIL import Image

from ostrich.errors import InputError
from ostrich.runtime import events
from ostrich.serve import uploads
from ostrich.serve.app import application
from ostrich.serve.playground import Playground
from ostrich.serve.uploads import MOST_BYTES, decoded
from ostrich.serve.worker import WAITING, Busy, Job, Worker

testclient = pytest.importorskip("starlette.testclient", reason="starlette's test client needs httpx")
TOKEN, HOST = "a-token-of-a-test", "127.0.0.1:8000"
HERE = {"origin": f"http://{HOST}"}
WISH = {"page": "0" * 16, "asked": {"image": "d0"}}


@pytest.fixture
def client(toys: Playground) -> Iterator[Any]:
    app = application(toys, token=TOKEN, hosts={HOST, "localhost:8000"})
    with testclient.TestClient(app, base_url=f"http://{HOST}", follow_redirects=False) as client:
        yield client


@pytest.fixture
def inside(client: Any) -> Any:
    assert client.get(f"/?token={TOKEN}").status_code == 303
    return client


def test_the_token_lets_in_and_is_a_cookie_that_scripts_and_sites_cannot_have(client: Any) -> None:
    answer = client.get(f"/?token={TOKEN}")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/").status_code == 200
    assert client.get("/facts").json()["access"] == "gradient"


@pytest.mark.parametrize("path", ["/facts", "/images/d0.png", "/saved/m0/proof", "/assets/main.js"])
def test_without_the_token_nothing_is_told(client: Any, path: str) -> None:
    assert client.get(path).status_code == 403
    assert client.post("/jobs/look", json=WISH, headers=HERE).status_code == 403
    assert client.get("/").headers["location"] == "/enter"
    assert client.get("/?token=wrong").headers["location"] == "/enter"
    assert "Token or password" in client.get("/enter").text


def test_the_form_lets_in_who_types_it(client: Any) -> None:
    assert client.post("/enter", content="token=wrong", headers=HERE).status_code == 403
    assert client.post("/enter", content=f"token={TOKEN}", headers=HERE).status_code == 303
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("password", ["a password of words", "пароль-пароль-1", "蛇鳥が砂に頭を"])
def test_a_password_may_have_any_letters_and_is_not_in_the_cookie(toys: Playground, password: str) -> None:
    app = application(toys, token=password, hosts={HOST})
    with testclient.TestClient(app, base_url=f"http://{HOST}", follow_redirects=False) as client:
        answer = client.post("/enter", content=urlencode({"token": password}), headers=HERE)
        assert answer.status_code == 303
        assert password not in unquote(answer.headers["set-cookie"])
        assert client.get("/facts").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:9000", "127.0.0.1.evil.example:8000", ""])
def test_another_name_of_the_server_is_refused(inside: Any, host: str) -> None:
    assert inside.get("/facts", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9000"])
def test_another_sites_page_is_refused(inside: Any, origin: str) -> None:
    assert inside.post("/jobs/look", json=WISH, headers={"origin": origin}).status_code == 403
    assert inside.get("/facts", headers={"origin": origin}).status_code == 403


def test_reached_by_any_address_it_goes_by_addresses_and_no_other_name(toys: Playground) -> None:
    app = application(toys, token=TOKEN, hosts={"0.0.0.0:8000", "teacher:8000"}, any_address=8000)
    with testclient.TestClient(app, base_url="http://192.168.1.5:8000", follow_redirects=False) as client:
        own, foreign = {"origin": "http://192.168.1.5:8000"}, {"origin": "http://6.6.6.6:8000"}
        assert client.post("/enter", content=f"token={TOKEN}", headers=own).status_code == 303
        assert client.get("/facts").status_code == 200
        assert client.post("/jobs/look", json=WISH, headers=own).status_code == 200
        assert client.post("/jobs/look", json=WISH, headers=foreign).status_code == 403
        for host in ("[fe80::1]:8000", "teacher:8000"):
            assert client.get("/facts", headers={"host": host}).status_code == 200
        for host in ("evil.example:8000", "192.168.1.5:9000", "192.168.1.5", "192.168.1.5.evil.example:8000"):
            assert client.get("/facts", headers={"host": host}).status_code == 421


def test_what_changes_something_says_its_page(inside: Any) -> None:
    assert inside.post("/jobs/look", json=WISH).status_code == 403


def test_every_answer_has_a_policy(inside: Any) -> None:
    for path in ("/", "/facts", "/images/d0.png", "/nothing"):
        headers = inside.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../app.py",
        "/assets/%2e%2e/app.py",
        "/assets/..%2fapp.py",
        "/images/..%2f..%2fetc%2fpasswd.png",
        "/images/../../etc/passwd.png",
        "/saved/..%2f..%2fetc/proof",
        "/saved/m0/..%2frun.json",
    ],
)
def test_no_path_is_opened(inside: Any, path: str) -> None:
    answer = inside.get(path)
    assert answer.status_code in (400, 404)
    assert "root:" not in answer.text
    assert "import" not in answer.text


@pytest.mark.parametrize(
    ("name", "asked"),
    [("turn", {"image": "d0", "attack": "pgd", "eps": -1}), ("turn", {"image": "../d0", "attack": "pgd"}),
     ("turn", {"image": "d0", "attack": "pgd", "more": 1}), ("brush", {"image": "d0", "places": []}),
     ("want", {"unit": "class:0", "steps": 10**9}), ("look", {})],
)  # fmt: skip
def test_a_wish_out_of_range_is_refused_before_anything_is_done(inside: Any, name: str, asked: Any) -> None:
    answer = inside.post(f"/jobs/{name}", json={"page": "0" * 16, "asked": asked}, headers=HERE)
    assert answer.status_code == 422
    assert answer.text


def test_what_is_no_wish_is_refused(inside: Any) -> None:
    assert inside.post("/jobs/look", content=b"{", headers=HERE).status_code == 400
    assert inside.post("/jobs/look", content=b"\xff", headers=HERE).status_code == 400
    assert inside.post("/jobs/look", content=b"[]", headers=HERE).status_code == 422
    assert inside.post("/jobs/nothing", json=WISH, headers=HERE).status_code == 404
    assert inside.post("/jobs/look", content=b" " * 2**20, headers=HERE).status_code == 400


def test_a_job_answers_by_events(inside: Any) -> None:
    answer = inside.post("/jobs/look", json=WISH, headers=HERE)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert '"event": "bars"' in answer.text
    assert answer.text.rstrip().endswith('{"event": "done"}')


def test_an_attack_of_a_path_is_refused_as_an_unknown_name(inside: Any) -> None:
    wish = {"page": "0" * 16, "asked": {"image": "d0", "attack": "/tmp/evil.py:Attack"}}
    assert '"event": "refused"' in inside.post("/jobs/turn", json=wish, headers=HERE).text


def png(width: int, height: int, rows: int | None = None) -> bytes:
    """A PNG of zeros, whose header may say more than there is."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(bytes(1 + 3 * width)) for _ in range(height if rows is None else rows))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", body + packer.flush())
        + chunk(b"IEND", b"")
    )


def test_a_picture_becomes_an_image_of_the_networks_size(inside: Any) -> None:
    name = inside.post("/images", content=png(100, 80), headers=HERE).json()["image"]
    with Image.open(io.BytesIO(inside.get(f"/images/{name}.png").content)) as picture:
        assert picture.size == (64, 64)


@pytest.mark.parametrize(
    "content",
    [
        png(10_000, 10_000, rows=1),
        png(100_000, 100_000, rows=1),
        b"",
        b"GIF89a",
        b"<svg onload='x'/>",
        b"%!PS-Adobe",
        png(64, 64)[:60],
        b"\x00" * 1000,
    ],
    ids=["large", "bomb", "empty", "gif", "svg", "postscript", "cut", "zeros"],
)  # fmt: skip
def test_what_is_no_picture_or_too_large_is_refused(inside: Any, content: bytes) -> None:
    answer = inside.post("/images", content=content, headers=HERE)
    assert answer.status_code == 400
    assert answer.text.endswith((".", ")"))


def test_a_picture_for_a_network_of_any_size_is_bounded(toys: Playground) -> None:
    anything = copy(toys.classifier)
    anything.size = None
    assert decoded(png(1000, 300), anything).shape == (1, 3, 154, 512)
    assert decoded(png(100, 80), anything).shape == (1, 3, 80, 100)


def test_few_pictures_come_at_a_time_and_none_for_ever(
    toys: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow:
        """A request whose bytes never end, and come slowly."""

        async def stream(self) -> Any:
            while True:
                await asyncio.sleep(0.01)
                yield b""

    async def main() -> None:
        monkeypatch.setattr(uploads, "PATIENCE", 0.3)
        intake = uploads.Intake()
        coming = [asyncio.create_task(intake.image(Slow(), toys.classifier)) for _ in range(uploads.COMING)]
        await asyncio.sleep(0.05)
        with pytest.raises(Busy, match="Too many pictures"):
            await intake.image(Slow(), toys.classifier)
        for one in await asyncio.gather(*coming, return_exceptions=True):
            assert isinstance(one, InputError)
        with pytest.raises(InputError, match="did not come"):  # there is room again
            await intake.image(Slow(), toys.classifier)

    asyncio.run(main())


def test_a_stop_that_nothing_answers_is_no_fault() -> None:
    async def main() -> None:
        worker = Worker()

        def long(_job: Job) -> None:
            with events.progress("long", 10**9) as advance:
                while True:
                    advance(1, 10**9)

        told = worker.submit("a", long).events()
        assert (await anext(told))["event"] == "progress"
        worker.stop("a")
        assert [event["event"] async for event in told][-1] == "done"
        worker.close()

    asyncio.run(main())


def test_bytes_without_end_are_not_waited_for(inside: Any) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(2 * MOST_BYTES // 2**20):
            yield bytes(2**20)

    assert inside.post("/images", content=endless(), headers=HERE).status_code == 400


def test_a_newer_wish_of_a_page_ends_its_older_one_and_many_are_refused() -> None:
    async def main() -> None:
        worker = Worker()
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        def long(job: Job) -> None:
            loop.call_soon_threadsafe(begun.set)
            while True:
                job.emit("step")

        first = worker.submit("a", long)
        await begun.wait()
        second = worker.submit("a", lambda job: job.emit("bars"))
        assert [e["event"] async for e in first.events()][-1] == "ended"
        assert [e["event"] async for e in second.events()] == ["bars", "done"]
        begun.clear()
        blocking = worker.submit("b", long)
        await begun.wait()
        waiting = [worker.submit(str(k), lambda job: None) for k in range(WAITING)]
        with pytest.raises(Exception, match="Too many"):
            worker.submit("one more", lambda job: None)
        blocking.cancel()
        for job in waiting:
            assert [e["event"] async for e in job.events()] == ["done"]
        worker.close()

    asyncio.run(main())


def test_who_leaves_ends_what_was_asked() -> None:
    async def main() -> None:
        worker = Worker()
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()

        def long(job: Job) -> None:
            try:
                while True:
                    job.emit("said")
            finally:
                loop.call_soon_threadsafe(ended.set)

        events = worker.submit("a", long).events()
        assert (await anext(events))["event"] == "said"
        await events.aclose()  # type: ignore[attr-defined]
        await asyncio.wait_for(ended.wait(), 5)
        worker.close()

    asyncio.run(main())


def test_a_fault_is_told_and_the_next_wish_is_done() -> None:
    async def main() -> None:
        worker = Worker()
        faulty = worker.submit("a", lambda job: 1 / 0)
        assert [e["event"] async for e in faulty.events()] == ["fault"]
        fine = worker.submit("a", lambda job: job.emit("bars"))
        assert [e["event"] async for e in fine.events()] == ["bars", "done"]
        worker.close()

    asyncio.run(main())


def test_too_little_memory_is_no_fault_of_ours() -> None:
    def large(job: Job) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")

    async def main() -> None:
        worker = Worker()
        [told] = [event async for event in worker.submit("a", large).events()]
        assert told["event"] == "refused"
        assert told["sentence"].startswith("The memory is not enough")
        worker.close()

    asyncio.run(main())
