"""A command that torchrun's ranks share: the same results, one writer, and nothing computed twice."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from contextlib import chdir
from dataclasses import replace
from itertools import islice
from pathlib import Path

import killing
import pytest
import ranks
import torch

from ostrich.attacks.engine import runner
from ostrich.attacks.engine.evidence import FILES, Evidence
from ostrich.cli.main import run
from ostrich.data import loading
from ostrich.data.elsewhere import Lying
from ostrich.data.sources import Decoded
from ostrich.data.spec import open_data
from ostrich.errors import InputError
from ostrich.images import write_png
from ostrich.runtime.deadline import Deadline, until
from ostrich.runtime.executors import Here, Unseen, computing_on, current
from ostrich.runtime.executors.sending import failure, packed, raised, unpacked
from ostrich.runtime.memory import KERNELS
from ostrich.runtime.python_file import from_file
from ostrich.runtime.resumable import Computation, Piece
from ostrich.verbs.attack import input_specific


def computed(folder: Path, number: int) -> list[str]:
    file = folder / ranks.COMPUTED.format(number)
    return file.read_text().split() if file.exists() else []


def by_one_process(task: str, folder: Path) -> dict:
    """What one process leaves."""
    most = ranks.runner.MOST_IMAGES
    try:
        with chdir(folder):
            assert ranks.shared_command(task, 0) == 0
    finally:
        ranks.runner.MOST_IMAGES = most
    return killing.outcome(folder / "out")


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict:
    """What one process leaves of the attack."""
    folder = tmp_path_factory.mktemp("alone")
    found = by_one_process("attack", folder)
    assert len(computed(folder, 0)) == 80 / ranks.BATCH
    return found


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
    said = json.loads((tmp_path / ranks.STATUS).read_text())
    assert said["state"] == "working"
    assert len({process.split()[1] for process in said["processes"]}) == 2
    assert said["parts"][0]["title"] == "apgd on 80 images"
    # a finished run is refused by rank 0 alone, and all end with its code
    assert ranks.together(2, "attack", tmp_path) == [2, 2]
    assert "finished run" in (tmp_path / "screen-0.txt").read_text()
    assert (tmp_path / "screen-1.txt").read_text() == ""


@pytest.mark.slow
def test_two_ranks_write_the_files_of_their_own_batches(alone, tmp_path):
    assert ranks.together(2, "many", tmp_path) == [0, 0]
    assert computed(tmp_path, 1)
    for number in range(2):  # rank 0 keeps none, so the other does not
        assert json.loads((tmp_path / ranks.KERNELS.format(number)).read_text()) == KERNELS
    assert killing.outcome(tmp_path / "out") == alone


@pytest.mark.slow
@pytest.mark.parametrize("task", ranks.SHARED)
def test_two_ranks_share_other_commands_too(task, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    if task.startswith("generate"):
        with chdir(tmp_path):
            assert run(ranks.GENERATE) == 0
    expected = by_one_process(task, one)
    assert ranks.together(2, task, two) == [0, 0]
    found = killing.outcome(two / "out")
    for left in (expected, found):
        left["images.csv"] = without_seconds(left.get("images.csv", b""))
    assert found == expected
    own, others = computed(two, 0), computed(two, 1)
    assert own
    assert others
    assert sorted(own + others) == sorted(computed(one, 0))
    assert (two / "screen-1.txt").read_text() == ""


def without_seconds(table: bytes) -> list[dict]:
    """The rows of an images.csv, without what each took."""
    rows = csv.DictReader(table.decode().splitlines())
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


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
def test_a_fault_in_another_rank_is_one_of_the_command(tmp_path):
    assert ranks.together(2, "stumbles", tmp_path) == [3, 3]
    said = (tmp_path / "screen-0.txt").read_text()
    assert "RuntimeError: over a stone" in said
    assert (tmp_path / "screen-1.txt").read_text() == ""
    assert "over a stone" in (tmp_path / "out/logs/rank-1.txt").read_text()
    assert "in another process" in (tmp_path / "out/traceback.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("task", ranks.ALONE)
def test_what_is_not_shared_is_done_and_printed_once(task, tmp_path):
    assert ranks.together(2, task, tmp_path) == [0, 0]
    printed = (tmp_path / "screen-0.txt").read_text()
    assert printed.count("found by" if task == "doctor" else "Usage") == 1
    assert (tmp_path / "screen-1.txt").read_text() == ""
    assert not computed(tmp_path, 1)


def doubled(given, checkpoint):
    return {"value": 2 * given}


class Backwards:
    """An executor that answers the last of three items first."""

    shares_files = True

    def map(self, compute, items, *, lost=None, log=None):
        while some := list(islice(items, 3)):
            for item in reversed(some):
                yield item, compute(item)


@pytest.mark.parametrize("kept", [True, False])
def test_pieces_come_in_order_whoever_computes_them_when(kept, tmp_path):
    pieces, asked, done = [Piece(f"p{number}") for number in range(7)], [], []

    def read(piece):
        asked.append(piece.key)
        return int(piece.key[1:])

    with Computation(tmp_path if kept else None, {}) as computation, computing_on(Backwards()):
        if kept:
            computation.save(pieces[2], {"value": 4}, 0.0)
        found = [
            content["value"]
            for _, _, content in computation.in_order(
                pieces, doubled, read, progress=lambda number, total: done.append(number)
            )
        ]
    assert found == [0, 2, 4, 6, 8, 10, 12]
    assert sorted(asked) == [f"p{number}" for number in range(7)]
    assert done == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("form", ["tensors", "json"])
def test_a_worker_that_does_not_see_the_folder_sends_what_it_computed(form, tmp_path, monkeypatch):
    class Elsewhere(Here):
        """A worker in another process and with other folders."""

        def map(self, compute, items, *, lost=None, log=None):
            for item in items:
                away = unpacked(packed((replace(compute, home="another"), replace(item, folder=Path("/no")))))
                yield item, away[0](away[1])

    pieces = [Piece("a"), Piece("b")]
    with Computation(tmp_path, {}, form) as computation, computing_on(Elsewhere()):
        found = [content for _, _, content in computation.in_order(pieces, doubled, lambda piece: 1.5)]
    assert found == [{"value": 3.0}] * 2
    with Computation(tmp_path, {}, form) as again:
        assert [again.load(piece) for piece in pieces] == found


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("spoiled", [False, True])
def test_files_are_read_back_by_whoever_sees_them(seen, spoiled, tmp_path, monkeypatch):
    """In batches of 64 successes; a worker that does not see them leaves them to the command."""
    asked, reread = [], Evidence.reread

    class Workers(Here):
        def map(self, compute, items, *, lost=None, log=None):
            for item in items:
                if not item.piece.key.startswith(FILES):
                    yield item, compute(item)
                    continue
                asked.append(item.piece.key)
                away, order = unpacked(packed((compute, item)))
                yield item, away(order) if seen else ({}, 0.0)

    def disturbed(self, *given):
        if spoiled:
            clean, file = self.pictures.names(self._claims.rows[70])
            shutil.copy(self.folder / clean, self.folder / file)
        reread(self, *given)

    monkeypatch.setattr(Evidence, "reread", disturbed)
    words = ["attack", "fgsm", *killing.DIGITS, "--limit", "200", "--set", "eps=0.3", "--out", "out"]
    with chdir(tmp_path), computing_on(Workers()):
        assert run(words) == (3 if spoiled else 0)
    assert len(asked) > 2
    if spoiled:
        assert "do not show what was found" in (tmp_path / "out/traceback.txt").read_text()


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("keep", ["all", "none"])
def test_of_many_images_who_computes_a_batch_writes_its_files(seen, keep, tmp_path, monkeypatch):
    """And sends no images back; where the folder is not seen, the command writes them."""
    sizes = []

    class Workers(Here):
        def map(self, compute, items, *, lost=None, log=None):
            for item in items:
                away, order = unpacked(packed((compute, item)))
                if not seen and isinstance(away.compute, runner._Batch):
                    elsewhere = replace(away.compute.write, folder=Path("/no"))
                    away = replace(away, compute=replace(away.compute, write=elsewhere))
                content, seconds = away(order)
                sizes.extend([content["images"].shape[1:].numel()] if "images" in content else [])
                yield item, (content, seconds)

    words = ["attack", "fgsm", *killing.DIGITS, "--limit", "60", "--keep", keep]
    with chdir(tmp_path):
        assert run([*words, "--out", "expected"]) == 0
        monkeypatch.setattr(input_specific, "HELD", 0)
        monkeypatch.setattr(runner, "MOST_IMAGES", 20)
        with computing_on(Workers()):
            assert run([*words, "--out", "out"]) == 0
    assert sizes == [0 if seen else 64] * 3
    assert killing.outcome(tmp_path / "out") == killing.outcome(tmp_path / "expected")


@pytest.mark.parametrize("seen", [True, False])
def test_who_computes_a_batch_reads_its_images_where_it_sees_them(seen, tmp_path, monkeypatch, capsys):
    """Else they are sent, which is said once; whoever read them, the results are the same."""
    digits = loading.load(open_data("digits"), size=(8, 8), channels=1, limit=60)
    for i, image in enumerate(digits.images()):
        write_png(tmp_path / f"data/{int(digits.labels[i])}/{i}.png", image)
    monkeypatch.setattr(loading, "MOST_KEPT", 0)
    words = ["attack", "fgsm", killing.DIGITS[0], "folder:data", "--limit", "60", "--seed", "1"]
    content, pixels, decoded = Lying.content, Decoded.pixels, []

    def elsewhere(self, place):
        if not seen:
            raise Unseen(self.files[place])
        return content(self, place)

    def counted(self, rows):
        decoded.extend(rows)
        return pixels(self, rows)

    class Workers(Here):
        def map(self, compute, items, *, lost=None, log=None):
            while some := list(islice(items, 2)):  # a few are on their way at the same time
                for item in some:
                    away, order = unpacked(packed((compute, item)))
                    yield item, away(order)

    with chdir(tmp_path):
        monkeypatch.setattr(runner, "MOST_IMAGES", 10)
        monkeypatch.setattr(input_specific, "HELD", 0)
        assert run([*words, "--out", "expected"]) == 0
        monkeypatch.setattr(Lying, "content", elsewhere)
        monkeypatch.setattr(Decoded, "pixels", counted)
        with computing_on(Workers()):
            assert run([*words, "--out", "out"]) == 0
    assert killing.outcome(tmp_path / "out") == killing.outcome(tmp_path / "expected")
    firsts = {0}  # it is looked at before
    assert set(decoded) == (firsts if seen else set(range(60)))
    assert capsys.readouterr().err.count("images are sent") == (0 if seen else 1)


@pytest.mark.parametrize("kept", [True, False])
def test_what_was_not_seen_is_asked_again_whole(kept, tmp_path):
    asked = []

    def compute(given, checkpoint):
        name, whole = given
        asked.append(given)
        if not whole and name in ("p2", "p6"):
            raise Unseen(name)
        return {"value": name}

    pieces = [Piece(f"p{number}") for number in range(7)]
    with Computation(tmp_path if kept else None, {}, "json") as computation, computing_on(Backwards()):
        found = [
            content["value"]
            for _, _, content in computation.in_order(
                pieces, compute, lambda piece: (piece.key, False), whole=lambda given: (given[0], True)
            )
        ]
    assert found == [piece.key for piece in pieces]
    assert asked.count(("p2", False)) == asked.count(("p2", True)) == 1
    assert {name for name, whole in asked if whole} == {"p2", "p3", "p4", "p5", "p6"}


def test_with_a_deadline_this_process_computes():
    with computing_on(Backwards()):
        assert isinstance(current(), Backwards)
        with until(Deadline(60)):
            assert isinstance(current(), Here)


@pytest.mark.slow
def test_what_a_user_file_holds_is_sent_with_its_class(tmp_path):
    (tmp_path / "mine.py").write_text(
        "class Mine:\n    value = 7\n    def __call__(self): return self.value\n"
    )
    sent = packed(from_file(tmp_path / "mine.py", "Mine")())
    code = "import sys; from ostrich.runtime.executors.sending import unpacked\n"
    code += "print(unpacked(sys.stdin.buffer.read())())"
    said = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True)
    assert said.stdout.strip() == b"7"


def test_of_a_part_of_a_tensor_the_part_is_sent():
    whole = torch.arange(1e6)
    sent = packed(whole[10:12])
    assert len(sent) < 10_000
    assert unpacked(sent).tolist() == [10, 11]


def test_an_error_is_raised_elsewhere_with_its_traceback():
    class Unknown(Exception):
        def __init__(self, one, two):
            super().__init__("it")

    for error, kind in ((InputError("what was wrong"), InputError), (Unknown(1, 2), RuntimeError)):
        try:
            raise error
        except Exception as caught:
            found = raised(failure(caught))
        assert type(found) is kind
        assert str(error) in "".join(traceback.format_exception(found))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds a rank by /proc")
def test_under_torchrun_the_same_command_goes_on_after_a_rank_was_killed(tmp_path):
    words = [*killing.COMMANDS["attack"][:4], "--limit", "700", "--set", "steps=200", "--set", "eps=0.05"]
    alone = [sys.executable, "-m", "ostrich", *words, "--out", str(tmp_path / "alone")]
    assert subprocess.run(alone, check=False, env=environment()).returncode == 0
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
    with (folder / "screen.txt").open("ab") as screen:
        return subprocess.Popen(
            [*start, "-m", "ostrich", *words],
            cwd=folder,
            stdout=screen,
            stderr=screen,
            env=environment(),
        )


def environment() -> dict[str, str]:
    """Of a process of one thread that imports what this one does."""
    path = os.pathsep.join(part for part in sys.path if part)
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}


def of_rank(number: int, parent: int) -> int:
    """The process of a rank, a child of torchrun."""
    for task in Path(f"/proc/{parent}/task").iterdir():
        for child in (task / "children").read_text().split():
            if f"\0RANK={number}\0".encode() in b"\0" + Path(f"/proc/{child}/environ").read_bytes():
                return int(child)
    raise AssertionError(f"no rank {number}")
