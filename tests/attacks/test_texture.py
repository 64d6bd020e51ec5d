"""The texture of a mesh: the renderer against the toybox's and float64, the painted file, the command."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import nets
import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from trimesh.visual import TextureVisuals
from trimesh.visual.material import SimpleMaterial

import ostrich
from ostrich.attacks import AdversarialTexture, Lab, Linf, Targeted
from ostrich.attacks.engine.settings import configure
from ostrich.attacks.fitted.fitting import fit
from ostrich.attacks.physical.turntable import shares
from ostrich.attacks.threats import exact_distance, within
from ostrich.attacks.threats.cielab import lab
from ostrich.cli.main import run
from ostrich.crashtest.probes import texture as texture_probe
from ostrich.data.meshes import open_mesh, read_mesh, toybox, views_of
from ostrich.data.toyscenes import render
from ostrich.data.toyscenes.meshes import paint_table
from ostrich.data.toyscenes.sampling import view
from ostrich.data.toyscenes.views import standing
from ostrich.errors import InputError, UnknownName
from ostrich.images import fingerprints, from_bytes, read_png, rounded

# The renderer -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ostrich", "umbrella"])
def test_an_untouched_object_looks_as_the_toybox_renders_it(name):
    """To a level of 255, but where paints meet: there a texel is between them, or a face is less than one."""
    mesh = toybox(name)
    views = views_of(mesh, range(6), (64, 64), 3)
    near, whole = [], []
    for number, (seen, shown) in enumerate(zip(views.looks, views.untouched, strict=True)):
        drawn = from_bytes(render(view(standing(name), number)).image)
        difference = (shown - drawn).abs().mul(255).amax(0).flatten()
        x, y = (seen.uv * [1, -1] + [0, 1]).T * 256 - 0.5
        corners = [
            mesh.texture[
                (np.floor(y) + i).clip(0, 255).astype(int), (np.floor(x) + j).clip(0, 255).astype(int)
            ]
            for i in (0, 1)
            for j in (0, 1)
        ]
        between = (np.ptp(corners, axis=0) > 0).any(1)  # of the four texels around a ray one differs
        on_object, mixed = np.zeros((2, 64 * 64), dtype=bool)
        on_object[seen.pixel], mixed[seen.pixel[between]] = True, True
        assert difference[~on_object].max() <= 1.01
        near.append(difference[on_object & ~mixed] <= 1.01)
        whole.append(on_object.sum())
    near = torch.cat(near)
    assert len(near) > 0.5 * sum(whole)
    assert near.double().mean() > 0.99


def test_a_picture_is_the_mean_of_its_rays_looked_up_one_by_one():
    """Against a lookup written out in numpy, at a size that is not square."""
    texture = torch.rand(3, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    views = views_of(toybox("coffee mug"), [3], (12, 16), 3)
    seen, table = views.looks[0], texture.numpy()
    expected = seen.rest.astype(float).reshape(-1, 3).copy()
    for (u, v), factor, pixel in zip(seen.uv.astype(float), seen.factor, seen.pixel, strict=True):
        x, y = min(max(u * 5 - 0.5, 0), 4), min(max((1 - v) * 7 - 0.5, 0), 6)
        i, j = min(int(y), 5), min(int(x), 3)
        a, b = y - i, x - j
        colour = (1 - a) * ((1 - b) * table[:, i, j] + b * table[:, i, j + 1])
        colour += a * ((1 - b) * table[:, i + 1, j] + b * table[:, i + 1, j + 1])
        expected[pixel] += colour * factor
    shown = views.show(texture, [0])[0].permute(1, 2, 0).reshape(-1, 3)
    torch.testing.assert_close(shown, torch.from_numpy(expected).clamp(0, 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", [3, 1])
def test_the_gradient_goes_back_to_the_texture(channels):
    """Against central differences in float64, several views at once."""
    views = views_of(toybox("coffee mug"), range(3), (12, 12), channels)
    texture = (0.2 + 0.2 * views.texture[:, ::16, ::16]).double()  # no value near the clamp
    weights = torch.randn(
        3, channels, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )

    def total(t):
        return (weights * views.show(t, [2, 0, 1])).sum()

    leaf = texture.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(total(leaf), leaf)
    assert (gradient != 0).double().mean() > 0.1
    for place in gradient.abs().flatten().argsort(descending=True)[:40:4]:
        step = torch.zeros_like(texture).flatten()
        step[place] = 1e-4
        slope = (total(texture + step.view_as(texture)) - total(texture - step.view_as(texture))) / 2e-4
        assert gradient.flatten()[place] == pytest.approx(float(slope), rel=1e-6)


def test_views_are_the_same_whatever_is_looked_at_beside_them():
    mesh = toybox("coffee mug")
    some, others = views_of(mesh, [5, 9, 2], (16, 16), 3), views_of(mesh, [9], (16, 16), 3)
    assert torch.equal(some.untouched[1], others.untouched[0])
    assert torch.equal(some.take([1]).untouched, others.untouched)
    assert some.places(fingerprints(some.untouched)) == [0, 1, 2]
    texture = torch.rand(3, 8, 8)
    torch.testing.assert_close(some.show(texture, [1]), others.show(texture, [0]))


def test_a_baked_texture_has_each_paint_where_its_faces_are():
    """The colour at the middle of each face's chart, of the faces larger than a texel."""
    mesh = toybox("king penguin")
    shape, side = mesh.solid, mesh.texture.shape[0]
    middle = shape.uv.mean(1)
    a, b, c = shape.uv.swapaxes(0, 1)
    area = np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2 * side**2
    found = mesh.texture[((1 - middle[:, 1]) * side).astype(int), (middle[:, 0] * side).astype(int)]
    own = np.round(255 * paint_table("king penguin", None))[shape.paint]
    large = area > 3
    assert large.sum() > 300
    assert (found == own).all(1)[large].mean() > 0.97


# Files --------------------------------------------------------------------------------------------


def painted_box(path: Path, picture: Image.Image | None, *, wrapped: bool = False) -> None:
    """A box whose every side shows the whole picture, or one colour, as a file."""
    box = trimesh.creation.box((1, 2, 3))
    vertices = box.vertices[box.faces].reshape(-1, 3)
    uv = np.tile([[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]], (12, 1)) + (3 if wrapped else 0)
    material = SimpleMaterial(image=picture) if picture else SimpleMaterial(diffuse=[200, 30, 40, 255])
    made = trimesh.Trimesh(
        vertices, np.arange(36).reshape(-1, 3), visual=TextureVisuals(uv=uv, material=material), process=False
    )
    made.export(str(path))


def test_a_painted_mesh_is_read_back_as_it_was_written(tmp_path):
    mesh = toybox("coffee mug")
    texture = np.random.default_rng(0).integers(0, 256, mesh.texture.shape, dtype=np.uint8)
    mesh.write(tmp_path / "mug.glb", texture)
    read = open_mesh(str(tmp_path / "mug.glb"))
    assert np.array_equal(read.texture, texture)
    np.testing.assert_allclose(read.vertices[read.faces], mesh.vertices[mesh.faces], atol=1e-6)
    np.testing.assert_allclose(read.uv[read.faces], mesh.uv[mesh.faces], atol=1e-6)
    seen = views_of(read, [0], (32, 32), 3).untouched
    mine = views_of(replace(mesh, texture=texture), [0], (32, 32), 3).untouched
    assert ((seen - mine).abs() > 2 / 255).double().mean() < 0.01  # upright, and its texture too


@pytest.mark.parametrize("form", ["glb", "obj"])
def test_files_with_a_picture_a_colour_and_repeated_textures(form, tmp_path):
    stripes = np.zeros((40, 20, 3), np.uint8)
    stripes[:20] = 250
    for name, picture in (("picture", Image.fromarray(stripes)), ("colour", None)):
        (tmp_path / name).mkdir()
        painted_box(tmp_path / name / f"box.{form}", picture)
        painted_box(tmp_path / name / f"wrapped.{form}", picture, wrapped=True)
        plain, wrapped = (read_mesh(tmp_path / name / f"{kind}.{form}") for kind in ("box", "wrapped"))
        assert max(plain.texture.shape) == 256
        pictures = [views_of(mesh, range(2), (32, 32), 3).untouched for mesh in (plain, wrapped)]
        torch.testing.assert_close(*pictures, rtol=0, atol=1.01 / 255)
    assert (plain.texture == [200, 30, 40]).all()


def test_what_is_no_mesh_to_paint_on_is_refused(tmp_path):
    trimesh.creation.box().export(str(tmp_path / "bare.glb"))
    (tmp_path / "empty.obj").write_text("v 0 0 0\nvt 0 0\n")
    (tmp_path / "flat.obj").write_text("v 0 0 0\nvt 0 0\nf 1/1 1/1 1/1\n")
    (tmp_path / "broken.glb").write_bytes(b"no mesh")
    for name, sentence in (
        ("bare.glb", "no texture coordinates.*Unwrap it"),
        ("empty.obj", "empty mesh"),
        ("flat.obj", "empty mesh"),
        ("broken.glb", "cannot be read as a mesh"),
        ("none.glb", "no mesh file"),
    ):
        with pytest.raises(InputError, match=sentence):
            open_mesh(str(tmp_path / name))
    with pytest.raises(UnknownName, match="school bus"):
        open_mesh("toybox/bus")


# Budgets ------------------------------------------------------------------------------------------


def test_lab_of_known_colours():
    """Bruce Lindbloom's calculator: sRGB, D65, CIE 1976."""
    colours = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    expected = [
        [100, 0, 0],
        [0, 0, 0],
        [53.24, 80.09, 67.20],
        [87.73, -86.18, 83.18],
        [32.30, 79.19, -107.86],
    ]
    torch.testing.assert_close(
        lab(colours.view(5, 3, 1, 1))[:, :, 0, 0], torch.tensor(expected).double(), rtol=0, atol=0.02
    )


@pytest.mark.parametrize("eps", [0.0, 1.0, 8.0])
def test_a_budget_in_lab_is_kept_and_used(eps):
    threat, images = Lab(eps), nets.random_images(2, (16, 16))
    wanted = nets.random_images(2, (16, 16), seed=2)
    moved = threat.project(wanted, images)
    assert (threat.distance(moved, images) <= eps * (1 + 1e-4)).all()
    way, whole = ((lab(one) - lab(images)).norm(dim=1) for one in (moved, wanted))
    missing = whole.clamp_max(eps) - way  # a thousandth of a way, which in Lab is not even
    assert (missing <= 10 * whole / 1024 + 1e-4).all()
    assert (way > eps / 2).double().mean() > 0.9 or eps == 0
    settled = threat.quantize(moved, images)
    assert within(threat, settled, images).all()
    torch.testing.assert_close(settled * 255, (settled * 255).round(), rtol=0, atol=1e-4)
    assert torch.equal(threat.quantize(images, images), images)


@pytest.mark.parametrize("threat", [Linf(16 / 255), Lab(9.0)])
def test_a_fitted_texture_lies_on_the_grid_within_its_budget(threat):
    views = views_of(toybox("coffee mug"), range(8), (16, 16), 3)
    method = AdversarialTexture(threat=threat, epochs=2, batch_size=4, step_size=0.1, shown=views)
    goal = Targeted(torch.full((8,), 3))
    tensors = fit(method, nets.small(), views.untouched, goal).tensors
    texture, original = tensors["texture"], tensors["original"]
    assert torch.equal(rounded(texture), texture)
    assert torch.equal(original, views.texture)
    assert exact_distance(threat, texture[None], original[None]) <= threat.eps * (1 + 1e-6)
    assert exact_distance(threat, texture[None], original[None]) > threat.eps / 2


def test_the_target_s_colour_is_painted_where_a_linear_network_looks_for_it():
    """The best texture within the budget is known: every value that is seen moves as far as it may."""
    views = views_of(toybox("coffee mug"), range(12), (24, 24), 3)
    weights = torch.zeros(2, 3, 24, 24)
    weights[1, 0], weights[1, 2] = 0.01, -0.01  # class 1 is red rather than blue
    model = nets.linear(weights.flatten(1), (24, 24), 3)
    method = AdversarialTexture(threat=Linf(20 / 255), epochs=8, batch_size=4, shown=views, noise=0.0)
    tensors = fit(method, model, views.untouched, Targeted(torch.ones(12, dtype=torch.int64))).tensors
    change = (tensors["texture"] - tensors["original"]).mul(255).round()
    leaf = tensors["original"].clone().requires_grad_(True)
    (seen,) = torch.autograd.grad(views.show(leaf, range(12)).sum(), leaf)
    seen = seen > 0.02  # in all views together; there the light never saturates a pixel for good
    assert seen[0].sum() > 1000
    room = (1 - tensors["original"]).mul(255).round().clamp_max(20)
    assert (change[0] == room[0])[seen[0]].double().mean() > 0.95
    assert (change[1] == 0).all()
    assert (change[2] == -tensors["original"][2].mul(255).round().clamp_max(20))[
        seen[2]
    ].double().mean() > 0.95


def test_its_own_budget_is_the_usual_one():
    for words, threat in (
        ({}, Linf(16 / 255)),
        ({"norm": "linf"}, Linf(16 / 255)),
        ({"norm": "lab"}, Lab(10.0)),
    ):
        assert configure(AdversarialTexture, words).threat == threat


# The command --------------------------------------------------------------------------------------

SHORT = ["--limit", "24", "--set", "epochs=2", "--set", "batch_size=8", "--set", "eps=64/255"]
MUG = "mesh:toybox/coffee mug"


def table(folder: str) -> list[dict]:
    with Path(folder, "images.csv").open() as file:
        return list(csv.DictReader(file))


def results(folder: str) -> dict:
    return json.loads(Path(folder, "run.json").read_text())["results"]


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    """A working folder with a painted mug, fitted on 12 of 24 views."""
    folder = tmp_path_factory.mktemp("painted")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["attack", "texture", "zoo:toybox-resnet20", MUG, "--target", "random", *SHORT]
        assert run([*words, "--out", "first"]) == 0
        yield folder


def test_it_is_judged_on_views_it_was_not_fitted_on(painted):
    found, rows = results("first"), table("first")
    assert (found["n"], found["fitted_on"]["n"], found["left_out"]) == (12, 12, 12)
    model = ostrich.load("zoo:toybox-resnet20")
    target = model.class_index(found["target"])
    assert found["label"] == "coffee mug" != found["target"]
    views = views_of(toybox("coffee mug"), [int(row["index"]) for row in rows], (64, 64), 3)
    texture = read_png("first/artefact.png")
    predictions = []
    for i, row in enumerate(rows):
        assert torch.equal(read_png(f"first/{row['clean_file']}"), views.untouched[i])
        shown = rounded(views.show(texture, [i])[0])
        predictions.append(nets.predictions(model, shown[None]).item())
        if row["adversarial_file"]:
            file = read_png(f"first/{row['adversarial_file']}")
            torch.testing.assert_close(file, shown, rtol=0, atol=1e-6)
            assert predictions[-1] == int(row["adversarial_prediction"])
            assert (row["success"] == "true") <= (predictions[-1] == target)
    label = model.class_index("coffee mug")
    assert found["seen_after"] == pytest.approx(shares(torch.tensor(predictions), label, target))
    assert found["clean_accuracy"] == found["seen_before"]["label"]
    assert found["texture"]["distance"] <= 64 / 255 + 1e-9


def test_the_painted_mesh_is_the_artefact(painted):
    mesh = open_mesh("first/mesh.glb")
    assert torch.equal(from_bytes(mesh.texture), read_png("first/artefact.png"))
    assert torch.equal(read_png("first/texture-before.png"), from_bytes(toybox("coffee mug").texture))
    with Image.open("first/turntable.gif") as film:
        assert film.n_frames == 24
    assert read_png("first/viewpoints.png").shape[2] == 720


def test_the_artefact_paints_the_same_mesh_for_others(painted):
    words = ["attack", "texture", "zoo:toybox-resnet20", MUG, "--artefact", "first/artefact.safetensors"]
    assert run([*words, "--limit", "24", "--out", "again"]) == 0
    keys = ("index", "label", "clean_prediction", "adversarial_prediction", "success", "distance")
    first, again = ([[row[key] for key in keys] for row in table(name)] for name in ("first", "again"))
    assert first == again
    small = ["attack", "texture", "arch:resnet20,classes=4", MUG, "--size", "20", "--limit", "24"]
    assert run([*small, "--set", "epochs=1", "--out", "four"]) == 0
    assert results("four")["label"] in "0123"  # it knows no mug: what most views are seen as
    assert results("four")["clean_accuracy"] is None


def test_other_attacks_take_the_views_as_images(painted):
    assert run(["attack", "fgsm", "zoo:toybox-resnet20", MUG, "--limit", "3", "--out", "fgsm"]) == 0
    assert [row["file"] for row in table("fgsm")] == [
        f"view/{int(row['index']):05d}" for row in table("fgsm")
    ]


def test_the_crash_test_paints_an_object(painted, monkeypatch):
    for name, value in (("FIT", 6), ("HELD_OUT", 6), ("EPOCHS", 1), ("CLASS_NAMES", ("coffee mug",))):
        monkeypatch.setattr(texture_probe, name, value)
    words = ["check", "zoo:toybox-resnet20", "toybox", "--limit", "10", "--only", "texture"]
    assert run([*words, "--out", "checked"]) == 0
    (figures,) = results("checked")["probes"].values()
    assert (figures["object"], figures["n_fit"], figures["n"]) == ("coffee mug", 6, 6)
    assert 0 <= figures["success_rate"] <= 1
    assert Path("checked/pictures/texture-viewpoints.png").exists()
    assert (
        run(["check", "zoo:digits-cnn", "digits", "--limit", "10", "--only", "texture", "--out", "no"]) == 0
    )
    assert "object of the toybox" in Path("no/index.html").read_text()


BAD = {
    "images": (["texture", "zoo:toybox-resnet20", "toybox", "--limit", "4"], "paints an object"),
    "other mesh": (
        [
            "texture",
            "zoo:toybox-resnet20",
            "mesh:toybox/ostrich",
            "--limit",
            "4",
            "--artefact",
            "first/artefact.safetensors",
        ],
        "another mesh",
    ),
    "no such object": (["texture", "zoo:toybox-resnet20", "mesh:toybox/bus"], "Did you mean school bus"),
    "no file": (["texture", "zoo:toybox-resnet20", "mesh:none.glb"], "no mesh file"),
    "label": (["texture", "zoo:toybox-resnet20", MUG, "--limit", "4", "--set", "label=teapot"], "teapot"),
    "one view": (["texture", "zoo:toybox-resnet20", MUG, "--limit", "1"], "larger --limit"),
    "momentum": (["texture", "zoo:toybox-resnet20", MUG, "--set", "momentum=1"], "momentum"),
    "step": (["texture", "zoo:toybox-resnet20", MUG, "--set", "step_size=-1"], "above 0"),
    "norm": (["texture", "zoo:toybox-resnet20", MUG, "--set", "norm=l2"], "Unknown norm"),
    "the views": (["texture", "zoo:toybox-resnet20", MUG, "--set", "shown=1"], "Unknown setting"),
}


def test_bad_input_ends_with_one_sentence(painted, capsys):
    for what, (words, sentence) in BAD.items():
        assert run(["attack", *words, "--out", "bad"]) == 2, what
        shown = capsys.readouterr()
        assert sentence in shown.err, (what, shown.err)
        assert shown.err.count("\n") == 1, (what, shown.err)
        assert not Path("bad").exists(), what
