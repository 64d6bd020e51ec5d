"""`ostrich serve`: what it refuses before it opens a port; what it serves, `tests/serve` asks."""

from __future__ import annotations

import socket

import pytest

from ostrich.cli.main import run

pytest.importorskip("uvicorn", reason="the server is not installed")
TOYS = ("zoo:toybox-resnet20", "toybox", "--limit", "4")


@pytest.mark.parametrize(
    ("words", "password", "said"),
    [
        (("zoo:toybox-resnet20",), None, "images to pick from"),
        ((*TOYS, "--host", "0.0.0.0"), "long enough for it", "--i-know"),
        ((*TOYS, "--host", "0.0.0.0", "--i-know"), None, "password"),
        ((*TOYS, "--host", "0.0.0.0", "--i-know"), "short", "at least 12 characters"),
        ((*TOYS, "--beside", "zoo:digits-cnn"), None, "cannot see the same image"),
        ((*TOYS, "--port", "99999"), None, "65535"),
    ],
)
def test_what_cannot_be_served_ends_with_one_sentence(
    words: tuple[str, ...],
    password: str | None,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: pytest.TempPathFactory,
) -> None:
    monkeypatch.delenv("OSTRICH_PASSWORD", raising=False)
    if password is not None:
        monkeypatch.setenv("OSTRICH_PASSWORD", password)
    assert run(["serve", *words, "--out", f"{tmp_path}/saved"]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_port_that_is_taken_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: pytest.TempPathFactory
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run(["serve", *TOYS, "--port", port, "--out", f"{tmp_path}/saved"]) == 2
    assert f"Port {port}" in capsys.readouterr().err
