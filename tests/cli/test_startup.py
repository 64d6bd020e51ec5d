"""What a command imports before it computes: what it does not use costs each call its second."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"matplotlib", "torchvision", "scipy", "skimage", "sklearn", "rich", "jinja2", "timm", "transformers"}
HEAVY |= {"huggingface_hub", "requests", "trimesh", "embreex", "onnx", "onnxruntime", "cv2", "av", "pyarrow"}
OTHERS = {"fitted", "fooling", "camouflage"}  # questions of other kinds of attack
ROOMS = {"attribution", "visualization", "generative", "training", "inspection", "studies", "crashtest"}
RUN = """
import json, os, sys
from ostrich.cli.main import main
try:
    main()
finally:
    print(json.dumps([os.environ.get("OMP_WAIT_POLICY"), sorted(sys.modules)]), file=sys.stderr)
"""


def run(folder: Path, **environment: str) -> tuple[str, list[str]]:
    """The waiting of threads, and the modules at the end, of an attack by fgsm on four images."""
    words = ["attack", "fgsm", "zoo:toybox-resnet20", "toybox", "--limit", "4", "--out", str(folder)]
    given = {name: text for name, text in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words],
        env=given | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    policy, modules = json.loads(done.stderr.splitlines()[-1])
    return policy, modules


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    policy, found = run(tmp_path_factory.mktemp("startup") / "run")
    assert policy == "PASSIVE"  # threads that wait leave the processor to others
    return found


def test_an_attack_imports_no_library_that_it_does_not_use(modules: list[str]) -> None:
    assert "torch" in modules
    assert HEAVY & {name.partition(".")[0] for name in modules} == set()


def test_an_attack_imports_no_other_kind_of_it_and_no_other_room(modules: list[str]) -> None:
    own = [name.split(".") for name in modules if name.startswith("ostrich.")]
    assert ["ostrich", "verbs", "attack", "input_specific"] in own
    assert {name[-1] for name in own if name[:3] == ["ostrich", "verbs", "attack"]} & OTHERS == set()
    assert {name[1] for name in own} & ROOMS == set()
    assert len(own) < 210  # a room more would be dozens


def test_how_threads_wait_is_the_users_to_say(tmp_path: Path) -> None:
    assert run(tmp_path / "run", OMP_WAIT_POLICY="ACTIVE")[0] == "ACTIVE"
