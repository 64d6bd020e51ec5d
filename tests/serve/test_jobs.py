"""What the playground computes: the same as the verbs, verified on files, and refused in words."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import ostrich
from ostrich.errors import InputError, UnknownName
from ostrich.images import read_png, rounded
from ostrich.inspection.silencing import silenced
from ostrich.models.classifier import Classifier
from ostrich.serve.app import application
from ostrich.serve.facts import _attacks, facts_of
from ostrich.serve.jobs import JOBS, generators
from ostrich.serve.jobs.network import moved
from ostrich.serve.playground import Playground, seen_at
from tests.serve.conftest import Told, asked, playground_of


def pixels(source: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))


def last(events: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return [event for event in events if event["event"] == name][-1]


def test_bars_are_the_softmax_of_each_network(toys: Playground) -> None:
    bars = last(asked(toys, "look", image="d3"), "bars")["networks"]
    for network, row in zip(toys.networks, bars, strict=True):
        shares = network.predict(toys.image("d3")).softmax(1)[0]
        assert row["classes"][0]["index"] == int(shares.argmax())
        assert row["classes"][0]["share"] == pytest.approx(shares.max().item())


def test_a_turned_image_is_verified_and_saved_with_its_proof(toys: Playground) -> None:
    seen = int(toys.classifier.predict(toys.image("d1")).argmax())
    target = (seen + 1) % 10
    events = asked(toys, "turn", image="d1", attack="pgd", target=target, eps=16 / 255)
    assert events[0]["event"] == "step"
    assert events[0]["linf"] == 0
    result = last(events, "result")
    assert result["success"]
    assert result["linf"] <= 16 + 1e-3
    assert result["networks"][0]["classes"][0]["index"] == target
    folder = toys.save(result["made"])
    assert toys.save(result["made"]) == folder  # twice is once
    file = read_png(toys.saved_file(result["made"], "picture"))[None]
    assert int(toys.classifier.predict(file).argmax()) == target
    assert json.loads((folder / "run.json").read_text())["results"]["success_rate"] == 1
    assert (
        torch.from_numpy(np.array(pixels(result["picture"]))).movedim(-1, 0) == (file[0] * 255).round()
    ).all()


def test_a_failure_that_is_none_is_not_saved(toys: Playground) -> None:
    result = last(asked(toys, "turn", image="d1", attack="pgd", eps=0.2 / 255, steps=1), "result")
    assert not result["success"]
    with pytest.raises(InputError, match="verified"):
        toys.save(result["made"])
    with pytest.raises(InputError, match="verified"):
        toys.save("m999999")


@pytest.mark.parametrize("attack", [row["name"] for row in _attacks("gradient")])
def test_every_attack_that_is_offered_runs_and_can_be_stopped(toys: Playground, attack: str) -> None:
    kind, do = JOBS["turn"]
    job = Told(most=2)  # pictures on the way; those that take long are stopped there
    do(toys, kind.model_validate({"image": "d2", "attack": attack}), job)
    assert job.told[-1]["event"] in ("result", "stopped")
    seen = int(toys.classifier.predict(toys.image("d2")).argmax())
    if job.told[-1].get("success"):
        assert int(toys.classifier.predict(toys.image(job.told[-1]["made"])).argmax()) != seen


def test_a_class_that_it_is_already_and_one_that_is_none_are_refused(toys: Playground) -> None:
    seen = int(toys.classifier.predict(toys.image("d1")).argmax())
    with pytest.raises(InputError, match="already"):
        asked(toys, "turn", image="d1", attack="pgd", target=seen)
    with pytest.raises(InputError, match="Classes are"):
        asked(toys, "turn", image="d1", attack="pgd", target=99)
    with pytest.raises(UnknownName):
        asked(toys, "turn", image="d1", attack="FILE.py")


def test_stopped_on_the_way_is_no_claim(toys: Playground) -> None:
    kind, do = JOBS["turn"]
    job = Told()
    job.stopped.set()
    do(toys, kind.model_validate({"image": "d1", "attack": "pgd"}), job)
    assert job.told[-1]["event"] == "stopped"
    with pytest.raises(InputError, match="verified"):
        toys.save(job.told[-1]["made"])


def test_budgets_rise_and_stay_inside(toys: Playground) -> None:
    events = asked(toys, "budgets", image="d4")
    assert [e["eps"] for e in events] == sorted(e["eps"] for e in events)
    assert all(e["linf"] <= max(e["eps"], 0) + 1e-3 for e in events if e["eps"] >= 1)
    assert events[-1]["success"]


def test_tiles_are_the_activations_and_a_sheet_tells_what_moves(toys: Playground) -> None:
    layer = next(r["name"] for r in last(asked(toys, "layers"), "layers")["rows"] if r["features"])
    tiles = last(asked(toys, "tiles", image="d0", layer=layer), "tiles")
    maps = ostrich.inspection.units.activations(toys.classifier, toys.image("d0"), layer)[0].detach()
    assert tiles["count"] == len(maps)
    assert tiles["means"] == pytest.approx(maps.mean((1, 2)).tolist(), abs=1e-4)
    height, width = tiles["size"]
    k = 1
    row, column = divmod(k, tiles["columns"])
    tile = pixels(tiles["picture"])[row * height : (row + 1) * height, column * width : (column + 1) * width]
    low, high = tiles["range"]
    assert np.abs(tile / 255 - ((maps[k] - low) / (high - low)).numpy()).max() <= 0.003
    sheet = asked(toys, "sheet", image="d0", unit=f"{layer}:{k}")
    assert [e["event"] for e in sheet] == ["here", "moves", "sheet"]
    top, left, bottom, right = sheet[0]["box"]
    assert 0 <= top < bottom <= 64
    assert 0 <= left < right <= 64
    values = [row["value"] for row in sheet[2]["strongest"]]
    assert values == sorted(values, reverse=True)


def test_silencing_is_what_zeroing_the_channel_by_hand_gives() -> None:
    torch.manual_seed(0)
    first, last_ = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
    network = nn.Sequential(first, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), last_)
    classifier, images = ostrich.load(network, size=8), torch.rand(2, 3, 8, 8)
    by_hand = first(images)
    by_hand[:, 2] = 0
    with torch.no_grad():
        expected = network[1:](by_hand)
    assert torch.allclose(silenced(classifier, images, "0:2"), expected, atol=1e-6)
    assert torch.allclose(silenced(classifier, images, "0:2@1,1"), expected, atol=1e-6)
    assert not torch.allclose(classifier.predict(images), expected, atol=1e-3)
    with pytest.raises(InputError, match="features 0 to 3"):
        silenced(classifier, images, "0:4")
    with pytest.raises(InputError, match="answer"):
        silenced(classifier, images, "class:0")
    with pytest.raises(UnknownName):
        silenced(classifier, images, "conv9:0")


def test_touching_moves_what_an_occlusion_by_hand_moves(toys: Playground) -> None:
    image = toys.image("d0")
    moved = last(asked(toys, "pixel", image="d0", row=30, column=30, side=20, layer="conv1"), "moved")
    assert moved["box"] == [20, 20, 40, 40]
    by_hand = image.clone()
    by_hand[:, :, 20:40, 20:40] = image.mean((2, 3), keepdim=True)
    after = toys.classifier.predict(by_hand).softmax(1)[0]
    assert moved["classes"][0]["after"] == pytest.approx(after[moved["classes"][0]["index"]].item(), abs=1e-5)
    assert len(moved["units"]) == 8
    with pytest.raises(InputError, match="64 rows"):
        asked(toys, "pixel", image="d0", row=64, column=0)


def test_a_brushed_picture_is_an_image_of_its_own(toys: Playground) -> None:
    found = last(
        asked(toys, "brush", image="d0", places=[[10, 10], [12, 10]], radius=3, fill="grey"), "brushed"
    )
    made, image = toys.image(found["made"]), toys.image("d0")
    assert (made != image).any()
    assert (made[:, :, 20:] == image[:, :, 20:]).all()
    assert made[0, 0, 10, 10] == rounded(torch.tensor(0.5))
    assert 0 < found["share"] < 0.02


def test_explanations_are_the_verbs_maps_or_a_reason(toys: Playground) -> None:
    events = asked(toys, "explain", image="d0", methods=["gradient", "rollout", "gradcam"])
    assert [e["method"] for e in events] == ["gradient", "rollout", "gradcam"]
    assert "attention" in events[1]["refused"]
    assert "picture" in events[0]


@pytest.mark.slow
def test_a_checked_explanation_says_what_the_check_found(toys: Playground) -> None:
    event = asked(toys, "explain", image="d0", methods=["gradient"], sanity=True)[-1]
    plain = asked(toys, "explain", image="d0", methods=["gradient"])[-1]
    assert any("random" in sentence for sentence in set(event["sentences"]) - set(plain["sentences"]))


def test_a_corruption_is_that_of_the_library(toys: Playground) -> None:
    found = last(asked(toys, "corrupt", image="d0", corruption="contrast", severity=4), "corrupted")
    assert (toys.image(found["made"]) == ostrich.corruptions.corrupt(toys.image("d0"), "contrast", 4)).all()
    same = last(asked(toys, "corrupt", image="d0", corruption="contrast", severity=0), "corrupted")
    assert (toys.image(same["made"]) == toys.image("d0")).all()


def test_a_wish_grows_and_can_be_stopped(toys: Playground) -> None:
    grown = last(asked(toys, "want", unit="class:ostrich - class:umbrella", steps=16), "wanted")
    assert grown["value"] > 0
    assert grown["networks"][0]["classes"]
    kind, do = JOBS["want"]
    job = Told()
    job.stopped.set()
    do(toys, kind.model_validate({"unit": "class:ostrich", "steps": 16}), job)
    assert job.told == []


def test_generators_sample_walk_and_steer(toys: Playground) -> None:
    found = last(
        asked(toys, "sample", generator="zoo:toybox-conditional", count=3, asked_class="ostrich"), "samples"
    )
    assert found["names"] == ["ostrich"] * 3
    walk = last(asked(toys, "walk", generator="zoo:toybox-dcgan", start=0, end=1, steps=4), "walk")
    assert len(walk["pictures"]) == 4
    still = last(asked(toys, "steer", generator="zoo:toybox-conditional", number=0, along=[0.0]), "steered")
    moved = last(asked(toys, "steer", generator="zoo:toybox-conditional", number=0, along=[4.0]), "steered")
    assert (pixels(still["picture"]) != pixels(moved["picture"])).any()
    with pytest.raises(InputError, match="generators here"):
        asked(toys, "sample", generator="/etc")


def test_nearest_training_images_are_the_nearest(toys: Playground, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("embreex", reason="scenes are rendered by embreex")
    monkeypatch.setattr(generators, "COMPARED", 100)
    generators._training.cache_clear()
    found = last(asked(toys, "nearest", generator="zoo:toybox-dcgan", number=3), "nearest")
    assert (found["of"], found["all"]) == (100, 12_000)
    sample = generators._loaded("zoo:toybox-dcgan").sample(range(3, 4))[0]
    away = (generators._training("zoo:toybox-dcgan", 100).images() - rounded(sample)).flatten(1).norm(dim=1)
    assert [row["distance"] for row in found["rows"]] == pytest.approx(sorted(away.tolist())[:4], rel=1e-5)
    generators._training.cache_clear()


def test_a_sample_of_another_size_is_seen_at_the_networks(toys: Playground) -> None:
    steered = last(asked(toys, "steer", generator="zoo:toybox-dcgan", number=0), "steered")
    assert pixels(steered["picture"]).shape == (32, 32, 3)
    assert toys.image(steered["made"]).shape == (1, 3, 64, 64)
    assert len(steered["networks"]) == 2


@pytest.mark.slow
def test_what_is_fitted_is_judged_on_others_and_laid_over_with_its_proof(toys: Playground) -> None:
    wish = {"attack": "universal", "epochs": 8, "eps": 20 / 255}
    with pytest.raises(InputError, match="fit it first"):
        asked(toys, "lay", image="d0", fitted=wish)
    fitted = last(asked(toys, "fit", **wish), "fitted")
    assert fitted["n"] + fitted["seen"] == len(toys.samples)
    assert asked(toys, "fit", **wish) == [fitted]  # once is enough
    laid = [asked(toys, "lay", image=f"d{k}", fitted=wish)[-1] for k in range(len(toys.samples))]
    assert all(one["linf"] <= 20 + 1e-3 for one in laid)
    assert sum("fitted on" in one["sentence"] for one in laid) == fitted["seen"]
    proved = next(one for one in laid if one["success"])
    folder = toys.save(proved["made"])
    assert json.loads((folder / "run.json").read_text())["results"]["success_rate"] == 1
    assert (read_png(toys.saved_file(proved["made"], "picture"))[None] == toys.image(proved["made"])).all()
    unproved = next(one for one in laid if not one["success"])
    with pytest.raises(InputError, match="verified"):
        toys.save(unproved["made"])


@pytest.mark.slow
def test_a_patch_lies_where_the_hand_is(toys: Playground) -> None:
    wish = {"attack": "patch", "epochs": 1, "target": 3}
    asked(toys, "fit", **wish)
    image = toys.image("d0")
    for down, right, rows, columns in ((0.5, 0.25, (23, 41), (7, 25)), (0, 1, (0, 18), (46, 64))):
        laid = asked(toys, "lay", image="d0", fitted=wish, down=down, right=right)[-1]
        changed = (toys.image(laid["made"]) != image).any(1)[0]
        where = changed.nonzero()
        assert where.amin(0).tolist() == [rows[0], columns[0]]
        assert (where.amax(0) + 1).tolist() == [rows[1], columns[1]]
        assert laid["goal"]["class"] == 3


def test_a_network_beside_sees_the_image_at_its_own_size(tmp_path: Path) -> None:
    networks = [ostrich.load(f"zoo:toybox-{name}") for name in ("resnet20", "robust")]
    networks[1].size = (32, 32)
    playground = playground_of(tmp_path, networks)
    shown = seen_at(networks[1], playground.image("d0"))
    assert shown.shape == (1, 3, 32, 32)
    best = playground.bars(playground.image("d0"))[1]["classes"][0]
    assert best["share"] == pytest.approx(networks[1].predict(shown).softmax(1).max().item())


def test_answers_are_remembered_by_the_image_and_the_question(toys: Playground) -> None:
    kind, do = JOBS["explain"]
    wish = kind.model_validate({"image": "d0", "methods": ["gradient"]})
    computed = []
    for _ in range(2):
        job = Told()
        toys.answered(wish, job, lambda recorder: (computed.append(1), do(toys, wish, recorder))[1])
        assert job.told[0]["method"] == "gradient"
    assert computed == [1]


def test_ids_are_no_paths(toys: Playground) -> None:
    for name in ("d999", "../d0", "d-1", "d0/../../x", "x0", "", "d٣"):
        with pytest.raises(InputError):
            toys.image(name)


def test_a_network_of_scores_alone_is_offered_what_works(tmp_path: Path) -> None:
    network = ostrich.load("zoo:digits-cnn")

    def scores(images: Tensor) -> Tensor:
        with torch.no_grad():
            return network(images)

    alone = Classifier(scores, size=network.size, channels=1, class_names=network.class_names)
    playground = playground_of(tmp_path, [alone], "digits")
    facts = facts_of(playground)
    assert facts["access"] == "scores"
    assert facts["presets"] is None
    assert {row["name"] for row in facts["attacks"]} >= {"square", "one-pixel", "boundary"}
    assert all(row["needs"] != "gradient" for row in facts["attacks"])
    assert last(asked(playground, "turn", image="d0", attack="square", eps=0.4), "result")["linf"] <= 103
    with pytest.raises(InputError):
        asked(playground, "want", unit="class:1", steps=8)


def test_a_network_that_gives_labels_alone_has_one_bar(tmp_path: Path) -> None:
    network = ostrich.load("zoo:digits-cnn")
    alone = Classifier(
        lambda images: network.predict(images).argmax(1),
        size=network.size,
        channels=1,
        class_names="0123456789",
    )
    playground = playground_of(tmp_path, [alone], "digits")
    bar = playground.bars(playground.image("d0"))[0]["classes"][0]
    assert bar["share"] == 1


def test_a_network_without_an_answer_has_empty_bars(tmp_path: Path) -> None:
    class Nothing(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :10] * float("nan")

    playground = playground_of(tmp_path, [ostrich.load(Nothing(), size=64)])
    assert all(row["share"] == 0 for row in playground.bars(playground.image("d0"))[0]["classes"])


class _Holes(nn.Module):
    """Of its channels the first is minus infinity and the second not a number."""

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([maps[:, :1] - torch.inf, maps[:, 1:2] * torch.nan, maps[:, 2:]], 1)


def test_numbers_that_are_not_finite_are_sent_as_null(tmp_path: Path) -> None:
    testclient = pytest.importorskip("starlette.testclient", reason="starlette's test client needs httpx")
    network = nn.Sequential(nn.Conv2d(3, 10, 16, 16), _Holes(), nn.Flatten(), nn.Linear(160, 10))
    playground = playground_of(tmp_path, [ostrich.load(network, size=64)])
    found = last(asked(playground, "tiles", image="d0", layer="1"), "tiles")
    finite = network[0](playground.image("d0"))[:, 2:]
    assert found["range"] == pytest.approx([finite.min().item(), finite.max().item()], rel=1e-4)
    assert (pixels(found["picture"])[:4, :8] == 0).all()
    assert set(found["order"][-2:]) == {0, 1}
    assert all(row["before"] == row["after"] == 0 for row in moved(playground, playground.image("d0"), "0:3"))
    app = application(playground, token="a-token", hosts={"127.0.0.1:8000"})
    with testclient.TestClient(app, base_url="http://127.0.0.1:8000") as client:
        client.get("/?token=a-token")
        wish = {"page": "0" * 16, "asked": {"image": "d0", "layer": "1"}}
        answer = client.post("/jobs/tiles", json=wish, headers={"origin": "http://127.0.0.1:8000"})
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
    assert last(events, "tiles")["means"][:2] == [None, None]
    assert "Infinity" not in answer.text
    assert "NaN" not in answer.text


@pytest.mark.parametrize("layer", ["linear", "layer3.2.conv2"])
def test_units_of_a_layer_whose_output_is_a_vector_are_touched(toys: Playground, layer: str) -> None:
    moves = last(asked(toys, "pixel", image="d0", row=32, column=32, side=16, layer=layer), "moved")
    assert len(moves["units"]) == 8
