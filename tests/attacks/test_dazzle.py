"""Camouflage against face detection: the faces, the detectors, the drawing, the search, the command."""

from __future__ import annotations

import csv
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import ostrich
from ostrich.attacks import Dazzle, Patch
from ostrich.attacks.camouflage.dazzle import Face, View, close_up, cost_of, search
from ostrich.attacks.camouflage.faces import picture, surest
from ostrich.attacks.camouflage.fitting import Recorded, facts_of
from ostrich.attacks.camouflage.makeup import FREE, LUMA, Form, drawn, random_look, tinted
from ostrich.attacks.engine.settings import configure
from ostrich.attacks.fitted.artefact import load_artefact
from ostrich.cli.main import run
from ostrich.data.faces import BOX, FACES, enlarged, face_windows, faces, split_rows, stored
from ostrich.errors import MissingExtra
from ostrich.images import fingerprints, from_bytes, read_png
from ostrich.models.detectors import DETECTORS, Box, grey, open_detector
from ostrich.models.face_cnn import WINDOW, FaceCNN
from ostrich.runtime.resumable import Checkpoint

FORM = Form(3, 2, False)


def face(number: int = 0) -> Face:
    image = from_bytes(enlarged(stored()[number])[..., None])
    return Face(f"face-{number}", image, Box(*BOX), fingerprints(image[None])[0])


def looks(count: int, form: Form = FORM) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random_look(form, random) for _ in range(count)]


# Faces and detectors ------------------------------------------------------------------------------


def test_the_cascade_finds_99_of_100_faces_and_none_of_the_others():
    """Measured before anything here was written: scaleFactor 1.05, minNeighbors 2, a border of 20."""
    pytest.importorskip("cv2")
    detector = open_detector("detector:viola-jones")
    found = [bool(detector.boxes(enlarged(one))) for one in stored()]
    assert (sum(found[:FACES]), sum(found[FACES:])) == (99, 0)


def test_the_splits_are_disjoint_and_balanced():
    train, test = (set(split_rows(split)) for split in ("train", "test"))
    assert train | test == set(range(200))
    assert not train & test
    assert len([row for row in test if row < FACES]) == 50
    data = faces("test")
    assert data.labels == [int("background" in name) for name in data.files]
    assert np.array_equal(np.asarray(data.read(3))[..., 0], enlarged(stored()[sorted(test)[3]]))


def test_the_network_of_the_detector_knows_windows_it_was_not_trained_on():
    data, model = face_windows("test"), ostrich.load("zoo:face-cnn")
    rows = range(0, len(data), 16 + 1)
    pixels = np.stack([np.asarray(data.read(i).convert("L"))[..., None] for i in rows])
    right = model(from_bytes(pixels)).argmax(1) == torch.tensor([data.labels[i] for i in rows])
    assert right.double().mean() >= 0.95
    assert np.array_equal(np.asarray(data.read(5)), np.asarray(data.read(5)))


def test_a_pass_over_an_image_is_every_window_by_itself():
    torch.manual_seed(0)
    network = FaceCNN(width=0.25).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
    image = torch.rand(1, 1, 27, 28)
    found = network.windows(image)
    assert found.shape[2:] == (2, 3)
    for row in range(2):
        for column in range(3):
            alone = image[..., 2 * row : 2 * row + WINDOW, 2 * column : 2 * column + WINDOW]
            torch.testing.assert_close(network(alone)[0], found[0, :, row, column], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_frames_faces_alike_and_its_strength_tells_them_from_none(name):
    if name == "viola-jones":
        pytest.importorskip("cv2")
    detector = open_detector(f"detector:{name}")
    rows = split_rows("test")
    own, others = rows[:6], [row for row in rows if row >= FACES][:6]
    found = {row: detector.boxes(enlarged(stored()[row])) for row in own}
    boxes = [max(boxes, key=lambda box: box.side) for boxes in found.values() if boxes]
    assert len(boxes) >= 5
    for value, expected in zip(("left", "top", "side"), BOX):
        assert np.median([getattr(box, value) for box in boxes]) == pytest.approx(expected, abs=7), value
    faces_ = [detector.strength(enlarged(stored()[row]), BOX[2]) for row in own if found[row]]
    assert min(faces_) > max(detector.strength(enlarged(stored()[row]), BOX[2]) for row in others)
    assert detector.digest() == open_detector(f"detector:{name}").digest()


def test_boxes_overlap_where_they_share_a_pixel():
    box = Box(10, 10, 5)
    assert box.overlaps(Box(14, 14, 9))
    assert Box(0, 0, 40).overlaps(box)
    assert not box.overlaps(Box(15, 10, 5))
    assert not box.overlaps(Box(10, 2, 8))


# The drawing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("area", [0.002, 0.013, 0.08])
def test_a_look_keeps_its_area_and_leaves_eyes_and_mouth_free(area):
    one, method = face(), Dazzle(threat=Patch(area))
    for look in looks(6):
        image = one.wearing(look, method)
        changed = (image != one.picture)[0]
        assert 0.6 * area <= one.covered(image) <= area
        assert one.covered(image) == int(changed.sum()) / 140**2
        y, x = changed.nonzero(as_tuple=True)
        x, y = (x + 0.5 - BOX[0]) / BOX[2], (y + 0.5 - BOX[1]) / BOX[2]
        assert ((x > 0) & (x < 1) & (y > 0) & (y < 1)).all()
        for u, v, a, b in FREE:
            assert (((x - u) / a) ** 2 + ((y - v) / b) ** 2 > 1).all()


def test_eps_is_what_it_is_for_a_patch_the_part_of_the_picture(monkeypatch):
    """Of a larger picture about a face as much more is covered; a close-up covers as much of the face."""
    monkeypatch.setattr("ostrich.attacks.camouflage.makeup.FREE", ())
    one, method = face(), Dazzle(threat=Patch(0.02))
    wide = Face("wide", torch.nn.functional.pad(one.picture, (70, 70, 70, 70)), Box(87, 89, 92), one.key)
    look = looks(1)[0]
    counts = [int((each.drawing(look, method).cover > 0).sum()) for each in (one, wide)]
    assert counts == [method.threat.pixels(each.picture[None]) for each in (one, wide)]
    assert counts == [392, 1568]  # 0.02 * 140**2, 0.02 * 280**2
    for each in (one, wide):
        near = close_up(each)
        assert near.room == each.room
        assert np.allclose(near.drawing(look, method).cover, each.drawing(look, method).cover, atol=1e-6)


def test_the_area_is_the_same_at_any_size():
    for side in (50, 92, 300):
        drawing = drawn(looks(1)[0], FORM, (0, 0, side), (side, side), 0.05)
        assert (drawing.cover > 0).mean() == pytest.approx(0.05, abs=2 / side)


def test_a_triangle_covers_what_lies_between_its_corners():
    """One triangle at its own size: against half-planes, on places well off its edges."""
    corners = np.array([[0.2, 0.15], [0.8, 0.2], [0.45, 0.3]])  # above eyes and mouth
    look = np.array([*((corners - 0.5) / 0.25).ravel(), 0.0, 3.0])
    double = (corners[1] - corners[0])[0] * (corners[2] - corners[0])[1]
    area = abs(double - (corners[1] - corners[0])[1] * (corners[2] - corners[0])[0]) / 2
    drawing = drawn(look, Form(0, 1, False), (0, 0, 400), (400, 400), area)
    for row in range(10, 400, 20):
        for column in range(10, 400, 20):
            place = (np.array([column, row]) + 0.5) / 400
            edges = zip(corners, np.roll(corners, -1, 0))
            sides = [(b - a)[0] * (place - a)[1] - (b - a)[1] * (place - a)[0] for a, b in edges]
            if min(abs(side) for side in sides) > 0.01:
                assert (drawing.cover[row, column] > 0.5) == (len({side > 0 for side in sides}) == 1)


def test_a_symmetric_look_is_its_mirror_image():
    drawing = drawn(looks(1, Form(2, 2, True))[0], Form(2, 2, True), (0, 0, 80), (80, 80), 0.06)
    assert np.allclose(drawing.cover, drawing.cover[:, ::-1], atol=1e-4)


def test_a_colour_has_the_grey_of_its_tone():
    tone = np.linspace(0, 1, 50)[:, None].repeat(5, 1)
    colours = tinted(tone, np.arange(5)[None].repeat(50, 0))
    assert np.allclose(colours @ LUMA, tone)
    assert colours.min() > -1e-9
    assert colours.max() < 1 + 1e-9
    assert (colours[25].max(-1) - colours[25].min(-1)).min() > 0.3  # and is one


# Views, and the search ----------------------------------------------------------------------------


def test_a_face_lies_in_a_view_where_its_box_says():
    image = torch.zeros(1, 1, 100, 140)
    box = Box(90, 20, 20)
    image[..., 29:31, 99:101] = 1  # the box's centre
    for view in (View(1.0, 0.0), View(1.2, 10.0), View(0.8, -8.0), View(1.0, 30.0)):
        seen, there = view.of(image)[0, 0], view.box(box, (100, 140))
        y, x = (seen == seen.max()).nonzero().double().mean(0).add(0.5).tolist()
        assert seen.shape == (round(100 * view.scale), round(140 * view.scale))
        assert (there.left + there.side / 2, there.top + there.side / 2) == pytest.approx((x, y), abs=1)
        assert there.side == pytest.approx(20 * view.scale)


class Cheeks:
    """Finds a face wherever the left cheek is light: something that a look can hide."""

    name, source, settings = "cheeks", "a test", ""

    def boxes(self, picture):
        return [Box(0, 0, 40)] if self.strength(picture, 0) > 0 else []

    def strength(self, picture, side):
        height, width = picture.shape
        part = picture[round(0.5 * height) : round(0.62 * height), round(0.25 * width) : round(0.37 * width)]
        return float(part.mean()) / 255 - 0.25

    def digest(self):
        return "0"


@pytest.mark.usefixtures("always_kept")
def test_the_search_hides_what_can_be_hidden_and_goes_on_where_it_was_cut_off(tmp_path):
    light = Face("light", torch.full((1, 140, 140), 0.8), Box(24, 24, 92), 7)  # its own close-up
    method = Dazzle(
        threat=Patch(0.08), generations=12, population=6, strokes=1, triangles=1, tilt=4.0, scale=0.1
    )
    shown: list[int] = []
    costs = cost_of(method, Cheeks(), [light], 0, shown.append)
    found = search(method, costs, 0)
    assert found.cost == 0
    assert Cheeks().boxes(grey(light.picture))
    assert not Cheeks().boxes(grey(light.wearing(found.look, method)))
    assert (
        sum(bool(Cheeks().boxes(grey(light.wearing(look, method)))) for look in looks(10, method.form)) >= 8
    )

    facts = facts_of(method, Cheeks(), [light], 0)

    def again() -> tuple[np.ndarray, int]:
        with Checkpoint(tmp_path / "fitting.pt", facts) as checkpoint:
            recorded = Recorded(checkpoint)
            counted = cost_of(method, Cheeks(), [light], 0, recorded.count)
            return search(method, recorded.replayed("7", counted), 0).look, recorded.shown

    look, counted = again()
    assert np.array_equal(look, found.look)
    assert counted == sum(shown)
    with Checkpoint(tmp_path / "fitting.pt", facts) as checkpoint:
        known = checkpoint.restore()
        assert known is not None
        known["calls"]["7"].pop()
        checkpoint.save({**known, "shown": counted - shown[-1]})
    look, counted_again = again()
    assert np.array_equal(look, found.look)
    assert counted_again == counted  # the call that was missing was made, and no other


def test_the_search_leaves_numpys_own_numbers_alone():
    np.random.seed(1)  # noqa: NPY002 - cma would draw from it
    expected = np.random.get_state()[1].copy()  # noqa: NPY002
    search(Dazzle(generations=2), lambda looks, generation, times: [float(look[0]) for look in looks], 0)
    assert np.array_equal(np.random.get_state()[1], expected)  # noqa: NPY002


def test_what_is_fitted_on_is_the_face_at_one_size_in_grey():
    colour = torch.rand(3, 300, 400)
    near = close_up(Face("large", colour, Box(100, 60, 184), 0))
    assert near.box.side == 92
    assert near.picture.shape[0] == 1
    assert max(near.size) <= 92 * 1.6
    unchanged = close_up(face())
    top, left = round(BOX[1] - unchanged.box.top), round(BOX[0] - unchanged.box.left)
    height, width = unchanged.size
    assert torch.equal(unchanged.picture, face().picture[:, top : top + height, left : left + width])


# The command --------------------------------------------------------------------------------------

DETECTOR = "detector:viola-jones"  # the quickest
SMALL = [
    "--limit",
    "8",
    "--set",
    "views=1",
    "--set",
    "generations=1",
    "--set",
    "starts=1",
    "--set",
    "population=4",
]


def table(folder: str) -> list[dict]:
    with Path(folder, "images.csv").open() as file:
        return list(csv.DictReader(file))


def results(folder: str) -> dict:
    return json.loads(Path(folder, "run.json").read_text())["results"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A folder with one look for all, and looks of each face's own."""
    pytest.importorskip("cv2")
    folder, patch = tmp_path_factory.mktemp("dazzle"), pytest.MonkeyPatch()
    patch.chdir(folder)
    words = ["attack", "dazzle", DETECTOR, "faces", *SMALL]
    assert run([*words, "--set", "eps=0.0432", "--out", "all"]) == 0
    own = ["--limit", "4", "--set", "eps=0.0432", "--set", "per_face=true"]
    assert run([*words, *own, "--out", "own"]) == 0
    yield folder
    patch.undo()


@pytest.mark.parametrize("folder", ["all", "own"])
def test_every_claim_is_a_file(fitted, folder):
    found, rows = results(folder), table(folder)
    assert found["faces"] * found["views"] == found["n"] == len(rows)
    assert found["faces"] == 2
    detector, right, hidden = open_detector(DETECTOR), 0, 0
    for row in rows:
        clean = detector.boxes(grey(read_png(Path(folder, row["clean_file"]))))
        right += row["clean_prediction"] == "0"
        assert bool(clean) >= (row["clean_prediction"] == "0")
        if row["success"] == "true":
            hidden += 1
            image = read_png(Path(folder, row["adversarial_file"]))
            assert not [box for box in detector.boxes(grey(image)) if box.overlaps(Box(*BOX))]
            assert float(row["distance"]) <= 0.0432
    assert found["clean_accuracy"] == pytest.approx(right / len(rows))
    assert found["robust_accuracy"] == pytest.approx((right - hidden) / len(rows))
    assert found["transfer"].keys() == {"cnn", "lbp"}
    assert found["false_alarms"].keys() == set(DETECTORS)


def test_a_look_is_applied_to_other_faces_and_another_detector(fitted):
    seen = load_artefact("all/artefact.safetensors", Dazzle).seen.tolist()
    words = ["--artefact", "all/artefact.safetensors", "--limit", "8", "--out", "other"]
    assert run(["attack", "dazzle", "detector:lbp", "faces", *words]) == 0
    found = results("other")
    assert (found["faces"], found["left_out"], found["fitted_on"]["model"]) == (2, 2, DETECTOR)
    assert len(seen) == 2
    own = ["--artefact", "own/artefact.safetensors", "--limit", "4", "--out", "own-other"]
    assert run(["attack", "dazzle", "detector:lbp", "faces", *own]) == 0
    assert (results("own-other")["faces"], results("own-other")["left_out"]) == (2, 0)
    before, after = table("own"), table("own-other")
    for row, again in zip(before, after, strict=True):  # the same looks in the same views
        if row["adversarial_file"] and again["adversarial_file"]:
            images = (
                read_png(f"own/{row['adversarial_file']}"),
                read_png(f"own-other/{again['adversarial_file']}"),
            )
            assert torch.equal(*images)


def test_of_several_detections_the_surest_is_the_face():
    """OpenCV's cascade finds the astronaut, and a larger face in the rocket behind her."""
    pytest.importorskip("cv2")
    image = picture(faces("astronaut"), 0)
    box = surest(open_detector("detector:viola-jones").boxes(grey(image)))
    assert (box.left, box.top, box.side) == pytest.approx((175, 66, 97), abs=12)


def test_a_photograph_shows_where_its_face_is(fitted):
    Image.fromarray(enlarged(stored()[0])).resize((210, 210)).convert("RGB").save("me.png")
    words = ["me.png", "--set", "per_face=true", *SMALL, "--out", "photograph"]
    assert run(["attack", "dazzle", DETECTOR, *words]) == 0
    assert results("photograph")["faces"] == 1
    assert results("photograph")["false_alarms"] is None
    assert read_png("photograph/pictures.png").shape[0] == 3


BAD = {
    "no face": (["detector:cnn", "noise.png", "--set", "per_face=true"], "finds no face in noise.png"),
    "none left": (["detector:cnn", "noise.png", "--skip-bad"], "nothing to hide"),
    "one face": (["detector:cnn", "faces", "--limit", "2"], "per_face=true"),
    "area": (["detector:cnn", "faces", "--set", "eps=0"], "above 0 and below 1"),
    "all of it": (["detector:cnn", "faces", "--set", "eps=1"], "above 0 and below 1"),
    "classifier": (["zoo:toybox-resnet20", "faces"], "finds no faces. A face detector is one of"),
    "detector": (["detector:viola", "faces"], "Did you mean detector:viola-jones"),
    "option": (["detector:cnn", "faces", "--size", "24"], "belongs to a classifier"),
    "target": (["detector:cnn", "faces", "--target", "1"], "takes no target"),
    "eot": (["detector:cnn", "faces", "--set", "eot=3"], "takes none"),
    "population": (["detector:cnn", "faces", "--set", "population=2"], "at least 4"),
    "tilt": (["detector:cnn", "faces", "--set", "tilt=90"], "at most 45"),
    "empty look": (["detector:cnn", "faces", "--set", "strokes=0", "--set", "triangles=0"], "at least"),
    "fit": (["detector:cnn", "faces", "--set", "fit=2", "--set", "per_face=true"], "one look for all"),
    "split": (["detector:cnn", "faces:validation"], "Unknown data"),
    "own looks": (["detector:cnn", "faces:train", "--artefact", "own/artefact.safetensors"], "own faces"),
    "data": (["detector:cnn"], "needs DATA"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_ends_with_one_sentence(fitted, what, capsys):
    random = np.random.default_rng(0)
    Image.fromarray((random.random((64, 64)) * 255).astype(np.uint8)).save("noise.png")
    words, sentence = BAD[what]
    assert run(["attack", "dazzle", *words, "--out", "bad"]) == 2
    shown = capsys.readouterr()
    assert sentence in shown.err, shown.err
    assert shown.err.count("\n") == 1
    assert not Path("bad").exists()


def test_a_detector_is_no_classifier(capsys, tmp_path):
    assert run(["attack", "fgsm", "detector:cnn", "faces", "--out", str(tmp_path / "bad")]) == 2
    assert "ostrich attack dazzle detector:cnn faces" in capsys.readouterr().err


def test_what_is_not_installed_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtra, match=r"pip install 'ostrich-vision\[faces\]'"):
        open_detector("detector:viola-jones")
    monkeypatch.setitem(sys.modules, "cma", None)
    with pytest.raises(MissingExtra, match=r"pip install 'ostrich-vision\[faces\]'"):
        search(Dazzle(), lambda looks, generation, times: [0.0] * len(looks), 0)


def test_settings_are_those_of_every_attack():
    method = configure(Dazzle, {"eps": "3/100", "per_face": "true"})
    assert method == replace(Dazzle(threat=Patch(0.03)), per_face=True)
    view = method.held_out(5, 0)
    assert view == method.held_out(5, 0) != method.held_out(6, 0)
    assert all(abs(one.tilt) <= 10 and 0.8 - 1e-9 <= one.scale <= 1.25 for one in view)
    assert math.isclose(Dazzle().threat.eps, 0.02)
