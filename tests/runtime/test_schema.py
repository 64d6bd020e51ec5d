"""run.json's version and form: written, read, and refused in one sentence; and the JSON schemas."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import nets
import pytest
import torch

import ostrich
from ostrich.cli.main import run
from ostrich.errors import InputError
from ostrich.runtime.files import read_json, write_json
from ostrich.runtime.runs import Run, read_run
from ostrich.runtime.schema import SCHEMA, RunFile

ROOT = Path(__file__).parents[2]


def written(folder: Path, **changes: object) -> Path:
    """A finished run, with some fields of its run.json changed; None takes one away."""
    with Run.begin("x", "ostrich x", {"limit": 3}, out=folder) as opened:
        opened.describe(seed=0, device=torch.device("cpu"), data={"name": "d"}, network={"output": "first"})
        opened.finish({"accuracy": 0.5})
    content = read_json(folder / "run.json") | changes
    write_json(folder / "run.json", {name: value for name, value in content.items() if value is not None})
    return folder


def test_a_run_says_its_version_and_has_the_fields_of_its_type(tmp_path):
    content = read_run(written(tmp_path))
    assert content["schema"] == SCHEMA
    assert content.keys() == RunFile.__annotations__.keys()


@pytest.mark.parametrize(
    "gone", [("schema",), ("schema", "command", "asked", "versions", "threads", "seed", "device", "finished")]
)
def test_runs_before_the_count_are_read(tmp_path, gone):
    content = read_run(written(tmp_path, **dict.fromkeys(gone)))
    assert content["results"] == {"accuracy": 0.5}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": SCHEMA + 1}, f"version {SCHEMA + 1} of run.json, and this Ostrich reads versions 0 to"),
        ({"schema": "1"}, "a whole number from 0 up; got '1'"),
        ({"schema": True}, "got True"),
        ({"schema": -1}, "got -1"),
        ({"versions": ["torch"]}, "versions: Input should be a valid dictionary"),
        ({"threads": None}, "threads: Field required"),
        ({"results": [0.5]}, "results: Input should be a valid dictionary"),
        ({"schema": None, "results": 3}, "results: Input should be a valid dictionary"),
        ({"finished": "perhaps"}, "finished: Input should be a valid boolean"),
    ],
)
def test_another_form_is_answered_in_one_sentence(tmp_path, capsys, changes, said):
    folder = written(tmp_path / "run", **changes)
    with pytest.raises(InputError) as error:
        read_run(folder)
    assert said in str(error.value)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)
    digits = ["zoo:digits-cnn", "digits", "--limit", "4"]
    for words in (
        ["compare", str(folder), str(folder)],
        ["check", *digits, "--only", "clean", "--baseline", str(folder), "--out", str(tmp_path / "new")],
        ["attack", "fgsm", *digits, "--out", str(folder)],
    ):
        assert run(words) == 2
        shown = capsys.readouterr().err
        assert said in shown
        assert shown.count("\n") == 1
    assert not (tmp_path / "new").exists()
    assert [path.name for path in folder.iterdir() if path.suffix == ".json"] == ["run.json"]


def test_an_unfinished_run_before_the_count_goes_on(tmp_path):
    model, images = nets.small(), nets.random_images(4)
    data = (images, nets.predictions(model, images))
    whole = ostrich.check(model, data, only="clean,noise", out=tmp_path / "run")
    probes = {path.name: path.read_bytes() for path in (tmp_path / "run/probes").iterdir()}
    content = read_json(tmp_path / "run/run.json") | {"results": None, "finished": False}
    del content["schema"]
    write_json(tmp_path / "run/run.json", content)
    again = ostrich.check(model, data, only="clean,noise", out=tmp_path / "run")
    assert again.figures["probes"] == json.loads(json.dumps(whole.figures["probes"]))
    assert {path.name: path.read_bytes() for path in (tmp_path / "run/probes").iterdir()} == probes
    assert read_run(tmp_path / "run")["schema"] == SCHEMA


def test_a_folder_of_another_version_is_emptied_by_force(tmp_path):
    folder = written(tmp_path, schema=SCHEMA + 1)
    with (
        pytest.raises(InputError, match="install a newer Ostrich"),
        Run.begin("x", "ostrich x", {}, out=folder),
    ):
        pass


def test_the_json_schemas_are_current():
    made = runpy.run_path(str(ROOT / "docs/schemas.py"))
    files = {path.stem: json.loads(path.read_text()) for path in made["FOLDER"].glob("*.json")}
    assert files == {name: made["schema"](name) for name in made["FORMS"]}, "make schemas"
    kinds = files["probe"]["properties"]["blocks"]["items"]["discriminator"]["mapping"]
    assert sorted(kinds) == ["confusions", "curve", "number", "pairs", "pictures", "slider", "table"]
    assert set(files["run"]["required"]) == RunFile.__annotations__.keys() - {"network"}


def test_pydantic_is_imported_only_where_something_is_validated():
    code = "import sys, ostrich, ostrich.cli.main, ostrich.verbs.attack; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
