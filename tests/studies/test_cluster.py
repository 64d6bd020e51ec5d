"""The Ray executor on a local cluster of two workers, one of which is killed."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

import ostrich
from ostrich.cli.main import run
from ostrich.runtime.executors import Here
from ostrich.studies import find
from ostrich.studies.trials import run_trials


def busy(process: Path) -> bool:
    """Whether a process is a worker at a trial: Ray names it after the function."""
    try:
        return (process / "cmdline").read_bytes().startswith(b"ray::_task")
    except OSError:
        return False


@pytest.mark.filterwarnings("ignore")  # Ray's own, and its sockets that are left open
def test_trials_on_two_workers_one_of_which_is_killed(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="needs the extra `cluster`")
    from ostrich.runtime.executors.ray import RayTasks

    source = str(Path(ostrich.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", source + os.pathsep + os.environ.get("PYTHONPATH", ""))
    study = find("gradients")
    spec = replace(study.spec("smoke"), depth=400, gains=(1.0,), seeds=3)
    expected = run_trials(study, spec, tmp_path / "a", Here())
    killed: list[int] = []

    def watch(done: int, total: int) -> None:
        """Kill a worker that is at a trial, after the first one is done."""
        for process in Path("/proc").glob("[0-9]*") if done and not killed else ():
            if busy(process):
                os.kill(int(process.name), signal.SIGKILL)
                killed.append(int(process.name))
                return

    found = run_trials(study, spec, tmp_path / "b", RayTasks(workers=2), watch)
    assert not found.failed
    assert [one.rows for one in found.done] == [one.rows for one in expected.done]
    assert len(killed) == 1
    assert not ray.is_initialized()


def test_without_ray_the_command_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    assert run(["study", "gradients", "--scale", "smoke", "--executor", "ray"]) == 2
    assert "pip install 'ostrich-vision[cluster]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [["attack", "pgd"], ["explain", "gradient"], ["certify"], ["check"]],
    ids=lambda words: words[0],
)
def test_without_ray_no_command_begins_there(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    data = ["zoo:digits-cnn", "digits", "--limit", "8", "--on", "ray"]
    more = ["--images", "8"] if words == ["check"] else []
    more += ["--method", "smoothing"] if words == ["certify"] else []
    assert run([*words, *data, *more]) == 2
    assert "pip install 'ostrich-vision[cluster]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["attack", "pgd", "--on", "cloud"], "Unknown place to compute 'cloud'. Known: local, ray"),
        (["attack", "universal", "--on", "ray"], "universal is computed by one process"),
        (["check", "--on", "ray"], "takes --images N"),
    ],
    ids=["place", "fitted", "minutes"],
)
def test_what_cannot_be_computed_elsewhere_is_refused(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name = words[:2] if words[0] == "attack" else words[:1]
    assert run([*name, "zoo:digits-cnn", "digits", "--limit", "8", *words[len(name) :]]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
