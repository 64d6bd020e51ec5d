"""Several processes as one: the same steps, one writer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import ranks
import torch


def together(count: int, task: str, folder: Path) -> None:
    """A task of `ranks` by so many processes."""
    assert ranks.together(count, task, folder) == [0] * count


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The tasks done by one process, and by two."""
    one, many = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("many")
    ranks.train_task(one)
    ranks.play_task(one)
    together(2, "train", many)
    together(2, "play", many)
    return one, many


def test_two_ranks_take_the_steps_of_one_process(folders):
    one, many = (json.loads((folder / "train.json").read_text()) for folder in folders)
    assert len(one["losses"]) == 10
    assert one["losses"][-1] < one["losses"][0]
    assert np.abs(np.subtract(one["losses"], many["losses"])).max() <= 1e-8
    assert np.abs(np.subtract(one["parameters"], many["parameters"])).max() <= 1e-8
    assert one["images"] == many["images"] == 125
    assert one["accuracy"] == many["accuracy"]  # of 101 images over two ranks: nothing is padded


def states(task: str, folder: Path, count: int) -> list[dict[str, dict[str, torch.Tensor]]]:
    """What a task leaves in each of so many processes."""
    (work := folder / str(count)).mkdir()
    if count == 1:
        {**ranks.TASKS, "fits": ranks.fits_task}[task](work)
    else:
        together(count, task, work)
    return [torch.load(path) for path in sorted(work.glob(f"{task}-*.pt"))]


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest difference of two states."""
    assert one.keys() == other.keys()
    return max((one[name].double() - other[name].double()).abs().max().item() for name in one)


LIMITS = {"plain": 1e-9, "plain, float32": 1e-6, "plain, noise": 1e-9}  # 1e-5 with batch norm


@pytest.mark.slow
def test_a_step_is_the_same_by_one_two_and_four_processes(tmp_path):
    (one,) = states("agree", tmp_path, 1)
    for count in (2, 4):
        first, *others = states("agree", tmp_path, count)
        for way in ranks.WAYS:
            assert all(apart(first[way], other[way]) == 0 for other in others)
            assert apart(one[way], first[way]) <= LIMITS.get(way, 1e-5), (way, count)
        assert apart(first["batch norm"], first["resumed"]) == 0
    built = {way: build().state_dict() for way, (build, _) in ranks.WAYS.items()}
    assert all(apart(one[way], built[way]) > 1e-2 for way in ranks.WAYS)  # which it does not begin with
    assert apart(one["batch norm"], one["adversarial"]) > 1e-2


@pytest.mark.slow
def test_a_game_is_the_same_by_one_and_two_processes(tmp_path):
    (one,), (first, second) = states("games", tmp_path, 1), states("games", tmp_path, 2)
    for name in ranks.GAMES:
        assert second[name].pop("rows").numel() == 0  # rank 0 alone measures
        rows = first[name].pop("rows"), one[name].pop("rows")
        assert torch.allclose(*rows, rtol=1e-5, atol=1e-5), name
        assert apart(first[name], second[name]) == 0
        assert apart(one[name], first[name]) <= 1e-5, name


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_an_attack_is_fitted_by_several_as_by_one(count, tmp_path):
    (one,), (many,) = states("fits", tmp_path, 1), states("fits", tmp_path, count)
    assert one.keys() == many.keys() == {*ranks.FITS, "resumed"}
    for name in one:
        assert one[name].pop("processes") == 1
        assert many[name].pop("processes") == (1 if name == "deepfool" else count)
        assert apart(one[name], many[name]) <= (0 if name == "deepfool" else 1e-6), name
    assert apart(many["patch"], many["resumed"]) == 0


def test_two_ranks_play_the_game_of_one_process(folders):
    one, many = (np.array(json.loads((folder / "play.json").read_text())) for folder in folders)
    torch.manual_seed(0)
    start = ranks.build_gan("dcgan,size=8,channels=1,width=0.05,code=5,norm=false").parameters()
    moved = np.abs(one - torch.cat([p.detach().flatten() for p in start]).numpy()).max()
    assert moved > 1e-3
    assert np.abs(one - many).max() <= 1e-3 * moved


def test_the_command_trains_in_two_processes_and_one_writes(tmp_path):
    together(2, "command", tmp_path)
    content = json.loads((tmp_path / "out/run.json").read_text())
    assert content["finished"]
    assert content["asked"]["processes"] == 2
    assert content["results"]["test_images"] == 360
    lines = (tmp_path / "out/metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == sorted(set(steps))
    assert (tmp_path / "out/network.safetensors").exists()
    told = [json.loads((tmp_path / out / ranks.LAST).read_text()) for out in ("out", "generator")]
    assert all(len(set(last["processes"])) == 2 for last in told)
    (part,) = told[0]["parts"]
    assert (part["unit"], part["done"], part["total"]) == ("images", 128, 128)  # 2 steps of 64
    made = json.loads((tmp_path / "generator/run.json").read_text())
    assert made["finished"]
    assert made["asked"]["processes"] == 2
    assert [path.name for path in sorted((tmp_path / "generator/sheets").iterdir())] == [
        "000002.png",
        "000004.png",
    ]
    assert (tmp_path / "generator/generator.safetensors").exists()
    assert not list(tmp_path.glob("runs"))
