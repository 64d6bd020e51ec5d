"""Commands on a local Ray cluster of two workers leave what one process leaves; one of them is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import chdir
from pathlib import Path

import killing
import pytest
import ranks

import ostrich
from ostrich.cli.main import run
from ostrich.errors import InputError
from ostrich.runtime.executors import computing_on
from ostrich.runtime.resumable import mapped

ray = pytest.importorskip("ray", reason="needs the extra `cluster`: make test-cluster")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Ray's own, and its sockets that are left open
]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Two workers of one thread, as many as this process has in tests."""
    source = str(Path(ostrich.__file__).parents[1])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = source + os.pathsep + (before or "")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()
    os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


@pytest.mark.parametrize("task", ["attack", "explain", "check", "generate-evaluate"])
def test_a_cluster_leaves_what_one_process_leaves(task, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ranks.runner, "MOST_IMAGES", ranks.BATCH)
    folders = [tmp_path / "alone", tmp_path / "cluster"]
    with chdir(tmp_path):
        assert not task.startswith("generate") or run(ranks.GENERATE) == 0
    for folder, more in zip(folders, ([], ["--on", "ray"])):
        folder.mkdir()
        with chdir(folder):
            assert run([*ranks.COMMANDS[task], *more]) == 0
    assert "one process computes" not in capsys.readouterr().err
    assert killing.outcome(folders[1] / "out") == killing.outcome(folders[0] / "out")


def test_a_killed_worker_costs_its_piece(tmp_path):
    killed: list[int] = []

    def kill() -> None:
        limit = time.monotonic() + 60
        while not killed and time.monotonic() < limit:
            for process in Path("/proc").glob("[0-9]*"):
                if busy(process) and (tmp_path / "begun").exists():
                    os.kill(int(process.name), signal.SIGKILL)
                    killed.append(int(process.name))
                    return
            time.sleep(0.02)

    def slow(item: int) -> dict[str, int]:
        (tmp_path / "begun").touch()
        time.sleep(0.5)
        return {"value": item * item}

    killer = threading.Thread(target=kill)
    killer.start()
    from ostrich.runtime.executors.ray import RayTasks

    with computing_on(RayTasks()):
        found = [content["value"] for content in mapped(slow, range(8))]
    killer.join()
    assert found == [number * number for number in range(8)]
    assert len(killed) == 1


def busy(process: Path) -> bool:
    """Whether a process is a worker at a task: Ray names it after the function."""
    try:
        return (process / "cmdline").read_bytes().startswith(b"ray::_task")
    except OSError:
        return False


def test_an_error_on_the_cluster_is_that_of_the_command():
    from ostrich.runtime.executors.ray import RayTasks

    def fails(item: int) -> dict[str, int]:
        raise InputError(f"{item} is too many.")

    with computing_on(RayTasks()), pytest.raises(InputError, match="is too many"):
        list(mapped(fails, range(3)))
