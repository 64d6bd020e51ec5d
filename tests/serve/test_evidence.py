"""What is saved on the page holds for someone who has the files, the weights, and no Ostrich."""

from __future__ import annotations

import zipfile
from fractions import Fraction
from pathlib import Path

import pytest
import reread

import ostrich
from tests.serve.conftest import asked, playground_of

pytestmark = [pytest.mark.shared, pytest.mark.slow]
ATTACKS = ("pgd", "fgsm", "mim", "deepfool", "ddn", "square", "one-pixel")
LINF = ("pgd", "fgsm", "mim", "square")


def test_every_saved_failure_holds(shared: Path, tmp_path: Path) -> None:
    weights = str(shared / "weights" / "resnet20-cifar10.th")
    with zipfile.ZipFile(shared / "data" / "cifar10-jpeg.zip") as archive:
        chosen = [name for name in archive.namelist() if name.startswith("test/") and "/000" in name]
        archive.extractall(tmp_path, chosen)
    network = ostrich.load(
        "arch:resnet20,classes=10",
        weights=weights,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        size=32,
    )
    playground = playground_of(tmp_path, [network], f"folder:{tmp_path}/test", limit=40)
    plain = reread.network("resnet20", weights)
    saved = []
    for number, attack in enumerate(ATTACKS * 2):
        budget = {"eps": 8 / 255} if attack in LINF else {}
        events = asked(playground, "turn", image=f"d{number}", attack=attack, **budget)
        saved += [(events[-1]["made"], attack)] if events[-1]["success"] else []
    for number, event in enumerate(asked(playground, "budgets", image="d20")):
        saved += [(event["made"], f"budget {number}")] if event["success"] else []
    for kind in ("universal", "patch"):
        wish = {"attack": kind, "epochs": 5}
        asked(playground, "fit", **wish)
        for number in range(40):
            laid = asked(playground, "lay", image=f"d{number}", fitted=wish, down=0.3, right=0.6)[-1]
            saved += [(laid["made"], kind)] if laid["success"] else []
    assert {attack for _, attack in saved} >= {*ATTACKS, "universal", "patch"}
    for made, attack in saved:
        folder = playground.save(made)
        counts = reread.count(folder, plain, Fraction("8/255") if attack in LINF else None)
        assert counts["images"] == counts["claimed"] == counts["held"] == 1, attack
