"""`ostrich.explain`: what a PyTorch user has goes in; maps, pages and the command's files come out."""

from __future__ import annotations

import contextlib
from pathlib import Path

import killing
import nets
import pytest
import torch
from goldens import same_runs
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ostrich
from ostrich.attribution import IntegratedGradients, Occlusion, batches, sanity
from ostrich.cli.main import run
from ostrich.errors import InputError, RunExists, UnknownName
from ostrich.images import read_png

IMAGES = nets.random_images(3)


def typed(*words: str) -> None:
    assert run(list(words)) == 0


# What goes in -----------------------------------------------------------------------------------------


def test_a_map_of_a_class_is_the_gradient_times_the_way():
    """Of a linear network integrated gradients are the image times the weights, whatever the steps."""
    weights = torch.randn(4, 3 * 5 * 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model = nets.linear(weights, (5, 5), 3)
    model.class_names = ("dog", "cat", "bird", "fish")
    images = nets.random_images(2, (5, 5), dtype=torch.float64)
    found = ostrich.explain("integrated-gradients", model, images, unit="class:cat", steps=3)
    assert found.maps.shape == (2, 1, 3, 5, 5)
    assert torch.allclose(found.maps[:, 0].double(), images * weights[1].view(3, 5, 5), atol=1e-6)
    assert found.units == [["class:cat"]] * 2
    assert found.figures["settings"] == repr(IntegratedGradients(steps=3))
    assert found.predictions.tolist() == nets.predictions(model, images).tolist()


def test_several_units_and_the_predicted_class():
    model = nets.small()
    several = ostrich.explain("gradient", model, IMAGES, unit=["class:1", "conv1:2", "class:1"])
    assert several.maps.shape == (3, 2, 3, 16, 16)
    assert several.units[0] == ["class:1", "conv1:2"]
    left_out = ostrich.explain("gradient", model, IMAGES)
    predicted = nets.predictions(model, IMAGES)
    assert left_out.units == [[f"class:{k}"] for k in predicted.tolist()]
    x = IMAGES.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(model(x).gather(1, predicted[:, None]).sum(), x)
    assert torch.allclose(left_out.maps[:, 0], expected, atol=1e-6)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("method", ["gradient", "gradcam", "occlusion"])
def test_a_network_in_halves_is_explained_and_checked(method, half, tmp_path):
    units = ["class:1", "layer3.0.conv1:1"]
    found = ostrich.explain(
        method, nets.small(dtype=half), IMAGES, unit=units, sanity=True, out=tmp_path / "run"
    )
    expected = ostrich.explain(method, nets.small(), IMAGES, unit=units)
    for u in range(2):
        pair = torch.stack([found.maps[:, u].flatten(), expected.maps[:, u].flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.9
    assert found.sanity.fading.deletion_area[method].n == 3


class Unanswering(nn.Module):
    """No answer (NaN) for images that are darker than middle grey."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        dark = x.mean((1, 2, 3)) < 0.5
        return self.head(self.conv(x).mean((2, 3))) * torch.where(dark, torch.nan, 1.0)[:, None]


@pytest.mark.parametrize("method", ["gradient", "gradcam", "occlusion"])
def test_no_answer_is_no_class(method, tmp_path):
    model, (dark, light) = ostrich.load(Unanswering(), size=16), (IMAGES * 0.4, 0.6 + IMAGES * 0.4)
    images = torch.stack([light[0], dark[1], light[2]])
    found = ostrich.explain(method, model, images, sanity=method == "gradient", out=tmp_path / "run")
    assert found.predictions.tolist() == [int(model.predict(light[:1]).argmax()), -1, found.predictions[2]]
    assert found.units[1] == ["class:no answer"]
    assert found.maps[1].isnan().all()
    assert found.maps[[0, 2]].isfinite().all()
    assert found.figures["explanations"][1]["largest"] is None
    assert any("1 of 3 images got no answer" in said for said in found.remarks)
    assert (found.sanity is None) == (method != "gradient")
    assert found.sanity is None or found.sanity.images == 2
    named = ostrich.explain(method, model, images, unit="class:1")
    assert not named.maps[1].isfinite().all()
    assert any("1 of 3 maps hold values that are not finite" in said for said in named.remarks)
    assert any("1 of 3 images got no answer" in said for said in named.remarks)


class Noisy(nn.Module):
    """Another answer at each call."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        x = x + 0.1 * torch.randn_like(x)
        return self.head(self.conv(x).relu().mean((2, 3)))


@pytest.mark.parametrize("method", ["gradient", "gradcam", "occlusion"])
def test_random_answers_are_averaged_and_the_seed_decides(method):
    def found(images=IMAGES, draws=None, **asked):
        model = ostrich.load(Noisy(), size=16, draws=draws)
        return ostrich.explain(method, model, images, unit="class:1", **asked)

    several = found()
    assert "Answers are random: every map is the mean over 20 draws, by the seed." in several.remarks
    torch.manual_seed(7)  # torch's own numbers decide nothing
    assert torch.equal(found().maps, several.maps)
    assert torch.equal(found(IMAGES[1:2]).maps[0], several.maps[1])  # nor do the other images
    assert not torch.equal(found(seed=1).maps, several.maps)

    def alike(first, second):
        return torch.corrcoef(torch.stack([first.maps.flatten(), second.maps.flatten()]))[0, 1]

    one, other = (found(draws=2, seed=seed) for seed in (2, 3))
    assert alike(several, found(seed=1)) > alike(one, other)


def test_a_sheet_leaves_out_what_has_no_answer():
    model, images = ostrich.load(Unanswering(), size=16), torch.cat([IMAGES * 0.4, 0.6 + IMAGES * 0.4])
    found = ostrich.explain("sheet", model, images, unit="class:1", steps=2)
    assert sorted(found.sheets[0].places) == [3, 4, 5]
    assert "of 3 images its value is not finite" in found.sentences[0]
    assert found.pages
    with pytest.raises(InputError, match="a finite value for none of the 3 images"):
        ostrich.explain("sheet", model, IMAGES * 0.4, unit="class:1", steps=2)


def test_everything_that_holds_images_gives_the_same():
    model = nets.small()
    expected = ostrich.explain("guided", model, IMAGES, unit="class:0").maps
    labels = torch.tensor([0, 1, 2])
    for images in (
        (IMAGES, labels),
        ostrich.data.Samples.of(IMAGES, labels),
        DataLoader(TensorDataset(IMAGES, labels), batch_size=2),
    ):
        assert torch.equal(ostrich.explain("guided", model, images, unit="class:0").maps, expected)
    assert torch.equal(
        ostrich.explain(ostrich.attribution.Guided, model, IMAGES, unit="class:0").maps, expected
    )


def test_a_bare_module_and_a_function_are_taken():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert ostrich.explain("gradcam", module, IMAGES, unit="class:3", layer="1").maps.shape[1:] == (
        *(1, 3, 16, 16),
    )
    found = ostrich.explain(Occlusion(window=8), lambda x: x.mean((2, 3)), IMAGES)
    assert found.maps.any()
    with pytest.raises(InputError, match="only a prediction function"):
        ostrich.explain("gradient", lambda x: x.mean((2, 3)), IMAGES)


@pytest.mark.parametrize(
    ("method", "given", "error", "match"),
    [
        ("gided", {}, UnknownName, "guided"),
        (nn.Linear, {}, InputError, "name, a class, or an instance"),
        (IntegratedGradients(), {"steps": 3}, InputError, r"IntegratedGradients\(steps=\.\.\.\)"),
        ("smoothgrad", {"sample": 3}, UnknownName, "Did you mean samples"),
        ("smoothgrad", {"samples": 2.5}, InputError, r"samples=2\.5: a whole number is expected"),
        ("smoothgrad", {"samples": True}, InputError, "a whole number is expected"),
        ("smoothgrad", {"seed": None}, InputError, "seed is a whole number; got None"),
        ("gradient", {"limit": 2.5}, InputError, r"limit is a whole number, at least 1; got 2\.5"),
        ("gradcam", {"layer": 3}, InputError, "text is expected"),
        ("gradient", {"unit": 3}, InputError, "A unit is a name"),
        ("gradient", {"unit": "class:99"}, UnknownName, "class"),
        ("gradient", {"images": None}, InputError, "Give the images to explain"),
        ("gradient", {"images": IMAGES[:0]}, InputError, "at least one image"),
        ("gradient", {"images": IMAGES * 255}, InputError, r"\[0, 1\]"),
        ("gradient", {"images": 5}, InputError, "Images are a tensor"),
        ("gradient", {"unit": "class:0", "model": 5}, InputError, "got 5"),
        ("sheet", {}, InputError, "A sheet is about a unit"),
        ("sheet", {"unit": "class:0", "sanity": True}, InputError, "sanity checks a method"),
        ("sheet", {"unit": "class:0", "top": 10}, InputError, "1 to 9 images"),
        ("sheet", {"unit": "class:0", "stepz": 3}, UnknownName, "steps"),
    ],
)
def test_bad_input_is_answered(method, given, error, match, tmp_path):
    given = {"model": nets.small(), "images": IMAGES, **given}
    with pytest.raises(error, match=match):
        ostrich.explain(method, given.pop("model"), given.pop("images"), out=tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


# What comes out ---------------------------------------------------------------------------------------


def test_the_verb_writes_what_the_command_writes(tmp_path):
    """With `out`, and saved without it: two images, two units, the checks."""
    command = "explain integrated-gradients zoo:digits-cnn digits --limit 2 --unit class:3 --unit conv2:1"
    typed(*command.split(), "--set", "steps=4", "--sanity", "--out", str(tmp_path / "command"))
    given = {"unit": ["class:3", "conv2:1"], "sanity": True, "limit": 2, "steps": 4}
    verb = ostrich.explain("integrated-gradients", "zoo:digits-cnn", "digits", out=tmp_path / "out", **given)
    same_runs(tmp_path / "command", tmp_path / "out")
    memory = ostrich.explain("integrated-gradients", "zoo:digits-cnn", "digits", **given)
    assert memory.folder is None
    assert memory.save(tmp_path / "saved") == tmp_path / "saved"
    same_runs(tmp_path / "command", tmp_path / "saved")
    assert verb.save(tmp_path / "again") == tmp_path / "again"  # from its files
    same_runs(tmp_path / "command", tmp_path / "again")
    assert torch.equal(memory.maps, verb.maps)
    with pytest.raises(RunExists):
        memory.save(tmp_path / "command")


def test_a_result_says_its_figures_and_no_tensors():
    found = ostrich.explain("guided", nets.small(), IMAGES, unit="class:1")
    assert repr(found).startswith("<explain-guided: explainer=guided, n=3, seconds=")
    shown = found._repr_html_()
    assert "data:image/png;base64," in shown
    assert "tensor(" not in repr(found) + shown
    assert found.remarks == found.sentences == found.figures["remarks"]


def test_sanity_gives_curves_and_sentences():
    model = nets.small()
    found = ostrich.explain("gradient", model, IMAGES, unit="class:1", sanity=True)
    assert isinstance(found.sanity, sanity.Sanity)
    assert found.sanity.pointing is None  # no masks
    assert found.figures["sanity"] == found.sanity.figures()
    alone = sanity.check_sanity(found.question.method, model, found.question.samples, found.units)
    assert alone == found.sanity
    assert found.sentences[-3:] == found.sanity.sentences


def test_the_network_is_left_as_it_was(untouched_network):
    ostrich.explain("guided", untouched_network, IMAGES, sanity=True)
    ostrich.explain("sheet", untouched_network, IMAGES, unit="class:0", steps=2, top=1)


def test_one_batch_of_images_is_alive(monkeypatch):
    """However many there are: those decoded together never exceed a batch."""
    counts: list[int] = []
    original = ostrich.data.Samples.images

    def counted(self, start=0, stop=None):
        found = original(self, start, stop)
        counts.append(len(found))
        return found

    monkeypatch.setattr(ostrich.data.Samples, "images", counted)
    ostrich.explain("gradient", nets.small(), nets.random_images(40), unit="class:1")
    assert sum(counts) == 40
    assert max(counts) == 16


# Sheets -----------------------------------------------------------------------------------------------


def test_a_sheet_gives_pages_and_writes_what_the_command_writes(tmp_path):
    command = "explain sheet zoo:digits-cnn digits --limit 6 --unit conv1 --unit class:3"
    typed(*command.split(), "--set", "steps=2", "--set", "top=2", "--out", str(tmp_path / "command"))
    given = {"unit": ["conv1", "class:3"], "limit": 6, "steps": 2, "top": 2}
    found = ostrich.explain("sheet", "zoo:digits-cnn", "digits", **given)
    assert found.folder is None
    assert len(found.pages) == len(found.sheets) + 1
    assert "conv1" in found.pages
    with Image.open(tmp_path / "command/sheets/016-class-3.png") as page:
        assert page.tobytes() == found.pages["class:3"].tobytes()
    found.save(tmp_path / "saved")
    same_runs(tmp_path / "command", tmp_path / "saved")
    assert "data:image/png;base64," in found._repr_html_()
    ostrich.explain("sheet", "zoo:digits-cnn", "digits", out=tmp_path / "out", **given)
    same_runs(tmp_path / "command", tmp_path / "out")


def test_a_new_folder_is_made_under_runs(tmp_path):
    from ostrich.runtime.runs import NEW

    with contextlib.chdir(tmp_path):
        found = ostrich.explain("gradient", nets.small(), IMAGES, unit="class:1", out=NEW)
        assert found.folder.parent == Path("runs")
        assert read_png(found.picture).shape[0] == 3


def test_an_interrupted_explanation_goes_on_after_its_finished_batches(tmp_path, monkeypatch):
    words = ["explain", "gradient", "zoo:digits-cnn", "digits", "--limit", "40"]
    assert run([*words, "--out", str(tmp_path / "whole")]) == 0
    explained, seen = batches._Explained.__call__, []

    def told(self, given, checkpoint):
        seen.append(len(given))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return explained(self, given, checkpoint)

    monkeypatch.setattr(batches._Explained, "__call__", told)
    assert run([*words, "--out", str(tmp_path / "cut")]) == 130
    assert run([*words, "--out", str(tmp_path / "cut")]) == 0
    assert seen == [16, 16, 16, 8]  # the first batch is found again
    assert killing.outcome(tmp_path / "cut") == killing.outcome(tmp_path / "whole")
    assert not (tmp_path / "cut/shards").exists()


def test_of_many_images_the_files_lie_by_thousand(tmp_path, monkeypatch):
    monkeypatch.setattr("ostrich.images.THOUSAND", 2)
    model = nets.linear(torch.randn(4, 3 * 5 * 5, generator=torch.Generator().manual_seed(0)), (5, 5), 3)
    out = tmp_path / "out"
    ostrich.explain("gradient", model, nets.random_images(3, (5, 5)), out=out)
    assert {path.name for path in (out / "images").iterdir()} == {"000", "001"}
    assert (out / "images/001/00002-clean.png").exists()
    assert len(list((out / "maps/001").glob("00002-*.npy"))) == 1
