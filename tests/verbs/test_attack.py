"""`ostrich.attack`: the calls of a PyTorch user, the same as the command, and bad input answered."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import nets
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

import ostrich
from ostrich.attacks import EOT, PGD, Dazzle, FoolingAscent, Universal
from ostrich.attacks.camouflage.faces import read_faces
from ostrich.attacks.engine import evidence
from ostrich.attacks.fitted.artefact import load_artefact
from ostrich.cli.main import run
from ostrich.errors import InputError, OstrichError
from ostrich.images import read_png
from ostrich.models.detectors import open_detector
from ostrich.verbs.attack import input_specific
from ostrich.verbs.inputs import as_dataset

DETECTOR = "detector:viola-jones"
LARGE = 8 / 255


@pytest.fixture(scope="module")
def digits() -> tuple[ostrich.Classifier, Tensor, Tensor]:
    samples = ostrich.data.load(ostrich.data.open_data("digits"), size=(8, 8), channels=1, limit=24)
    assert samples.labels is not None
    return ostrich.load("zoo:digits-cnn"), samples.images(), samples.labels


class Items(Dataset):
    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], self.labels[i]


def loader(images, labels, **options) -> DataLoader:
    return DataLoader(Items(images, labels), **{"batch_size": 4} | options)


def test_a_file_whose_name_is_no_text(tmp_path):
    """It ended the command when its work was done."""
    file = bytes(tmp_path) + b"/caf\xe9.png"
    try:
        os.close(os.open(file, os.O_CREAT))
    except OSError:
        pytest.skip("the file system takes none")
    Image.new("L", (8, 8), 90).save(os.fsdecode(file), "png")
    out = tmp_path / "out"
    assert run(["attack", "fgsm", "zoo:digits-cnn", os.fsdecode(file), "--out", str(out)]) == 0
    (row,) = csv.DictReader((out / "images.csv").read_text(encoding="utf-8").splitlines())
    assert row["file"].endswith(r"caf\udce9.png")
    words = ["check", "zoo:digits-cnn", os.fsdecode(file), "--only", "clean", "--images", "1"]
    assert run([*words, "--out", str(tmp_path / "checked")]) == 0


def folder_of(path: str | Path) -> dict[str, object]:
    """All files of a run directory but tensors, without times, the command as typed and versions."""
    found: dict[str, object] = {}
    for file in sorted(Path(path).rglob("*")):
        name = str(file.relative_to(path))
        if file.is_dir() or name.startswith("shards/") or file.suffix == ".safetensors" or ".lock" in name:
            continue
        found[name] = file.read_bytes()
    if "metrics.jsonl" in found:
        lines = [json.loads(line) for line in Path(path, "metrics.jsonl").read_text().splitlines()]
        found["metrics.jsonl"] = [{k: v for k, v in line.items() if k != "seconds"} for line in lines]
    content = json.loads(Path(path, "run.json").read_text())
    for name in ("command", "versions", "checksum"):
        content.pop(name, None)
    content["results"].pop("seconds")
    for facts in (content["results"].get("fitted_on"), content["results"].get("archive")):
        if facts:
            facts.pop("seconds", None)
    found["run.json"] = content
    return found


# What a PyTorch user types --------------------------------------------------------------------


def test_a_name_with_settings_is_the_attack_with_them():
    model, images = nets.small(), nets.random_images(6)
    labels = nets.predictions(model, images)
    by_name = ostrich.attack("pgd", model, images, labels, eps=LARGE, steps=5)
    ways = {
        "instance": ostrich.attack(PGD(eps=LARGE, steps=5), model, images, labels),
        "class": ostrich.attack(PGD, model, images, labels, eps=LARGE, steps=5),
        "threat": ostrich.attack(PGD(threat=ostrich.Linf(LARGE), steps=5), model, images, labels),
        "goal": ostrich.attack("pgd", model, images, goal=ostrich.Untargeted(labels), eps=LARGE, steps=5),
        "goal in place of labels": ostrich.attack(
            "pgd", model, images, ostrich.Untargeted(labels), eps=LARGE, steps=5
        ),
        "labels as goal": ostrich.attack("pgd", model, images, goal=labels, eps=LARGE, steps=5),
        "no labels": ostrich.attack("pgd", model, images, eps=LARGE, steps=5),
        "list": ostrich.attack("pgd", model, images, labels.tolist(), eps=LARGE, steps=5),
        "pair": ostrich.attack("pgd", model, (images, labels), eps=LARGE, steps=5),
        "loader": ostrich.attack(
            "pgd", model, DataLoader(TensorDataset(images, labels), 4), eps=LARGE, steps=5
        ),
        "module": ostrich.attack(
            "pgd",
            ostrich.load(model.network, mean=0.5, std=0.25, size=16),
            images,
            labels,
            eps=LARGE,
            steps=5,
        ),
    }
    engine = ostrich.attacks.attack(
        PGD(threat=ostrich.Linf(LARGE), steps=5), model, images, ostrich.Untargeted(labels), labels=labels
    )
    assert by_name.success.any()
    for way, found in {"engine": engine, **ways}.items():
        assert torch.equal(found.images, by_name.images), way
        assert torch.equal(found.success, by_name.success), way


def test_another_norm_is_the_threat_model_of_that_norm():
    model, images = nets.small(), nets.random_images(4)
    found = ostrich.attack(PGD(norm="l2", eps=0.5, steps=5), model, images)
    again = ostrich.attack("pgd", model, images, norm="l2", eps=0.5, steps=5)
    assert found.figures["distance"]["norm"] == "l2"
    assert torch.equal(found.images, again.images)
    distance = (found.images - images).flatten(1).norm(dim=1)
    assert distance.max() <= 0.5 + 1e-3
    assert torch.equal(
        found.images, ostrich.attack(PGD(threat=ostrich.L2(0.5), steps=5), model, images).images
    )


@pytest.mark.parametrize("target", [3, "3"])
def test_a_target_makes_it_targeted(target):
    model, images = nets.small(), nets.random_images(6)
    labels = nets.predictions(model, images)
    found = ostrich.attack("pgd", model, images, labels, target=target, eps=0.2)
    classes = torch.full_like(labels, 3)
    whole = ostrich.attack("pgd", model, images, labels, goal=ostrich.Targeted(classes), eps=0.2)
    assert found.success.any()
    assert torch.equal(found.images, whole.images)
    assert set(nets.predictions(model, found.images[found.success]).tolist()) == {3}


def test_eot_is_a_number_of_views_or_settings():
    model, images = nets.small(), nets.random_images(2)
    number = ostrich.attack("pgd", model, images, steps=2, eps=LARGE, eot=3)
    assert torch.equal(
        number.images, ostrich.attack("pgd", model, images, steps=2, eps=LARGE, eot=EOT(samples=3)).images
    )
    assert number.figures["eot"]["samples"] == 3


def test_a_surrogate_is_followed_and_neither_network_is_changed():
    """A function has no gradients: those of the surrogate are followed, and the network is as it was."""
    teacher, images = nets.small(), nets.random_images(4)
    blind = ostrich.Classifier(teacher.__call__, name="function", size=(16, 16), channels=3)
    plain = ostrich.Classifier(teacher.network, name="twin", size=(16, 16))
    found = ostrich.attack("pgd", blind, images, surrogate=plain, eps=0.2, steps=5)
    assert found.forwards.sum() > 0
    assert (blind.surrogate, blind.access, plain.mean) == (None, "scores", None)
    with pytest.raises(InputError, match="needs gradients"):
        ostrich.attack("pgd", blind, images, eps=0.2, steps=5)


def test_the_names_of_the_contract_are_reachable():
    for name in ("Patch", "Pixels", "Linf", "L2", "L1", "Unbounded", "Targeted", "Untargeted", "Confident"):
        assert getattr(ostrich, name) is getattr(ostrich.attacks, name)
    for kind in ostrich.attacks.ATTACKS.values():
        assert getattr(ostrich.attacks, kind.__name__) is kind
    assert Dazzle().name == "dazzle"


def test_nothing_that_is_returned_prints_tensors(digits):
    model, images, labels = digits
    plain = ostrich.attack("fgsm", model, images, labels)
    fitted = ostrich.attack("universal", model, images, labels, fit=8, epochs=1)
    fooled = ostrich.attack("fooling-ascent", model, target=3, steps=1)
    for shown in (
        *(plain, fitted, fooled, fitted.artefact, plain.goal, plain.question),
        *(ostrich.Targeted(labels), ostrich.Confident(labels, 0.9), ostrich.Untargeted(labels)),
        ostrich.attacks.attack(ostrich.attacks.FGSM(), model, images, ostrich.Untargeted(labels)),
    ):
        assert "tensor" not in repr(shown), type(shown)
        assert len(repr(shown)) < 200
    assert repr(fitted).startswith("<attack-universal: n=16")
    assert "universal" in fitted._repr_html_()
    assert "data:image/png" in fitted._repr_html_()


# Fooling, fitted, camouflage ------------------------------------------------------------------


def test_fooling_makes_a_network_certain_of_noise(digits):
    model = digits[0]
    found = ostrich.attack("fooling-ascent", model, limit=4, confidence=0.95)
    assert found.classes.tolist() == [0, 2, 5, 7]
    assert found.success.all()
    probability = model.predict(found.images).double().softmax(1).gather(1, found.classes[:, None])
    assert probability.min() >= 0.95
    one = ostrich.attack(FoolingAscent(), model, target="7", confidence=0.95)
    assert torch.equal(one.images, found.images[3:])
    assert one.picture is not None
    assert one.picture.exists()


def test_without_a_limit_fooling_is_for_every_class(digits):
    assert ostrich.attack("fooling-ascent", digits[0], steps=1).classes.tolist() == list(range(10))


def test_a_fitted_attack_is_judged_on_what_it_was_not_fitted_on(digits):
    model, images, labels = digits
    other = nets.small(channels=1, num_classes=10, size=(8, 8))
    found = ostrich.attack(
        "universal", model, images, labels, fit=8, epochs=3, eps=0.4, also=[other, "zoo:digits-cnn"]
    )
    assert (found.figures["n"], found.figures["fitted_on"]["n"], len(found.images)) == (16, 8, 16)
    held_out = list(found.index)
    assert torch.equal(found.originals, images[held_out])
    assert torch.equal(found.labels, labels[held_out])
    expected = (images[held_out] + found.artefact.tensors["perturbation"]).clamp(0, 1)
    assert (found.images - expected).abs().max() <= 0.5 / 255 + 1e-6
    changed = model.predict(found.images).argmax(1) != model.predict(found.originals).argmax(1)
    assert found.figures["fooling_rate"] == pytest.approx(changed.double().mean().item())
    assert found.figures["transfer"]["zoo:digits-cnn"] == found.figures["fooling_rate"]
    theirs = other.predict(found.images).argmax(1) != other.predict(found.originals).argmax(1)
    assert found.figures["transfer"]["small"] == pytest.approx(theirs.double().mean().item())


def test_an_artefact_is_applied_as_it_is_or_from_its_file(digits, tmp_path):
    model, images, labels = digits
    found = ostrich.attack(Universal(fit=8, epochs=2), model, images, labels)
    found.artefact.save(tmp_path / "mine.safetensors")
    ways = (found.artefact, str(tmp_path / "mine.safetensors"), tmp_path / "mine.safetensors")
    for artefact in ways:
        again = ostrich.attack("universal", model, images, labels, artefact=artefact)
        assert torch.equal(again.images, found.images)
        assert again.index == found.index
        assert again.figures["left_out"] == 8
    loaded = load_artefact(tmp_path / "mine.safetensors", Universal)
    assert (loaded.digest(), repr(loaded)) == (found.artefact.digest(), repr(found.artefact))


def test_two_networks_of_one_name_are_told_apart(digits):
    model, images, labels = digits
    twins = [nets.small(seed, channels=1, num_classes=10, size=(8, 8)) for seed in (0, 1)]
    found = ostrich.attack("universal", model, images, labels, fit=8, epochs=1, also=twins)
    assert list(found.figures["transfer"]) == ["small", "small-2"]


@pytest.fixture(scope="module")
def hidden() -> object:
    pytest.importorskip("cv2")
    pytest.importorskip("cma")
    settings = {"eps": 0.1, "views": 1, "generations": 1, "starts": 1, "population": 4}
    return ostrich.attack(Dazzle(**settings), DETECTOR, "faces", limit=8)


def test_dazzle_hides_faces_from_a_detector(hidden):
    assert hidden.figures["n"] == len(hidden.success) == 2
    files = sorted((hidden.folder / "images").glob("*-adversarial.png"))
    boxes = [open_detector(DETECTOR).boxes((read_png(f)[0] * 255).round().byte().numpy()) for f in files]
    assert [not found for found in boxes] >= hidden.success.tolist()
    again = ostrich.attack("dazzle", open_detector(DETECTOR), "faces", artefact=hidden.artefact, limit=8)
    assert torch.equal(again.success, hidden.success)


def test_pictures_of_ones_own_hold_the_same_face(tmp_path):
    """A photograph as a tensor, as a file, and in a data set."""
    pytest.importorskip("cv2")
    astronaut = ostrich.data.open_data("faces:astronaut")
    astronaut.read(0).save(tmp_path / "face.png")
    tensor = ostrich.data.load(astronaut, size=(512, 512)).images()
    detector = open_detector(DETECTOR)
    found = [
        read_faces(as_dataset(data), detector, None, 0, skip_bad=False).faces[0]
        for data in (tensor, str(tmp_path / "face.png"), astronaut)
    ]
    assert len({(one.box, one.key) for one in found}) == 1
    assert torch.equal(found[0].picture, tensor[0])


# The command ----------------------------------------------------------------------------------

COMMANDS = {
    "pgd": (
        "attack pgd zoo:digits-cnn digits --set eps=16/255 --set steps=3",
        lambda **more: ostrich.attack("pgd", "zoo:digits-cnn", "digits", eps=16 / 255, steps=3, **more),
    ),
    "targeted": (
        "attack fgsm zoo:digits-cnn digits --target random",
        lambda **more: ostrich.attack("fgsm", "zoo:digits-cnn", "digits", target="random", **more),
    ),
    "fooling": (
        "attack fooling-cppn zoo:digits-cnn --set confidence=0.9 --set generations=3 --set population=8",
        lambda **more: ostrich.attack(
            "fooling-cppn", "zoo:digits-cnn", confidence=0.9, generations=3, population=8, **more
        ),
    ),
    "fitted": (
        "attack universal zoo:digits-cnn digits --set fit=4 --set epochs=2 --also zoo:digits-cnn",
        lambda **more: ostrich.attack(
            "universal", "zoo:digits-cnn", "digits", fit=4, epochs=2, also="zoo:digits-cnn", **more
        ),
    ),
    "dazzle": (
        f"attack dazzle {DETECTOR} faces --set views=1 --set generations=1 --set starts=1 --set population=4",
        lambda **more: ostrich.attack(
            "dazzle", DETECTOR, "faces", views=1, generations=1, starts=1, population=4, **more
        ),
    ),
}


@pytest.mark.parametrize("which", COMMANDS)
def test_the_verb_is_the_command(which, tmp_path, monkeypatch):
    """The same results and files, from the beginning or saved afterwards."""
    if which == "dazzle":
        pytest.importorskip("cv2")
        pytest.importorskip("cma")
    monkeypatch.chdir(tmp_path)
    words, call = COMMANDS[which]
    assert run([*words.split(), "--limit", "8", "--out", "command"]) == 0
    found = call(limit=8, out="verb")
    assert found.folder == Path("verb")
    saved = call(limit=8)
    assert saved.save("saved") == Path("saved")
    command = folder_of("command")
    assert len(command) > 4
    for other in ("verb", "saved"):
        content = folder_of(other)
        assert content.keys() == command.keys(), other
        for name, value in command.items():
            assert content[name] == value, (other, name)
    with pytest.raises(OstrichError, match="finished run"):
        saved.save("saved")
    saved.save("saved", force=True)
    assert folder_of("saved").keys() == command.keys()


def test_a_new_folder_under_runs_is_one_word(tmp_path, monkeypatch, digits):
    monkeypatch.chdir(tmp_path)
    found = ostrich.attack("fgsm", *digits, out="runs/*")
    assert found.folder.parent == Path("runs")
    assert json.loads((found.folder / "run.json").read_text())["finished"]


def test_a_temporary_folder_goes_with_its_result(digits):
    found = ostrich.attack("fooling-ascent", digits[0], limit=1, steps=1)
    folder = found.folder
    assert (folder / "gallery.png").exists()
    del found
    assert not folder.exists()


# Images of one's own --------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["tensor", "pair", "loader"])
def test_images_beside_the_8_bit_grid_are_brought_to_it_and_that_is_said(form, tmp_path):
    """Files are rounded: else every pixel counts as changed, and a change of one is none."""
    model, files = nets.small(), nets.random_images(3)
    images = (files + 0.3 / 255).clamp(0, 1)
    labels = nets.predictions(model, files)
    given = {
        "tensor": (images, labels),
        "pair": ((images, labels),),
        "loader": (DataLoader(TensorDataset(images, labels), batch_size=2),),
    }[form]
    found = ostrich.attack(
        "one-pixel", model, *given, eps=20, population=20, generations=3, out=tmp_path / "a"
    )
    same = ostrich.attack("one-pixel", model, files, labels, eps=20, population=20, generations=3)
    torch.testing.assert_close(found.originals, files)
    assert torch.equal(found.success, same.success)
    assert found.success.any()
    said = json.loads((tmp_path / "a/run.json").read_text())["data"]
    assert said["rounded"].startswith("3 of 3 images were not on the 8-bit grid")
    near = ostrich.attack("pgd", model, images, labels, norm="l2", eps=0.25, out=tmp_path / "b")
    assert (near.distance[near.success] <= 0.25 * (1 + 1e-6)).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_images_on_the_grid_stay_as_they_are(dtype):
    files = (nets.random_images(3).to(dtype) * 255).round() / 255
    samples = ostrich.data.Samples.of(files)
    assert torch.equal(samples.images(), files)
    assert not samples.remarks


def test_images_that_require_a_gradient_are_as_others():
    model, images = nets.small(), nets.random_images(2)
    wanted = ostrich.attack("lbfgs", model, images, constants=2, iterations=2)
    found = ostrich.attack("lbfgs", model, images.clone().requires_grad_(), constants=2, iterations=2)
    assert torch.equal(found.images, wanted.images)
    assert not found.originals.requires_grad


SMALL = nets.random_images(4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (SMALL.movedim(1, -1), r"look like \(N, H, W, C\): images.permute\(0, 3, 1, 2\)"),
        (SMALL[:, :2], r"takes images \(N, 3, H, W\); got \(N, 2, 16, 16\)\.$"),
        (SMALL[:, [0, 1, 2, 0]], r"got \(N, 4, 16, 16\)"),
        (loader(SMALL, "abcd"), "Labels are class numbers"),
        (loader(SMALL, torch.eye(4)), "Labels are class numbers"),
        (loader(SMALL, range(4), batch_size=None), "batches .* of one size; got .3, 16, 16"),
        (loader([*SMALL[:2], *torch.zeros(2, 3, 8, 8)], range(4), batch_size=2), "batches .* of one size"),
        (loader(SMALL, [0, 1]), "The DataLoader fails: IndexError"),
    ],
)
@pytest.mark.parametrize("verb", ["attack", "explain"])
def test_images_that_do_not_fit_are_refused(verb, given, message):
    model = ostrich.load(nets.small().network, mean=[0.5] * 3, std=[0.5] * 3)
    with pytest.raises(InputError, match=message):
        ostrich.attack("fgsm", model, given) if verb == "attack" else ostrich.explain(
            "gradient", model, given
        )


def test_labels_of_a_loader_may_be_lists():
    model = nets.small()
    labels = nets.predictions(model, SMALL).tolist()

    def together(items):
        return torch.stack([image for image, _ in items]), [label for _, label in items]

    found = ostrich.attack("fgsm", model, loader(SMALL, labels, batch_size=3, collate_fn=together), eps=LARGE)
    assert torch.equal(found.success, ostrich.attack("fgsm", model, SMALL, labels, eps=LARGE).success)


# Bad input ------------------------------------------------------------------------------------

NOTHING = object()
BAD = {
    "no attack": ((3, "small", "images"), {}, "An attack is a name"),
    "no attack class": ((dict, "small", "images"), {}, "An attack is a name"),
    "misspelt": (("pdg", "small", "images"), {}, "Did you mean pgd"),
    "setting": (("pgd", "small", "images"), {"stpes": 3}, "Did you mean steps"),
    "setting of an instance": ((PGD(), "small", "images"), {"steps": 3}, r"PGD\(steps=...\)"),
    "type of a setting": (("pgd", "small", "images"), {"steps": "many"}, "steps"),
    "type of eps": (("pgd", "small", "images"), {"eps": "8/255"}, "eps"),
    "norm": (("pgd", "small", "images"), {"norm": "l7"}, "l7"),
    "threat": (("pgd", "small", "images"), {"threat": 8 / 255}, "threat is a threat model"),
    "patch": (("patch", "small", "images"), {"eps": "a tenth"}, "a tenth"),
    "no images": (("pgd", "small"), {}, "pgd needs DATA: a tensor of images"),
    "images of another type": (("pgd", "small", 5), {}, "Images are a tensor .* got int"),
    "empty": (("pgd", "small", torch.zeros(0, 3, 16, 16)), {}, "at least one image"),
    "empty for a fitted one": (
        ("universal", "small", torch.zeros(0, 3, 16, 16), []),
        {},
        "at least one image",
    ),
    "array": (("pgd", "small", NOTHING), {}, "got object"),
    "range": (("pgd", "small", torch.full((1, 3, 16, 16), 7.0)), {}, r"\[0, 1\]"),
    "model": (("pgd", 5, "images"), {}, "A model is a torch.nn.Module"),
    "labels": (("pgd", "small", "images", "cat"), {}, "Labels are class numbers"),
    "too few labels": (("pgd", "small", "images", [1]), {}, "one for each of 2 images"),
    "label of no class": (("pgd", "small", "images", [1, 7]), {}, "classes 0 to 4"),
    "float labels": (("pgd", "small", "images", [0.5, 1.5]), {}, "class numbers"),
    "labels twice": (("pgd", "small", "images", [1, 2]), {"goal": [1, 2]}, "twice"),
    "goal": (("pgd", "small", "images"), {"goal": 5}, "a goal is ostrich.Untargeted"),
    "goal and target": (
        ("pgd", "small", "images"),
        {"goal": ostrich.Untargeted(torch.tensor([0, 1])), "target": 3},
        "not both",
    ),
    "target": (("pgd", "small", "images"), {"target": "cat"}, "cat"),
    "targets": (("pgd", "small", "images"), {"target": torch.tensor([1, 2])}, "ostrich.Targeted"),
    "eot": (("pgd", "small", "images"), {"eot": "three"}, "eot is a number"),
    "limit": (("pgd", "small", "images"), {"limit": 0}, "limit is a whole number, at least 1"),
    "seed": (("pgd", "small", "images"), {"seed": "zero"}, "seed is a whole number"),
    "precision": (("pgd", "small", "images"), {"precision": "bf16"}, "fast or exact"),
    "artefact of none": (("pgd", "small", "images"), {"artefact": "x"}, "leaves no artefact"),
    "also of none": (("pgd", "small", "images"), {"also": "zoo:digits-cnn"}, "leaves none"),
    "eot of a fitted one": (("universal", "small", "images"), {"eot": 3}, "is fitted on many"),
    "goal of a fitted one": (
        ("universal", "small", "images"),
        {"goal": ostrich.Targeted(torch.tensor([0, 1]))},
        "one class for all",
    ),
    "random target": (("universal", "small", "images"), {"target": "random"}, "one class for all"),
    "missing artefact": (("universal", "small", "images"), {"artefact": "none"}, "There is no artefact"),
    "no artefact": (("universal", "small", "images"), {"artefact": 5}, "An artefact is the file"),
    "settings of an artefact": (
        ("universal", "small", "images"),
        {"artefact": "a", "fit": 3},
        "belong to fitting",
    ),
    "instance and artefact": ((Universal(), "small", "images"), {"artefact": "a"}, "name or class"),
    "images for noise": (("fooling-ascent", "small", "images"), {}, "starts from noise"),
    "confidence": (("fooling-ascent", "small"), {"confidence": 1}, "between 0 and 1"),
    "confidence of another": (("pgd", "small", "images"), {"confidence": 0.9}, "confidence"),
    "random class": (("fooling-ascent", "small"), {"target": "random"}, "is said of an image"),
    "noise and skip_bad": (("fooling-ascent", "small"), {"skip_bad": True}, "skip_bad is of no use"),
    "no detector": (("dazzle", "small", "images"), {}, "hides faces from a detector: detector:viola-jones"),
    "detector": (("dazzle", "detector:viola", "faces"), {}, "Did you mean detector:viola-jones"),
    "target of dazzle": (("dazzle", DETECTOR, "faces"), {"target": 1}, "takes no target"),
    "labels of dazzle": (("dazzle", DETECTOR, "faces", [1]), {}, "takes no labels"),
    "also of dazzle": (("dazzle", DETECTOR, "faces"), {"also": "detector:cnn"}, "leave `also` out"),
    "surrogate of dazzle": (("dazzle", DETECTOR, "faces"), {"surrogate": "zoo:x"}, "none are needed"),
    "nothing for dazzle": (("dazzle", DETECTOR), {}, "needs DATA"),
    "detector for pgd": (("pgd", DETECTOR, "images"), {}, "ostrich attack dazzle"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_answered_with_what_is_taken(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "dazzle" in what or "detector" in what:
        pytest.importorskip("cv2")
        pytest.importorskip("cma")
    given, options, sentence = BAD[what]
    known = {"small": nets.small(), "images": nets.random_images(2)}
    values = [known.get(one, one) if isinstance(one, str) else one for one in given]
    with pytest.raises(InputError, match=sentence):
        ostrich.attack(*values, out="bad", **options)
    assert not Path("bad").exists()


def test_what_holds_no_face_is_answered_or_left_out(tmp_path):
    pytest.importorskip("cv2")
    pytest.importorskip("cma")
    with pytest.raises(InputError, match="finds no face in images"):
        ostrich.attack("dazzle", DETECTOR, torch.full((1, 1, 100, 100), 0.5))
    Image.new("L", (100, 100), 128).save(tmp_path / "blank.png")
    ostrich.data.open_data("faces:astronaut").read(0).save(tmp_path / "face.png")
    files = as_dataset([tmp_path / "blank.png", tmp_path / "face.png"])
    found = read_faces(files, open_detector(DETECTOR), None, 0, skip_bad=True)
    assert ([Path(face.name).name for face in found.faces], len(found.facts["skipped"])) == (["face.png"], 1)


def test_of_many_images_the_files_hold_the_result_and_lie_by_thousand(tmp_path, digits, monkeypatch):
    model, images, labels = digits
    whole = ostrich.attack("pgd", model, images, labels, eps=0.1, steps=5, out=tmp_path / "few")
    monkeypatch.setattr(input_specific, "HELD", 100)
    monkeypatch.setattr("ostrich.images.THOUSAND", 10)
    found = ostrich.attack("pgd", model, images, labels, eps=0.1, steps=5, out=tmp_path / "many")
    assert isinstance(whole.images, Tensor)
    assert isinstance(found.images, evidence.FileImages)
    assert torch.equal(found.images[:], whole.images)
    assert torch.equal(found.originals[:], whole.originals)
    assert torch.equal(found.success, whole.success)
    assert {path.name for path in (tmp_path / "many/images").iterdir()} == {"000", "001", "002"}
    assert (tmp_path / "many/images/002/00023-clean.png").exists()
    few, many = (
        list(csv.DictReader((tmp_path / name / "images.csv").read_text().splitlines()))
        for name in ("few", "many")
    )
    for one, other in zip(few, many, strict=True):
        number = int(other["index"]) // 10
        for column in ("clean_file", "adversarial_file"):
            assert other[column] == one[column].replace("images/", f"images/{number:03d}/")
    found.save(tmp_path / "copy")
    assert folder_of(tmp_path / "copy").keys() == folder_of(tmp_path / "many").keys()
