"""Printed images: the camera against what is known of it, and every figure from the files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nets
import pytest
import torch

import ostrich
from ostrich.attacks import EOT, FGSM, Linf, Printed, Targeted, Untargeted
from ostrich.attacks.eot import blurred
from ostrich.attacks.physical.printability import SOLIDS, on_paper
from ostrich.attacks.physical.printed import survival
from ostrich.cli.main import run
from ostrich.images import fingerprints, read_png
from ostrich.runtime.randomness import keyed

PARTS = ("rotation", "scale", "translation", "perspective", "blur", "contrast", "brightness", "noise", "jpeg")
NOTHING = {"paper": False} | dict.fromkeys(PARTS, 0)


def flat(*colour: float) -> torch.Tensor:
    return torch.tensor(colour, dtype=torch.float64).view(1, -1, 1, 1).expand(1, len(colour), 2, 2)


def test_paper_is_white_all_inks_are_black_and_the_rest_is_demichels_mixture():
    black = torch.tensor(SOLIDS[1, 1, 1], dtype=torch.float64) / 255
    assert torch.allclose(on_paper(flat(1, 1, 1)), flat(1, 1, 1))
    assert torch.allclose(on_paper(flat(0, 0, 0)), flat(0, 0, 0))
    half = torch.tensor(SOLIDS[0, 0, 0]) + torch.tensor(SOLIDS[1, 0, 0])  # half cyan
    half = half.double() / 510
    assert torch.allclose(on_paper(flat(0.5, 1, 1))[0, :, 0, 0], (half - black) / (1 - black))
    grey = on_paper(torch.linspace(0, 1, 9, dtype=torch.float64).view(-1, 1, 1, 1))
    assert grey.shape == (9, 1, 1, 1)
    assert (grey.flatten().diff() > 0).all()


def test_contrast_stretches_about_middle_grey():
    x = torch.tensor([0.3, 0.5, 0.7], dtype=torch.float64).view(1, 3, 1, 1)
    views = EOT(samples=50, rotation=0, scale=0, translation=0, brightness=0, contrast=0.5).apply(
        x, [keyed(1)]
    )
    factors = (views[:, 0] - 0.5) / -0.2
    assert torch.allclose(views[:, 1], torch.tensor(0.5, dtype=torch.float64))
    assert torch.allclose((views[:, 2] - 0.5) / 0.2, factors)
    assert 0.5 <= factors.min() < 0.6 < 1.4 < factors.max() <= 1.5


def test_a_blur_does_not_depend_on_its_neighbours():
    x, sigmas = nets.random_images(2, (12, 12), dtype=torch.float64), torch.tensor([0.4, 3.0])
    alone = blurred(x[:1], sigmas[:1], 3.0)
    assert torch.allclose(blurred(x, sigmas, 3.0)[:1], alone, atol=1e-12)


def test_with_a_camera_that_does_nothing_it_is_the_attack_itself():
    model, images = nets.small(), nets.random_images(12)
    goal = Untargeted(nets.predictions(model, images))
    threat = Linf(16 / 255)
    printed = Printed(threat=threat, attack="fgsm", **NOTHING)
    found = ostrich.attacks.attack(printed, model, images, goal)
    plain = ostrich.attacks.attack(FGSM(threat=threat), model, images, goal)
    assert torch.equal(found.images, plain.images)
    assert torch.equal(found.success, plain.success)
    assert plain.success.any()
    said = survival(printed, model, goal, found)
    assert said["destruction_rate"] == {"photograph": 0.0}
    assert said["clean_kept"] == {"photograph": 1.0}
    assert said["n_fooled"] == int(plain.success.sum())


def test_what_the_camera_breaks_by_itself_is_no_success():
    """A network that sees brightness, and a camera that makes some of them brighter by itself."""
    weights = torch.stack([torch.full((3 * 64,), -0.5), torch.full((3 * 64,), 0.5)])
    model = nets.linear(weights, (8, 8), 3, bias=torch.tensor([48.0, -48.0]))  # the boundary is 0.5
    images = nets.random_images(40, (8, 8)) * 0.02 + 0.46
    labels = torch.zeros(40, dtype=torch.int64)
    assert torch.equal(nets.predictions(model, images), labels)
    method = Printed(threat=Linf(16 / 255), attack="fgsm", **{**NOTHING, "brightness": 0.2})
    result = ostrich.attacks.attack(method, model, images, Untargeted(labels))
    keys = fingerprints(images)
    clean, broken = (
        nets.predictions(model, method.photographed(x, keys, 0)) for x in (images, result.images)
    )
    files = nets.predictions(model, result.images)
    assert (files == 1).all()  # the files fool, every one
    assert torch.equal(result.success, (broken == 1) & (clean == 0))
    assert 0 < int(result.success.sum()) < int((broken == 1).sum()) < 40
    assert torch.equal(result.found_by >= 0, result.success)
    said = survival(method, model, Untargeted(labels), result)
    assert said["destruction_rate"] == {
        name: pytest.approx((broken == 0).double().mean().item()) for name in ("photograph", "brightness")
    }
    assert said["clean_kept"]["photograph"] == pytest.approx((clean == 0).double().mean().item())


def test_a_clean_photograph_that_is_neither_its_class_nor_the_target_is_not_kept():
    """Scores by brightness: dark, grey, bright, of which the target is the first."""
    weights = torch.stack([torch.full((3 * 64,), one) for one in (-1.0, 0.0, 1.0)])
    bias = torch.tensor([86.4, 0.0, -105.6])  # the boundaries are 0.45 and 0.55
    model, goal = nets.linear(weights, (8, 8), 3, bias=bias), Targeted(torch.zeros(40, dtype=torch.int64))
    images = nets.random_images(40, (8, 8)) * 0.02 + 0.52
    method = Printed(threat=Linf(16 / 255), attack="fgsm", **{**NOTHING, "brightness": 0.2})
    result = ostrich.attacks.attack(method, model, images, goal)
    seen = nets.predictions(model, method.photographed(images, fingerprints(images), 0))
    assert {0, 1, 2} == set(seen[result.attacked].tolist())
    expected = (seen == 1)[result.attacked].double().mean().item()
    assert survival(method, model, goal, result)["clean_kept"]["photograph"] == pytest.approx(expected)


def test_photographs_are_files_where_their_images_are(tmp_path):
    def files(keep: str) -> tuple[set[str], set[str], list[dict[str, str]]]:
        given = {"keep": keep, "eps": 32 / 255, "iterations": 2, "limit": 12, "out": tmp_path / keep}
        folder = ostrich.attack("printed", "zoo:digits-cnn", "digits", **given).folder
        rows = list(csv.DictReader((folder / "photographs.csv").read_text().splitlines()))
        named = {row[f"{kind}_photograph_file"] for row in rows for kind in ("clean", "adversarial")} - {""}
        lie = {path.relative_to(folder).as_posix() for path in folder.glob("images/*-photograph.png")}
        return named, lie, rows

    for keep in ("all", "failures", "none"):
        named, lie, rows = files(keep)
        hits = sum(row["success"] == "true" for row in rows)
        assert 0 < hits < len(rows)
        assert named == lie
        assert len(lie) == 2 * {"all": len(rows), "failures": hits, "none": 0}[keep]


def test_a_photograph_without_an_answer_is_broken_and_not_class_0():
    model, images = nets.small(), nets.random_images(8)
    labels = nets.predictions(model, images)
    method = Printed(attack="fgsm")
    result = ostrich.attacks.attack(method, model, images, Untargeted(labels))
    silent = ostrich.Classifier(lambda x: torch.full((len(x), 5), torch.nan), channels=3, size=(16, 16))
    said = survival(method, silent, Untargeted(torch.zeros_like(labels)), result)
    assert set(said["destruction_rate"].values()) == {0.0}
    assert set(said["clean_kept"].values()) == {0.0}


def test_the_command_leaves_files_that_give_its_figures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["zoo:digits-cnn", "digits", "--limit", "24", "--set", "eps=48/255", "--set", "iterations=4"]
    words += ["--set", "noise=0.2", "--set", "rotation=20"]
    assert run(["attack", "printed", *words, "--out", "out"]) == 0
    results = json.loads(Path("out/run.json").read_text())["results"]
    rows, digital_rows = (
        list(csv.DictReader(Path("out", name).read_text().splitlines()))
        for name in ("photographs.csv", "images.csv")
    )
    images = {row["index"]: row for row in digital_rows}
    model = ostrich.load("zoo:digits-cnn")

    def seen(file: str) -> int:
        return int(model.predict(read_png(Path("out", file))[None]).argmax(1))

    fooled = destroyed = kept = 0
    for row in rows:
        digital = images[row["index"]]
        label = int(digital["label"])
        clean, broken = (seen(row[f"{kind}_photograph_file"]) for kind in ("clean", "adversarial"))
        assert (clean, broken) == (int(row["clean_prediction"]), int(row["adversarial_prediction"]))
        file = seen(digital["adversarial_file"])
        assert row["success"] == digital["success"]
        assert (row["success"] == "true") == (file != label and broken != label and clean == label)
        kept += clean == label
        fooled += file != label
        destroyed += file != label and broken == label
    assert results["n_fooled"] == fooled > destroyed > 0
    assert len(rows) > kept > 0
    assert results["destruction_rate"]["photograph"] == pytest.approx(destroyed / fooled)
    assert results["clean_kept"]["photograph"] == pytest.approx(kept / len(rows))
    parts = {"photograph", "paper", "view", "blur", "contrast", "brightness", "noise", "jpeg"}
    assert set(results["destruction_rate"]) == parts
    assert Path("out/pictures.png").exists()


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("attack=pgdd", "Did you mean pgd"),
        ("iterations=0", "at least 1"),
        ("blur=-1", "blur lies between"),
        ("jpeg=96", "jpeg lies between"),
        ("contrast=2", "contrast lies between"),
        ("norm=l1", "norm of printed"),
    ],
)
def test_bad_settings_end_with_one_sentence(setting, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["attack", "printed", "zoo:digits-cnn", "digits", "--set", setting, "--out", "bad"]
    assert run(words) == 2
    shown = capsys.readouterr().err
    assert sentence in shown, shown
    assert shown.count("\n") == 1
    assert not Path("bad").exists()
