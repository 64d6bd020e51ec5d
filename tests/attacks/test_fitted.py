"""Image-agnostic attacks: closed forms on linear networks, the artefact as a file, the command."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import nets
import numpy as np
import pytest
import torch
from attack_cases import given, short
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from torch import Tensor, nn

import ostrich
from ostrich.attacks import (
    IMAGE_AGNOSTIC,
    L2,
    AdversarialPatch,
    Generator,
    Linf,
    Patch,
    Targeted,
    Universal,
    Untargeted,
)
from ostrich.attacks.engine.problem import Access
from ostrich.attacks.fitted.artefact import Artefact, judge, load_artefact
from ostrich.attacks.fitted.evidence import photographed
from ostrich.attacks.fitted.fitting import Fitting, fit
from ostrich.attacks.fitted.universal_perturbation import smallest_changes
from ostrich.attacks.physical import placement
from ostrich.attacks.physical.printability import SOLIDS, non_printability, printable_colours, total_variation
from ostrich.attacks.physical.printing import read_width, write_pdf
from ostrich.cli.main import run
from ostrich.errors import InputError
from ostrich.images import fingerprints, read_png, rounded
from ostrich.runtime.randomness import keyed

every_attack = pytest.mark.parametrize("name", list(IMAGE_AGNOSTIC))
every_norm = pytest.mark.parametrize(
    ("name", "norm"), [(name, norm) for name, method in IMAGE_AGNOSTIC.items() for norm in method.norms]
)


def predicted(model: ostrich.Classifier, images: Tensor) -> Tensor:
    return model.predict(images).argmax(1)


def artefact_of(method, model, images, target: int | None = None) -> Artefact:
    predictions = predicted(model, images)
    goal = Untargeted(predictions) if target is None else Targeted(torch.full_like(predictions, target))
    found = fit(method, model, images, goal)
    return Artefact(
        method=method,
        tensors=found.tensors,
        shape=tuple(images.shape[1:]),
        seen=torch.tensor(fingerprints(images)),
        target=None if target is None else (target, str(target)),
        facts={"n": len(images)},
    )


# Universal perturbations --------------------------------------------------------------------------


def two_classes(seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[ostrich.Classifier, Tensor]:
    """A linear network of two classes, and the direction in which the second's logit gains."""
    weights = torch.randn(2, 3 * 5 * 4, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return nets.linear(weights, (5, 4), 3), (weights[1] - weights[0]).view(3, 5, 4)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_on_a_linear_network_the_perturbation_is_the_closed_form(norm):
    """Of all changes of a size the best one towards a class is known, whatever the images."""
    model, direction = two_classes()
    images = nets.random_images(8, (5, 4), dtype=torch.float64) * 0.5 + 0.25  # far from 0 and 1: no clamp
    threat, best = {
        "linf": (Linf(0.05), 0.05 * direction.sign()),
        "l2": (L2(0.2), 0.2 * direction / direction.norm()),
    }[norm]
    goal = Targeted(torch.ones(8, dtype=torch.int64))
    found = fit(Universal(threat=threat, epochs=4, batch_size=4, step_size=threat.eps), model, images, goal)
    torch.testing.assert_close(found.tensors["perturbation"], best, rtol=1e-6, atol=1e-9)
    assert (found.epochs, found.backwards, found.forwards) == (4, 32, 40)  # 8 more for the clean logits


def test_white_and_black_pixels_move_as_others_do():
    """They lie at the ends of the range, where a clamp may pass no gradient: nothing would change."""
    model, direction = two_classes()
    images = nets.random_images(8, (5, 4), dtype=torch.float64).round()
    goal = Targeted(torch.ones(8, dtype=torch.int64))
    universal = Universal(threat=Linf(0.05), epochs=2, batch_size=4)
    found = fit(universal, model, images, goal).tensors["perturbation"]
    torch.testing.assert_close(found, 0.05 * direction.sign())
    white = torch.ones(1, 3, 6, 6, dtype=torch.float64, requires_grad=True)
    matrices = torch.eye(3, dtype=torch.float64)[None]
    laid = placement.placed(white, torch.ones(1, 6, 6, dtype=torch.float64), images[:1], matrices, 20)
    assert torch.equal(laid, torch.ones_like(laid))
    (slope,) = torch.autograd.grad(laid.sum(), white)
    assert slope.sum().item() == pytest.approx(laid.numel())


def test_what_is_kept_spends_the_whole_budget_and_mirrored_images_count():
    """Four steps of a tenth of the budget; with mirrored batches they are others."""
    model, images = nets.small(), nets.random_images(16)
    goal = Untargeted(predicted(model, images))

    def kept(threat: Linf | L2, **settings: bool) -> Tensor:
        method = Universal(threat=threat, epochs=1, batch_size=4, **settings)
        return fit(method, model, images, goal).tensors["perturbation"]

    full = kept(Linf(0.05))
    assert ((full.abs() == 0.05) | (full == 0)).all()  # four steps of a tenth are less
    assert (full != 0).double().mean() > 0.5
    assert kept(L2(0.5)).norm().item() == pytest.approx(0.5)
    assert not torch.equal(kept(Linf(0.05)), kept(Linf(0.05), mirror=False))


def test_deepfool_adds_the_way_to_the_boundary():
    """On a linear network the smallest change is gap / |w|^2 w, and 2 % beyond."""
    model, direction = two_classes(3)
    images = nets.random_images(6, (5, 4), dtype=torch.float64) * 0.5 + 0.25
    logits = model(images)
    labels, gap = logits.argmax(1), (logits[:, 1] - logits[:, 0])
    count = torch.zeros(1, dtype=torch.int64)
    access = Access(model, "exact", count.clone(), count.clone())
    access.prepare(images[:1])
    fitting = Fitting(access, images, Untargeted(labels), logits, 0)
    changes = smallest_changes(fitting, images, torch.arange(6))
    exact = -1.02 * gap.view(-1, 1, 1, 1) / direction.square().sum() * direction
    torch.testing.assert_close(changes, exact, rtol=1e-3, atol=1e-6)


def test_deepfool_stops_once_enough_are_fooled():
    model, direction = two_classes(3, torch.float32)
    images = nets.random_images(64, (5, 4)) * 0.1 + 0.45
    images = images[predicted(model, images) == 0][:16]  # one class, so that one change serves all
    assert len(images) == 16
    wide = Universal(threat=L2(9.0), algorithm="deepfool", epochs=9, batch_size=4)
    found = fit(wide, model, images, Untargeted(torch.zeros(16, dtype=torch.int64)))
    moved = (images + found.tensors["perturbation"]).clamp(0, 1)
    assert (predicted(model, moved) == 1).double().mean() >= 0.8
    assert found.epochs < 9
    assert (
        torch.nn.functional.cosine_similarity(
            found.tensors["perturbation"].flatten(), direction.flatten(), dim=0
        )
        > 0.99
    )
    narrow = Universal(threat=L2(1e-4), algorithm="deepfool", epochs=2, batch_size=4)
    assert fit(narrow, model, images, Untargeted(torch.zeros(16, dtype=torch.int64))).epochs == 2


NETWORKS = """
import torch
from torch import nn
def alone(seed):
    g = torch.Generator().manual_seed(seed)
    d = torch.ones(60).scatter(0, torch.randperm(60, generator=g)[:30], -1)  # half of them negative
    layer = nn.Linear(60, 2)
    layer.weight.data, layer.bias.data = torch.stack([-d / 2, d / 2]), torch.tensor([0.5, -0.5])
    return nn.Sequential(nn.Flatten(), layer)
def one(): return alone(0)
def two(): return alone(1)
"""


def test_with_several_victims_one_perturbation_fools_them_all(tmp_path):
    """Two linear networks that look at the same pixels differently: fitted on one, it does not fool both."""
    (tmp_path / "nets.py").write_text(NETWORKS)
    one, two = (ostrich.load(f"{tmp_path}/nets.py:{name}", size=(5, 4)) for name in ("one", "two"))
    images = nets.random_images(8, (5, 4)) * 0.01 + 0.495
    goal = Targeted(torch.ones(8, dtype=torch.int64))

    def reached(victims: str | None) -> list[bool]:
        method = Universal(threat=Linf(0.05), victims=victims, batch_size=8)
        changed = images + fit(method, one, images, goal).tensors["perturbation"]
        return [bool((predicted(model, changed) == 1).all()) for model in (one, two)]

    assert not predicted(one, images).any()
    assert not predicted(two, images).any()
    assert reached(None) == [True, False]
    assert reached(f"{tmp_path}/nets.py:two") == [True, True]


# Without an answer --------------------------------------------------------------------------------


class Unanswered(nn.Module):
    """A linear network; of images whose first value is 1 the answer is NaN, and so is its slope."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(60, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1)) * (0.5 - x[:, 0, 0, :1]).sqrt()


def test_an_image_without_an_answer_takes_the_gradient_from_no_other():
    torch.manual_seed(0)
    model = ostrich.Classifier(Unanswered(), size=(5, 4))
    images = nets.random_images(6, (5, 4)) * 0.25 + 0.2
    images[2, 0, 0, 0] = 1.0
    labels = torch.zeros(6, dtype=torch.int64)

    def gradient(rows: list[int]) -> Tensor:
        count = torch.zeros(1, dtype=torch.int64)
        access = Access(model, "exact", count.clone(), count.clone())
        access.prepare(images[:1])
        fitting, places = Fitting(access, images, Untargeted(labels), images, 0), torch.tensor(rows)
        return fitting.gradient(torch.zeros(3, 5, 4), places, lambda v: images[places] + v, of=6)

    with_it, without = gradient([0, 1, 2, 3, 4, 5]), gradient([0, 1, 3, 4, 5])
    assert without.abs().min() > 0
    torch.testing.assert_close(with_it, without)


@pytest.mark.parametrize("name", ["universal", "generator", "patch"])
def test_images_without_an_answer_are_not_fitted_on(name):
    torch.manual_seed(0)
    model = ostrich.Classifier(Unanswered(), size=(5, 4))
    images = rounded(nets.random_images(24, (5, 4)) * 0.25 + 0.2)
    images[::4, 0, 0, 0] = 1.0
    labels = torch.zeros(24, dtype=torch.int64)
    found = ostrich.attack(name, model, images, labels, eps=0.2, epochs=2)
    silent = [i for i in range(24) if i % 4 == 0]
    held_out = set(found.index)
    assert found.artefact.facts["n"] == len(found.artefact.seen) == 12 - len(set(silent) - held_out)
    assert found.figures["unanswered"] == len(held_out & set(silent)) > 0
    with pytest.raises(InputError, match="no image to fit on that has an answer"):
        ostrich.attack(name, model, images[::4], eps=0.2)


def test_a_photograph_without_an_answer_is_not_class_0(tmp_path):
    model, images = nets.small(), nets.random_images(8)
    method = AdversarialPatch(threat=Patch(0.2), epochs=1, print_width="12cm")
    artefact = artefact_of(method, model, images)
    judged = judge(artefact, model, images, predicted(model, images)).result
    judged = replace(judged, clean_predictions=torch.zeros(8, dtype=torch.int64))  # NaN's argmax
    silent = ostrich.Classifier(lambda x: torch.full((len(x), 5), math.nan), channels=3, size=(16, 16))
    found = photographed(tmp_path, artefact, silent, range(8), judged, 0)
    assert found == {"n": 8, "success_rate": 0.0, "clean_kept": 0.0}


def test_what_the_camera_breaks_by_itself_is_no_success_of_a_patch(tmp_path):
    """A network that sees brightness, a patch that makes images darker, and a camera that may brighten."""
    weights = torch.stack([torch.full((3 * 64,), -0.5), torch.full((3 * 64,), 0.5)])
    model = nets.linear(weights, (8, 8), 3, bias=torch.tensor([48.0, -48.0]))  # the boundary is 0.5
    images = rounded(nets.random_images(40, (8, 8)) * 0.02 + 0.46)
    light = {"brightness": 0.2, "blur": 0.0, "noise": 0.0}
    method = AdversarialPatch(threat=Patch(0.1), place="0.5,0.5", print_width="12cm", **light)
    tensors = {"patch": torch.zeros(3, 8, 8), "mask": torch.ones(1, 8, 8)}
    artefact = Artefact(method=method, tensors=tensors, shape=(3, 8, 8), seen=torch.tensor([5]))
    judged = judge(artefact, model, images, predicted(model, images)).result
    assert judged.attacked.all()
    keys = fingerprints(images)
    alone, patched = (predicted(model, method.photographed(one, images, keys, 0)) for one in ({}, tensors))
    assert 0 < (patched == 1).sum() < (alone == 1).sum() < 40
    found = photographed(tmp_path, artefact, model, range(40), judged, 0)
    assert found == {"n": 40, "success_rate": 0.0, "clean_kept": (alone == 0).double().mean().item()}


def test_a_generator_without_a_budget_changes_nothing():
    model, images = nets.small(), nets.random_images(4)
    for norm in ("linf", "l2"):
        artefact = artefact_of(Generator(norm=norm, eps=0, epochs=2), model, images)
        left = Generator(norm=norm, eps=0).apply(artefact.tensors, images, fingerprints(images), 0)
        assert torch.equal(left, images)


# Learned attackers --------------------------------------------------------------------------------


def bright_and_dark() -> tuple[ostrich.Classifier, Tensor, Tensor]:
    """A linear network of two classes that sees brightness, images of both, and their classes.

    No one change can fool it on both: what brightens the dark ones keeps the bright ones.
    """
    weights = torch.stack([torch.full((3 * 64,), -0.5), torch.full((3 * 64,), 0.5)])
    model = nets.linear(weights, (8, 8), 3, bias=torch.tensor([48.0, -48.0]))
    classes = torch.arange(48) % 2
    images = rounded(nets.random_images(48, (8, 8)) * 0.02 + 0.44 + 0.1 * classes.view(-1, 1, 1, 1))
    assert torch.equal(predicted(model, images), classes)
    return model, images, classes


def test_a_learned_attacker_fools_where_no_universal_perturbation_can():
    model, images, classes = bright_and_dark()
    fooled = {}
    for method in (
        Generator(threat=Linf(24 / 255), epochs=40, batch_size=8),
        Universal(threat=Linf(24 / 255)),
    ):
        artefact = artefact_of(method, model, images[:24])
        fooled[method.name] = judge(artefact, model, images[24:], classes[24:]).fooling_rate
    assert fooled == {"generator": 1.0, "universal": 0.5}


# Patches ------------------------------------------------------------------------------------------


def numbers(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, placement.NUMBERS, dtype=torch.float64, generator=keyed(seed))


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_a_placed_patch_covers_its_area_and_lies_inside(size):
    matrices = placement.homographies(numbers(200), size, 0.08, 30.0, 0.3)
    short = min(size)
    half = torch.tensor([size[1] / short, size[0] / short], dtype=torch.float64)
    corners = torch.tensor([(x, y, 1.0) for x, y in placement.CORNERS], dtype=torch.float64)
    seen = corners @ torch.linalg.inv(matrices).mT  # (200, 4, 3): from the patch into the image
    outline = seen[..., :2] / seen[..., 2:]
    assert (outline.abs() <= half + 1e-9).all()
    x, y = outline.unbind(-1)
    area = (x * y.roll(-1, 1) - y * x.roll(-1, 1)).sum(1) / 2
    torch.testing.assert_close(area / (4 * half.prod()), torch.full_like(area, 0.08))
    assert outline.mean(1).std(0).min() > 0.2  # placements differ


def test_a_patch_with_a_place_lies_there_upright(tmp_path):
    images = torch.full((2, 3, 40, 60), 0.5)
    for place, rows, columns in (("0.5,0.5", (14, 26), (24, 36)), ("0,1", (0, 12), (48, 60))):
        method = AdversarialPatch(threat=Patch(144 / 2400), place=place)
        tensors = {"patch": torch.ones(3, 24, 24), "mask": torch.ones(1, 24, 24)}
        with torch.no_grad():
            laid = method.apply(tensors, images, [1, 2], 0)
        expected = images.clone()
        expected[:, :, rows[0] : rows[1], columns[0] : columns[1]] = 1
        assert torch.allclose(laid, expected, atol=1e-5)
        artefact = Artefact(method=method, tensors=tensors, shape=(3, 40, 60), seen=torch.tensor([5]))
        artefact.save(tmp_path / "patch.safetensors")
        assert load_artefact(tmp_path / "patch.safetensors", AdversarialPatch).method == method
    for text in ("0.5", "1.2,0", "a,b", "nan,0", "0.1,0.2,0.3"):
        with pytest.raises(InputError, match="middle is expected"):
            AdversarialPatch(place=text)


def test_the_drawn_patch_is_where_its_homography_says():
    """Compared pixel by pixel with each pixel's own place in the patch."""
    size, most = (40, 52), 10_000
    matrices = placement.homographies(numbers(5, 1), size, 0.1, 40.0, 0.3)
    patch = torch.zeros(3, 8, 8, dtype=torch.float64)
    patch[0, :, 4:], patch[1, 4:] = 1, 1  # red to the right, green below
    images = torch.full((5, 3, *size), 0.25, dtype=torch.float64)
    found = placement.placed(patch[None], torch.ones(1, 8, 8, dtype=torch.float64), images, matrices, most)
    checked = 0
    for i in range(5):
        for row in range(size[0]):
            for column in range(size[1]):
                x, y = (2 * column + 1 - size[1]) / 40, (2 * row + 1 - size[0]) / 40
                u, v, w = (matrices[i] @ torch.tensor([x, y, 1.0], dtype=torch.float64)).tolist()
                u, v = u / w, v / w
                if max(abs(u), abs(v)) > 1.15:
                    assert (found[i, :, row, column] == 0.25).all()
                elif max(abs(u), abs(v)) < 0.85 and min(abs(u), abs(v)) > 0.15:  # off every edge
                    expected = torch.tensor([float(u > 0), float(v > 0), 0.0], dtype=torch.float64)
                    torch.testing.assert_close(found[i, :, row, column], expected)
                    checked += 1
    assert checked > 300


@pytest.mark.parametrize(("mask", "part"), [("square", 1.0), ("circle", math.pi / 4), ("cross.png", 5 / 9)])
def test_masks_and_the_number_of_pixels(mask, part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cross = Image.new("L", (90, 90))
    cross.paste(255, (30, 0, 60, 90))
    cross.paste(255, (0, 30, 90, 60))
    cross.save("cross.png")
    images = torch.full((50, 3, 48, 48), 0.5)
    attack = AdversarialPatch(mask=mask, threat=Patch(0.1), resolution=36)
    tensors = {"patch": torch.zeros(3, 36, 36), "mask": attack._mask(36)}
    assert tensors["mask"].mean() == pytest.approx(part, abs=0.01)
    changed = (attack.apply(tensors, images, list(range(50)), 0) != images).any(1).flatten(1).sum(1)
    assert changed.max() <= 0.1 * 48 * 48
    assert changed.double().mean() >= 0.09 * 48 * 48  # foreshortening moves a mask's share a little


def test_what_is_transparent_in_a_mask_is_no_patch(tmp_path):
    file, opaque = tmp_path / "disc.png", Image.new("L", (200, 200))
    ImageDraw.Draw(opaque).ellipse((60, 60, 140, 140), fill=255)
    disc = Image.new("RGBA", (200, 200), (255, 255, 255, 0))
    disc.putalpha(opaque)
    disc.save(file)
    found = AdversarialPatch(mask=str(file))._mask(40)
    opaque.save(file)
    assert torch.equal(found, AdversarialPatch(mask=str(file))._mask(40))
    assert found.mean() == pytest.approx(math.pi * 0.2**2, abs=0.005)


def test_a_thin_mask_is_measured_as_finely_as_it_is_drawn(tmp_path):
    """A line of a hundredth of the mask: less than one texel where the mask has 8 a side."""
    file, line = tmp_path / "line.png", Image.new("L", (200, 200))
    line.paste(255, (20, 99, 180, 102))
    line.save(file)
    model, images = nets.small(size=(64, 64)), nets.random_images(4, (64, 64))
    attack = AdversarialPatch(mask=str(file), threat=Patch(0.01), place="0.5,0.5", epochs=1)
    attack.check_classifier(model)
    found = artefact_of(attack, model, images)
    assert found.tensors["mask"].mean() == pytest.approx(0.012, abs=0.001)
    changed = (attack.apply(found.tensors, images, [1, 2, 3, 4], 0) != images).any(1).flatten(1).sum(1)
    assert (changed > 0).all()
    assert (changed <= 0.01 * 64 * 64).all()


def test_a_patch_that_lies_upright_may_be_as_large_as_it_then_fits():
    AdversarialPatch(threat=Patch(0.9), place="0.5,0.5").check_classifier(nets.small())
    wide = nets.small(size=(16, 24))
    with pytest.raises(InputError, match=r"0\.9 of the area is larger .* give eps up to 0\.6666\."):
        AdversarialPatch(threat=Patch(0.9), place="0.5,0.5").check_classifier(wide)
    with pytest.raises(InputError, match=r"turned by 22\.5 degrees, is larger .* or less rotation"):
        AdversarialPatch(threat=Patch(0.9)).check_classifier(wide)


def test_a_patch_brings_images_to_its_target_where_they_were_not_seen():
    """A network that sees a class by its colour: the patch has to find it."""
    colours = torch.tensor([[2.0, -1, 0], [-1, 2, 0], [0, 0, 2]])[:, :, None]
    model = nets.linear(colours.expand(3, 3, 24 * 24).reshape(3, -1) / 20, (24, 24), 3)
    tint = torch.tensor([0.5, 0.4, 0.1]).view(3, 1, 1)
    images = rounded(nets.random_images(60, (24, 24)) * 0.2 + tint)
    method = AdversarialPatch(threat=Patch(0.25), epochs=10, batch_size=6, rate=0.1, blur=0.0)
    artefact = artefact_of(method, model, images[:30], target=2)
    labels = predicted(model, images[30:])
    assert (labels != 2).all()
    judged = judge(artefact, model, images[30:], labels)
    assert judged.result.success.double().mean() == 1 > judged.random_baseline
    patch = artefact.tensors["patch"]
    assert patch[2].mean() > 0.9 > 0.5 > patch[0].mean()  # blue is the target's colour, red its rival's


def test_roughness_and_colours_can_be_held_against_a_patch():
    model, images = nets.small(), nets.random_images(16)
    goal = Targeted(torch.zeros(16, dtype=torch.int64))

    def patch(**weights: float) -> Tensor:
        method = AdversarialPatch(threat=Patch(0.2), epochs=10, batch_size=16, rate=0.1, blur=0.0, **weights)
        return fit(method, model, images, goal).tensors["patch"]

    free = patch()
    mask = torch.ones(1, *free.shape[1:])
    assert total_variation(patch(variation=20.0)) < total_variation(free) / 2
    assert non_printability(patch(printable=20.0), mask) < non_printability(free, mask) / 2


def test_printable_colours_are_mixtures_of_the_solids():
    """Demichel: half cyan and half magenta is a quarter each of paper, cyan, magenta and both."""
    colours = printable_colours()
    for solid in SOLIDS.values():
        assert (colours - torch.tensor(solid) / 255).abs().amax(1).min() < 1e-6
    quarter = torch.tensor([SOLIDS[k] for k in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0))]).double().mean(0)
    assert (colours - quarter / 255).abs().amax(1).min() < 1e-6
    neon = torch.tensor([0.0, 1.0, 0.0]).view(3, 1, 1).expand(3, 2, 2)
    assert (
        non_printability(neon, torch.ones(1, 2, 2))
        > 0.3
        > 0.01
        > non_printability(torch.ones(3, 2, 2), torch.ones(1, 2, 2))
    )


@pytest.mark.parametrize(
    ("text", "points"), [("12cm", 12 / 2.54 * 72), ("50mm", 5 / 2.54 * 72), ("4in", 288)]
)
def test_the_page_holds_the_patch_at_its_true_size(text, points, tmp_path):
    write_pdf(tmp_path / "patch.pdf", torch.zeros(3, 8, 8), read_width(text))
    content = (tmp_path / "patch.pdf").read_bytes()
    box = [float(n) for n in re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+)", content).groups()]
    assert box == pytest.approx([595.3, 841.9], abs=0.5)  # A4 in points
    jpeg = content[content.index(b"\xff\xd8") : content.rindex(b"\xff\xd9") + 2]
    page = Image.open(io.BytesIO(jpeg)).convert("L")
    dark = torch.from_numpy(np.array(page)) < 64
    line = dark[page.height // 2]
    assert int(line.sum()) * box[0] / page.width == pytest.approx(points, abs=0.5)
    left = int(line.nonzero()[0])
    assert dark[: page.height // 2, left - 6 : left].any()  # a mark to cut along, beside the corner


# What every image-agnostic attack keeps to --------------------------------------------------------


@every_norm
def test_every_success_holds_and_the_network_is_untouched(name, norm, untouched_network):
    model, (method, images) = untouched_network, given(short(name, norm), 24)
    artefact = artefact_of(method, model, images[:12])
    labels = predicted(model, images[12:])
    judged = judge(artefact, model, images[12:], labels)
    result = judged.result
    levels = result.images * 255
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-3)
    threat = method.judged_in
    assert (threat.distance(result.images, images[12:]) <= threat.eps * (1 + 1e-5)).all()
    assert result.attacked.all()
    assert judged.fooling_rate >= result.success.double().mean() > 0
    assert (result.predictions != labels)[result.success].all()


@every_attack
@pytest.mark.usefixtures("always_kept")
def test_cut_off_and_resumed_it_is_the_same(name, tmp_path):
    model, (method, images) = nets.small(), given(short(name), 16)
    goal = Untargeted(predicted(model, images))

    def cut(done: int, total: int) -> None:
        raise KeyboardInterrupt

    whole = fit(method, model, images, goal, seed=3)
    with pytest.raises(KeyboardInterrupt):
        fit(method, model, images, goal, seed=3, checkpoint=tmp_path / "half.pt", progress=cut)
    resumed = fit(method, model, images, goal, seed=3, checkpoint=tmp_path / "half.pt")
    assert all(torch.equal(whole.tensors[key], resumed.tensors[key]) for key in whole.tensors)
    assert (whole.forwards, whole.backwards) == (resumed.forwards, resumed.backwards)
    other = fit(method, model, images, goal, seed=4)
    assert any(not torch.equal(whole.tensors[key], other.tensors[key]) for key in whole.tensors)


@every_attack
def test_the_file_holds_the_whole_attack_and_neighbours_change_nothing(name, tmp_path):
    model, (method, images) = nets.small(), given(short(name), 20)
    artefact = artefact_of(method, model, images[:8], target=2)
    artefact.save(tmp_path / "a.safetensors")
    read = load_artefact(tmp_path / "a.safetensors", IMAGE_AGNOSTIC[name])
    assert (read.method, read.shape, read.target, read.facts) == (
        artefact.method,
        artefact.shape,
        artefact.target,
        artefact.facts,
    )
    assert read.unseen(fingerprints(images)).tolist() == [False] * 8 + [True] * 12
    if hasattr(method, "shown"):
        read = replace(read, method=replace(read.method, shown=method.shown))
    labels = predicted(model, images)
    whole = judge(artefact, model, images[8:], labels[8:]).result
    again = judge(read, model, images[8:], labels[8:]).result
    assert torch.equal(whole.images, again.images)
    alone = judge(read, model, images[10:11], labels[10:11]).result
    torch.testing.assert_close(alone.images[0], whole.images[2], rtol=0, atol=1.5 / 255)
    assert not whole.attacked[labels[8:] == 2].any()


# The command --------------------------------------------------------------------------------------

DIGITS = ["zoo:digits-cnn", "digits", "--limit", "48"]


def table(folder: str, name: str = "images.csv") -> list[dict]:
    with Path(folder, name).open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def fitted(tmp_path, monkeypatch):
    """A working folder with a universal perturbation for handwritten digits, fitted on 16 of 48."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(
        "import torch\nfrom ostrich.models.residual import SmallNet\n"
        "def build():\n    torch.manual_seed(0)\n"
        "    return SmallNet(8, num_classes=10, channels=1, width=0.5)\n"
    )
    words = ["--set", "eps=96/255", "--set", "fit=16", "--set", "epochs=60"]
    assert run(["attack", "universal", *DIGITS, *words, "--out", "first"]) == 0
    return tmp_path


def test_it_is_fitted_on_a_part_and_judged_on_the_rest(fitted):
    content, rows = json.loads(Path("first/run.json").read_text()), table("first")
    found = content["results"]
    assert found["n"] == len(rows) == 32
    assert (found["fitted_on"]["n"], found["left_out"], content["data"]["n"]) == (16, 16, 48)
    assert found["fooling_rate"] > found["by_chance"]
    model = ostrich.load("zoo:digits-cnn")
    successes = [row for row in rows if row["success"] == "true"]
    right = [row for row in rows if row["label"] == row["clean_prediction"]]
    assert found["success_rate"] == pytest.approx(len(successes) / len(right))
    assert successes
    for row in successes:
        clean, broken = (read_png(f"first/{row[which]}") for which in ("clean_file", "adversarial_file"))
        assert (broken - clean).abs().max() <= 96 / 255 + 1e-6
        assert (
            predicted(model, broken[None]).item() == int(row["adversarial_prediction"]) != int(row["label"])
        )


def test_an_artefact_is_applied_to_what_it_was_not_fitted_on(fitted):
    file = ["--artefact", "first/artefact.safetensors"]
    assert run(["attack", "universal", *DIGITS, *file, "--out", "again"]) == 0
    assert [row["index"] for row in table("again")] == [row["index"] for row in table("first")]
    assert [row["success"] for row in table("again")] == [row["success"] for row in table("first")]
    network = ["net.py:build", "digits", "--limit", "48", "--size", "8"]
    assert run(["attack", "universal", *network, *file, "--out", "other"]) == 0
    other = json.loads(Path("other/run.json").read_text())["results"]
    assert other["fitted_on"]["model"] == "zoo:digits-cnn"
    assert run(["attack", "universal", *DIGITS, *file, "--also", "net.py:build", "--out", "both"]) == 0
    both = json.loads(Path("both/run.json").read_text())["results"]
    assert both["transfer"] == {"net.py:build": other["fooling_rate"]}


BAD = {
    "kind": (
        ["attack", "{other}", *DIGITS, "--artefact", "first/artefact.safetensors"],
        "artefact of universal",
    ),
    "size": (
        [
            "attack",
            "universal",
            "net.py:build",
            "digits",
            "--size",
            "12",
            "--artefact",
            "first/artefact.safetensors",
        ],
        "8x8 pixels",
    ),
    "channels": (
        ["attack", "universal", "zoo:toybox-resnet20", "toybox", "--artefact", "first/artefact.safetensors"],
        "1 channels",
    ),
    "no file": (["attack", "universal", *DIGITS, "--artefact", "none"], "There is no artefact"),
    "text": (["attack", "universal", *DIGITS, "--artefact", "text"], "cannot be read as an artefact"),
    "weights": (["attack", "universal", *DIGITS, "--artefact", "weights.safetensors"], "some other"),
    "all seen": (
        ["attack", "universal", "zoo:digits-cnn", "digits", "--limit", "1", "--artefact", "one.safetensors"],
        "every one",
    ),
    "input-specific": (["attack", "pgd", *DIGITS, "--artefact", "first/artefact.safetensors"], "no artefact"),
    "settings": (
        ["attack", "universal", *DIGITS, "--set", "eps=0.1", "--artefact", "first/artefact.safetensors"],
        "--set",
    ),
    "nothing held out": (["attack", "universal", *DIGITS, "--set", "fit=48"], "48 images, and 48 to fit on"),
    "one image": (["attack", "universal", "zoo:digits-cnn", "digits", "--limit", "1"], "larger --limit"),
    "no fitting": (["attack", "universal", *DIGITS, "--set", "fit=0"], "at least 1"),
    "per image": (["attack", "universal", *DIGITS, "--target", "random"], "one class for all"),
    "views": (["attack", "universal", *DIGITS, "--set", "eot=3"], "is fitted on many"),
    "algorithm": (["attack", "universal", *DIGITS, "--set", "algorithm=deepfol"], "Did you mean deepfool"),
    "step": (
        ["attack", "universal", *DIGITS, "--set", "algorithm=deepfool", "--set", "step_size=0.1"],
        "step_size belongs",
    ),
    "target": (
        ["attack", "universal", *DIGITS, "--set", "algorithm=deepfool", "--target", "3"],
        "takes no target",
    ),
    "victim": (
        ["attack", "universal", *DIGITS, "--set", "victims=zoo:toybox-resnet20"],
        "The victim zoo:toybox-resnet20 has 3 channels",
    ),
    "no victim": (
        ["attack", "patch", *DIGITS, "--set", "victims=net.py:build+zoo:digit-cnn"],
        "Did you mean",
    ),
    "victims of deepfool": (
        ["attack", "universal", *DIGITS, "--set", "algorithm=deepfool", "--set", "victims=net.py:build"],
        "need algorithm=gradient",
    ),
    "also": (["attack", "pgd", *DIGITS, "--also", "net.py:build"], "leaves none"),
    "also another": (["attack", "universal", *DIGITS, "--also", "zoo:toybox-resnet20"], "3 channels"),
    "patch too large": (["attack", "patch", *DIGITS, "--set", "eps=0.9"], "larger than an image of 8x8"),
    "patch larger than all": (["attack", "patch", *DIGITS, "--set", "eps=1.5"], "below 1"),
    "mask": (["attack", "patch", *DIGITS, "--set", "mask=star.png"], "no image file"),
    "white mask": (["attack", "patch", *DIGITS, "--set", "mask=white.png"], "white throughout"),
    "black mask": (["attack", "patch", *DIGITS, "--set", "mask=black.png"], "nothing white"),
    "paper": (["attack", "patch", *DIGITS, "--set", "print_width=40cm"], "A4 page"),
    "width": (["attack", "patch", *DIGITS, "--set", "print_width=wide"], "such as 12cm"),
    "light": (["attack", "patch", *DIGITS, "--set", "blur=-1"], "blur lies between"),
    "name": (["attack", "univrsal", *DIGITS], "Did you mean universal"),
}


def test_bad_input_ends_with_one_sentence(fitted, capsys):
    Path("text").write_text("no artefact")
    Image.new("L", (8, 8)).save("black.png")
    Image.new("L", (8, 8), 255).save("white.png")
    save_file({"a": torch.zeros(1)}, "weights.safetensors")
    one = load_artefact("first/artefact.safetensors", Universal)
    samples = ostrich.data.load(ostrich.data.open_data(["digits"]), size=(8, 8), channels=1, limit=1)
    Artefact(
        method=one.method,
        tensors=one.tensors,
        shape=one.shape,
        seen=torch.tensor(fingerprints(samples.images())),
    ).save(Path("one.safetensors"))
    others = [name for name in IMAGE_AGNOSTIC if name != "universal"]
    for what, (words, sentence) in BAD.items():
        for other in others[:1] if "{other}" in words else [""]:
            assert run([word.format(other=other) for word in words] + ["--out", "bad"]) == 2, what
            shown = capsys.readouterr()
            assert sentence in shown.err, (what, shown.err)
            assert shown.err.count("\n") == 1, (what, shown.err)
            assert not Path("bad").exists(), what


def test_the_crash_test_asks_them_and_its_figures_are_those_of_its_files(fitted):
    assert run(["check", *DIGITS, "--only", "universal,patch,printed", "--out", "check"]) == 0
    probes = json.loads(Path("check/run.json").read_text())["results"]["probes"]
    assert (probes["universal"]["n_fitted"], probes["patch"]["target"]) == (24, "0")
    for name in ("universal", "patch"):
        file = ["--artefact", f"check/{name}.safetensors"]
        assert run(["attack", name, *DIGITS, *file, "--out", f"again-{name}"]) == 0
        again = json.loads(Path(f"again-{name}/run.json").read_text())["results"]
        for figure in ("success_rate", "fooling_rate", "by_chance"):
            assert probes[name][figure] == again[figure], (name, figure)
        assert Path(f"check/pictures/{name}.png").exists()
    assert probes["printed"]["n_fooled"] <= probes["printed"]["n_attacked"] == probes["printed"]["n"]


def test_a_printed_patch_leaves_its_page_and_photographs_of_it(fitted):
    words = ["--set", "eps=0.2", "--set", "epochs=20", "--set", "print_width=12cm", "--target", "3"]
    assert run(["attack", "patch", *DIGITS, *words, "--out", "page"]) == 0
    found = json.loads(Path("page/run.json").read_text())["results"]
    assert Path("page/patch.pdf").read_bytes().startswith(b"%PDF")
    assert read_png("page/photographs.png").shape[0] == 1
    right = [row for row in table("page") if row["adversarial_file"]]
    assert found["photographs"]["n"] == len(right) > 0
    assert found["photographs"]["success_rate"] > found["by_chance"]
    rows, model = table("page", "photographs.csv"), ostrich.load("zoo:digits-cnn")
    assert [row["index"] for row in rows] == [row["index"] for row in right]
    for row in rows:
        clean, patched = (
            predicted(model, read_png(Path("page", row[f"{kind}_photograph_file"]))[None]).item()
            for kind in ("clean", "adversarial")
        )
        assert (clean, patched) == (int(row["clean_prediction"]), int(row["adversarial_prediction"]))
        assert (row["success"] == "true") == (patched == 3 != clean)
    hits, kept = (
        [row["success"] == "true" for row in rows],
        [row["clean_prediction"] == one["clean_prediction"] for row, one in zip(rows, right, strict=True)],
    )
    assert found["photographs"]["success_rate"] == pytest.approx(np.mean(hits))
    assert found["photographs"]["clean_kept"] == pytest.approx(np.mean(kept))
