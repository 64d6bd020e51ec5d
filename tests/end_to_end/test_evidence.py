"""A run's claims hold for someone who has the files, the weights, and no Ostrich."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import zipfile
from fractions import Fraction
from pathlib import Path

import pytest
import reread

from ostrich.cli.main import run as ostrich_command

pytestmark = pytest.mark.shared
BUDGET = "4/255"


@pytest.fixture(scope="module")
def weights(shared: Path) -> str:
    return str(shared / "weights" / "resnet20-cifar10.th")


@pytest.fixture(scope="module")
def run(shared: Path, weights: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PGD on CIFAR images, two of each class."""
    folder = tmp_path_factory.mktemp("evidence")
    with zipfile.ZipFile(shared / "data" / "cifar10-jpeg.zip") as archive:
        chosen = [name for name in archive.namelist() if name.startswith("test/") and "/000" in name]
        archive.extractall(folder, chosen)
    words = ["attack", "pgd", "arch:resnet20,classes=10", f"folder:{folder}/test", "--weights", weights]
    words += ["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225", "--limit", "20"]
    words += ["--set", f"eps={BUDGET}", "--set", "steps=10", "--out", str(folder / "run")]
    assert ostrich_command(words) == 0
    return folder / "run"


def test_every_claim_holds_without_ostrich(run: Path, weights: str) -> None:
    words = [sys.executable, reread.__file__, str(run), "resnet20", weights, "--linf", BUDGET]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    results = json.loads((run / "run.json").read_text())["results"]
    assert counts["images"] == 20
    assert counts["right"] == round(results["clean_accuracy"] * 20)
    assert counts["held"] == counts["claimed"] == counts["broken"] > 10


@pytest.mark.parametrize("wrong", ["image", "budget"])
def test_a_false_claim_is_found(run: Path, weights: str, wrong: str) -> None:
    with (run / "images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    one = next(row for row in rows if row["success"] == "true")
    file = run / one["adversarial_file"]
    kept, budget = file.read_bytes(), Fraction(BUDGET)
    if wrong == "image":
        file.write_bytes((run / one["clean_file"]).read_bytes())
    else:
        budget -= Fraction("1/255")
    try:
        counts = reread.count(run, reread.network("resnet20", weights), budget)
    finally:
        file.write_bytes(kept)
    assert counts["held"] < counts["claimed"]
