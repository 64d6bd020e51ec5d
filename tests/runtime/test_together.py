"""A command that torchrun's ranks share: the same results, one writer, and nothing computed twice."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import killing
import pytest
import ranks

from ostrich.cli.main import run
from ostrich.runtime import resumable, together
from ostrich.runtime.resumable import Computation, Piece


def computed(folder: Path, number: int) -> list[str]:
    file = folder / ranks.COMPUTED.format(number)
    return file.read_text().split() if file.exists() else []


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict:
    """What one process leaves."""
    folder = tmp_path_factory.mktemp("alone")
    back, most = Path.cwd(), ranks.runner.MOST_IMAGES
    os.chdir(folder)
    try:
        assert ranks.attack_command("attack", 0) == 0
    finally:
        os.chdir(back)
        ranks.runner.MOST_IMAGES = most
    assert len(computed(folder, 0)) == 80 / ranks.BATCH
    return killing.outcome(folder / "out")


@pytest.mark.slow
def test_two_ranks_share_an_attack_and_one_writes_and_prints(alone, tmp_path):
    assert ranks.together(2, "attack", tmp_path) == [0, 0]
    assert killing.outcome(tmp_path / "out") == alone
    keys = computed(tmp_path, 0) + computed(tmp_path, 1)
    assert computed(tmp_path, 0)
    assert computed(tmp_path, 1)
    assert len(keys) == len(set(keys)) == 80 / ranks.BATCH
    assert "success rate" in (tmp_path / "screen-0.txt").read_text()
    assert (tmp_path / "screen-1.txt").read_text() == ""
    assert (tmp_path / "out/logs/rank-1.txt").exists()
    assert not (tmp_path / "out/shards").exists()
    # a finished run is refused by rank 0 alone, and all end with its code
    assert ranks.together(2, "attack", tmp_path) == [2, 2]
    assert "finished run" in (tmp_path / "screen-0.txt").read_text()
    assert (tmp_path / "screen-1.txt").read_text() == ""


@pytest.mark.slow
def test_a_killed_rank_costs_the_piece_it_was_at(alone, tmp_path):
    first, second = ranks.started(2, "killed", tmp_path)
    second.join(120)
    assert second.exitcode == -signal.SIGKILL
    first.kill()  # as torchrun does, if less gently
    first.join()
    finished = {path.stem for path in (tmp_path / "out/shards").glob("*.pt") if ".half" not in path.name}
    assert list((tmp_path / "out/shards").glob("*.half.pt"))
    assert computed(tmp_path, 1)[0] in finished
    for number in range(2):
        (tmp_path / ranks.COMPUTED.format(number)).unlink(missing_ok=True)
    assert ranks.together(2, "attack", tmp_path) == [0, 0]
    keys = computed(tmp_path, 0) + computed(tmp_path, 1)
    assert len(keys) == len(set(keys)) == 80 / ranks.BATCH - len(finished)
    assert not finished & set(keys)
    assert killing.outcome(tmp_path / "out") == alone


@pytest.mark.slow
def test_what_two_ranks_left_one_process_takes_up_in_order(alone, tmp_path, monkeypatch):
    first, second = ranks.started(2, "killed", tmp_path)
    second.join(120)
    first.kill()
    first.join()
    kept = sorted(path for path in (tmp_path / "out/shards").glob("*.pt") if ".half" not in path.name)
    kept[0].unlink()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ranks.runner, "MOST_IMAGES", ranks.BATCH)
    assert run(ranks.ATTACK) == 0
    assert killing.outcome(tmp_path / "out") == alone


@pytest.mark.slow
def test_a_rank_that_stumbles_ends_all_and_rank_0_says_why(tmp_path):
    assert ranks.together(2, "stumbles", tmp_path) == [2, 2]
    said = (tmp_path / "screen-0.txt").read_text()
    assert "Rank 1 has ended" in said
    assert "over a stone" in said
    assert (tmp_path / "screen-1.txt").read_text() == ""
    assert "over a stone" in (tmp_path / "out/logs/rank-1.txt").read_text()


def test_a_command_that_is_not_shared_is_refused_once(tmp_path):
    assert ranks.together(2, "refused", tmp_path) == [2, 2]
    assert "check is not shared by several processes yet" in (tmp_path / "screen-0.txt").read_text()
    assert (tmp_path / "screen-1.txt").read_text() == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["explain", "gradcam", "zoo:digits-cnn", "digits"],
        ["doctor", "zoo:digits-cnn", "digits"],
        ["generate", "sample", "x"],
        ["attack", "universal", "zoo:digits-cnn", "digits"],
        ["attack", "fooling-cppn", "zoo:digits-cnn"],
    ],
    ids=" ".join,
)
def test_others_are_refused_too(words, monkeypatch, capsys):
    monkeypatch.setattr(together, "count", lambda: 2)
    monkeypatch.setattr(together, "shared", lambda command: command())
    assert run(words) == 2
    assert "not shared by several processes yet" in capsys.readouterr().err


def test_pieces_come_in_order_whatever_is_there(tmp_path):
    pieces = [Piece(f"p{number}") for number in range(5)]
    asked = []

    def compute(piece):
        asked.append(piece.key)
        return {"value": int(piece.key[1:])}

    with Computation(tmp_path, {}) as kept:
        kept.run([pieces[3], pieces[1]], compute)
        done = []
        found = list(kept.in_order(pieces, compute, progress=lambda number, total: done.append(number)))
    assert [content["value"] for _, content in found] == list(range(5))
    assert asked == ["p3", "p1", "p0", "p2", "p4"]
    assert done == [1, 2, 3, 4, 5]


def test_what_another_has_taken_is_waited_for(tmp_path, monkeypatch):
    pieces, asked = [Piece(f"p{number}") for number in range(4)], []
    other = Computation(tmp_path, {})

    def compute(piece):
        asked.append(piece.key)
        return {"value": int(piece.key[1:])}

    def late(seconds):
        other.save(pieces[1], {"value": 1}, 0.0)

    monkeypatch.setattr(together, "take", lambda key: key != "p1")
    monkeypatch.setattr(resumable.time, "sleep", late)
    with Computation(tmp_path, {}) as kept:
        found = [content["value"] for _, content in kept.in_order(pieces, compute)]
    assert found == list(range(4))
    assert asked == ["p0", "p2", "p3"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds a rank by /proc")
def test_under_torchrun_the_same_command_goes_on_after_a_rank_was_killed(tmp_path):
    words = [*killing.COMMANDS["attack"][:4], "--limit", "700", "--set", "steps=200", "--set", "eps=0.05"]
    assert killing.ended(killing.started(words, tmp_path / "alone")) == 0
    begun = torchrun([*words, "--out", "many"], tmp_path)
    limit = time.monotonic() + 200
    while not list((tmp_path / "many/shards").glob("*.pt")) and time.monotonic() < limit:
        time.sleep(0.01)
    os.kill(of_rank(1, begun.pid), signal.SIGKILL)
    assert begun.wait(100) != 0
    again = torchrun([*words, "--out", "many"], tmp_path)
    assert again.wait(200) == 0
    assert killing.outcome(tmp_path / "many") == killing.outcome(tmp_path / "alone")
    printed = (tmp_path / "screen.txt").read_text()
    assert printed.count("success rate") == 1


def torchrun(words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        str(port),
    ]
    path = os.pathsep.join(part for part in sys.path if part)
    with (folder / "screen.txt").open("ab") as screen:
        return subprocess.Popen(
            [*start, "-m", "ostrich", *words],
            cwd=folder,
            stdout=screen,
            stderr=screen,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        )


def of_rank(number: int, parent: int) -> int:
    """The process of a rank, a child of torchrun."""
    for task in Path(f"/proc/{parent}/task").iterdir():
        for child in (task / "children").read_text().split():
            if f"\0RANK={number}\0".encode() in b"\0" + Path(f"/proc/{child}/environ").read_bytes():
                return int(child)
    raise AssertionError(f"no rank {number}")
