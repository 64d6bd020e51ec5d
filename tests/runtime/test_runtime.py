"""Files, locks, interrupts, deadlines and resumable computations, by themselves."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from ostrich.cli.main import run
from ostrich.errors import FolderInUse, InputError, OtherComputation
from ostrich.runtime import facts, files, interrupts, resumable
from ostrich.runtime.deadline import Deadline
from ostrich.runtime.facts import digest
from ostrich.runtime.lock import NAME, locked
from ostrich.runtime.randomness import counted
from ostrich.runtime.resumable import Checkpoint, Computation, Piece, peek
from ostrich.runtime.stopwatch import stopwatch

# Files -----------------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_file_before(tmp_path):
    path = tmp_path / "a.pt"
    files.write_tensors(path, {"step": 1})
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        files.write_tensors(path, {"step": 2})
    assert files.read_tensors(path) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_what_fails_half_written_is_not_there(tmp_path):
    def write():
        with files.whole(tmp_path / "a") as partial:
            partial.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert not list(tmp_path.iterdir())


def test_only_partial_files_are_swept(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("deep/.a.pt.7.partial", "deep/b.partial", ".c"):
        (tmp_path / name).write_text("x")
    files.sweep(tmp_path)
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"b.partial", ".c"}


def test_a_torn_row_is_left_out(tmp_path):
    path = tmp_path / "rows"
    for step in (1, 2, 3):
        files.append_row(path, {"step": step})
    with path.open("a") as torn:
        torn.write('{"step": 4')
    assert [row["step"] for row in files.read_rows(path)] == [1, 2, 3]
    assert files.keep_rows(path, lambda row: row["step"] < 3) == [{"step": 1}, {"step": 2}]
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
    assert files.read_rows(tmp_path / "none") == files.keep_rows(tmp_path / "none", bool) == []


# Locks -----------------------------------------------------------------------------------------

HOLD = (
    "import sys\nfrom pathlib import Path\nfrom ostrich.runtime.lock import locked\n"
    "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
)


def holder(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_another_process_is_refused_until_the_first_ends_however(tmp_path):
    for how in (lambda p: p.stdin.close(), lambda p: p.kill()):
        with holder(tmp_path) as process:
            with pytest.raises(FolderInUse, match=f"process {process.pid}"), locked(tmp_path):
                pass
            how(process)
            process.wait()
        with locked(tmp_path), locked(tmp_path):  # one process may ask twice
            assert (tmp_path / NAME).exists()
        assert not (tmp_path / NAME).exists()


# Interrupts ------------------------------------------------------------------------------------


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_interrupt_waits_and_the_second_does_not():
    reached = []

    @interrupts.guarded()
    @interrupts.guarded()
    def work():
        interrupt()
        assert interrupts.pending()
        reached.append("after the first")
        interrupt()
        reached.append("after the second")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["after the first"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not interrupts.pending()


def test_an_interrupt_is_not_lost_at_the_end_of_the_outermost_guard():
    reached = []

    @interrupts.guarded()
    def work():
        with interrupts.guarded():
            interrupt()
        reached.append("between the guards")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["between the guards"]


def test_an_interrupt_outside_is_raised_at_once():
    with interrupts.guarded():
        pass
    with pytest.raises(KeyboardInterrupt):
        interrupt()


# Time ------------------------------------------------------------------------------------------


def test_a_deadline_is_reached_when_its_time_is_over(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    deadline, never = Deadline(5), Deadline(None)
    now[0] = 104.0
    assert deadline.left == 1
    assert not deadline.reached
    now[0] = 106.0
    assert deadline.left == 0
    assert deadline.reached
    assert not never.reached


# Computations ----------------------------------------------------------------------------------

FACTS = {"weights": digest(torch.ones(3)), "seed": "0"}
PIECES = [Piece(name, {"images": digest(name)}) for name in ("a", "b", "c")]


@pytest.fixture(params=["tensors", "json"])
def form(request):
    return request.param


def content(piece):
    return {"name": piece.key, "number": float(ord(piece.key))}


def test_what_is_done_is_not_done_again(tmp_path, form):
    asked = []

    def compute(piece):
        if len(asked) == 2:
            raise RuntimeError
        asked.append(piece.key)
        return content(piece)

    with pytest.raises(RuntimeError), Computation(tmp_path, FACTS, form) as kept:
        kept.run(PIECES, compute)
    told = []
    with Computation(tmp_path, FACTS, form) as kept:
        done = kept.run(PIECES, content, progress=lambda *of: told.append(of))
    assert asked == ["a", "b"]
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert done.left == []
    assert done.contents == {piece.key: content(piece) for piece in PIECES}


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Computation(None, {}) as kept:
        assert kept.run(PIECES, content).contents["a"] == content(PIECES[0])
        with kept.checkpoint(PIECES[0]) as half:
            half.save({"step": 1})
            assert half.restore() is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": digest(torch.zeros(3))}, "other weights. Give"),
        ({"seed": "1"}, "other seed (0, now 1)."),
        (
            {"seed": "1", "labels": "x", "weights": digest(torch.zeros(3))},
            "other weights, seed (0, now 1) and labels.",
        ),
    ],
)
def test_other_facts_are_refused_by_name_and_nothing_changes(tmp_path, form, change, said):
    with Computation(tmp_path, FACTS, form) as kept:
        kept.run(PIECES, content)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(OtherComputation) as error, Computation(tmp_path, {**FACTS, **change}, form):
        pass
    assert said in str(error.value)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_another_version_of_torch_is_other_facts(tmp_path, monkeypatch):
    with Computation(tmp_path, FACTS):
        pass
    monkeypatch.setattr(torch, "__version__", "none")  # the installed package is asked, not the module
    monkeypatch.setattr(facts, "version", lambda name: "0.1")
    facts._versions.cache_clear()
    try:
        with pytest.raises(OtherComputation, match="version of torch"), Computation(tmp_path, FACTS):
            pass
    finally:
        facts._versions.cache_clear()


def test_a_piece_with_other_facts_of_its_own_is_refused(tmp_path, form):
    with Computation(tmp_path, FACTS, form) as kept:
        kept.run(PIECES, content)
        with pytest.raises(OtherComputation, match="other images"):
            kept.load(Piece("a", {"images": digest("another")}))
        (tmp_path / f"a{resumable.SUFFIX[form]}").write_text("{}")
        with pytest.raises(InputError, match="damaged"):
            kept.load(PIECES[0])


def test_it_stops_between_pieces_when_the_time_is_over(tmp_path, form):
    deadline = Deadline(None)

    def compute(piece):
        deadline._end = time.monotonic()
        return content(piece)

    with Computation(tmp_path, FACTS, form) as kept:
        done = kept.run(PIECES, compute, deadline=deadline)
        assert list(done.contents) == ["a"]
        assert done.left == ["b", "c"]
        assert kept.run(PIECES, content).left == []


class Backwards:
    def map(self, compute, pieces):
        for piece in reversed(list(pieces)):
            yield piece, compute(piece)


def test_who_computes_and_in_which_order_changes_nothing(tmp_path, form):
    with Computation(tmp_path / "here", FACTS, form) as kept:
        here = kept.run(PIECES, content).contents
    with Computation(tmp_path / "there", FACTS, form) as kept:
        assert kept.run(PIECES, content, executor=Backwards()).contents == here


def test_pieces_of_one_content_are_computed_once(tmp_path):
    asked = []
    with Computation(tmp_path, FACTS) as kept:
        kept.run([PIECES[0], PIECES[0]], lambda piece: asked.append(piece) or content(piece))
    assert len(asked) == 1


def test_json_is_the_same_found_or_computed(tmp_path):
    with Computation(tmp_path, FACTS, "json") as kept:
        first = kept.run(PIECES[:1], lambda piece: {"pair": (1, float("nan"))}).contents
        assert kept.run(PIECES[:1], content).contents == first == {"a": {"pair": [1, None]}}


def test_an_interrupt_keeps_the_piece_that_is_being_computed(tmp_path, form):
    def compute(piece):
        interrupt()
        return content(piece)

    with pytest.raises(KeyboardInterrupt), Computation(tmp_path, FACTS, form) as kept:
        kept.run(PIECES, compute)
    with Computation(tmp_path, FACTS, form) as kept:
        assert kept.load(PIECES[0]) == content(PIECES[0])
        assert kept.load(PIECES[1]) is None


# Checkpoints -----------------------------------------------------------------------------------


def test_a_checkpoint_is_written_when_due_and_found_again(tmp_path, monkeypatch):
    now, file = [0.0], tmp_path / "half.pt"
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    written = []

    def where(step):
        written.append(step)
        now[0] += 2  # so long does writing take: the next is due after 2 / SHARE = 40 seconds
        return {"step": step}

    with Checkpoint(file, FACTS) as half:
        assert half.restore() is None
        for step in range(100):
            now[0] += 1
            half.offer(lambda step=step: where(step))
    assert written[0] == 9
    assert peek(file)["step"] == written[-1]
    with Checkpoint(file, FACTS) as half:
        assert half.restore() == {"step": written[-1]}
        half.drop()
    assert peek(file) is None


def test_an_interrupt_writes_the_checkpoint_and_leaves(tmp_path):
    file = tmp_path / "half.pt"

    def work():
        with Checkpoint(file, FACTS) as half:
            for step in range(5):
                interrupt() if step == 3 else None
                half.offer(lambda step=step: {"step": step})

    with pytest.raises(KeyboardInterrupt):
        work()
    assert peek(file) == {"step": 3}


def test_the_seconds_of_all_parts_are_counted(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    piece = PIECES[0]

    def compute(kept, until):
        with kept.checkpoint(piece) as half:
            before = (half.restore() or {"step": 0})["step"]
            for step in range(before, 10):
                if step == until:
                    half.save({"step": step})
                    raise KeyboardInterrupt
                now[0] += 1
        return {"step": 10}

    for until in (3, 7, None):
        now[0] += 1000  # between the parts
        with stopwatch() as spent, Computation(tmp_path, FACTS) as kept:
            try:
                kept.run([piece], lambda piece: compute(kept, until))  # noqa: B023, called here
            except KeyboardInterrupt:
                assert until is not None
    assert spent.seconds == 10
    with stopwatch() as spent, Computation(tmp_path, FACTS) as kept:
        kept.run([piece], content)
    assert spent.seconds == 10
    assert not list(tmp_path.glob("*.half.pt"))


def test_facts_are_beside_the_content(tmp_path):
    with Computation(tmp_path, FACTS, "json") as kept:
        kept.run(PIECES[:1], content)
    written = json.loads((tmp_path / "a.json").read_text())
    assert written["name"] == "a"
    assert {**FACTS, **PIECES[0].facts}.items() <= written["computation"]["facts"].items()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (torch.zeros(2), torch.tensor([0.0, -0.0])),
        ({"a": torch.zeros(1)}, {"b": torch.zeros(1)}),
        ("1", 1),
        (None, torch.zeros(0)),
    ],
)
def test_digests_tell_apart(one, other):
    assert digest(one) != digest(other)
    assert digest(one) == digest(one)


# Random numbers --------------------------------------------------------------------------------


def test_counted_numbers_are_uniform_and_belong_to_their_key_alone():
    seeds = np.arange(1, 401, dtype=np.uint64) * np.uint64(6364136223846793005)
    steps = np.arange(400, dtype=np.int64)
    drawn = counted(seeds, steps, 9)
    assert drawn.shape == (400, 9)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert len(np.unique(drawn)) == drawn.size
    some = [5, 399, 7]
    assert (counted(seeds[some], steps[some], 9) == drawn[some]).all()
    # Each of ten bins has a tenth, within four standard deviations; columns and rows do not correlate.
    many = counted(np.full(20_000, 3, np.uint64), np.arange(20_000), 9)
    bins = np.histogram(many, 10, (0, 1))[0] / many.size
    assert np.abs(bins - 0.1).max() < 4 * (0.1 * 0.9 / many.size) ** 0.5
    for one, other in ((many[:, 0], many[:, 1]), (many[1:, 0], many[:-1, 0]), (many[1:, 0], many[:-1, 8])):
        assert abs(np.corrcoef(one, other)[0, 1]) < 4 / 20_000**0.5


def test_of_many_images_no_kernels_are_kept_unless_the_environment_says_so(monkeypatch):
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "")  # so that it is taken back at the end
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY")
    for limit, kept in ((100, None), (5000, "0")):
        assert run(["attack", "no-such-attack", "zoo:digits-cnn", "digits", "--limit", str(limit)]) == 2
        assert os.environ.get("ONEDNN_PRIMITIVE_CACHE_CAPACITY") == kept
    assert os.environ["LRU_CACHE_CAPACITY"] == "7"
