"""Weights as training scripts leave them: nests, averages, prefixes, losses beside them, another head."""

from __future__ import annotations

import pickle
import re
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import ostrich
from ostrich.cli.main import run
from ostrich.errors import CheckpointMismatch, InputError
from ostrich.models import architectures
from ostrich.models.checkpoints import Checkpoint, load_weights


class Net(nn.Module):
    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.head = nn.Linear(4, classes)

    def forward(self, x):
        return self.head(self.stem(x).mean((2, 3)))


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = Net()


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    network = Net()
    return {k: torch.rand_like(v) if v.is_floating_point() else v for k, v in network.state_dict().items()}


def under(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}{k}": v for k, v in state.items()}


def same(network: nn.Module, state: dict[str, torch.Tensor], prefix: str = "") -> bool:
    found = network.state_dict()
    return all(torch.equal(found[f"{prefix}{k}"], v) for k, v in state.items())


def saved(tmp_path, content, **options) -> Path:
    torch.save(content, tmp_path / "w.pt", **options)
    return tmp_path / "w.pt"


NESTED = {
    "plain": lambda w: w,
    "nest": lambda w: {"state_dict": w, "epoch": 3},
    "any word": lambda w: {"my_classifier": w, "epoch": 3},
    "deep": lambda w: {"checkpoint": {"net": {"params": w}}},
    "DataParallel": lambda w: under("module.", w),
    "any prefix": lambda w: {"state_dict": under("learner.backbone_0.", w)},
    "by part": lambda w: {
        part: {k.partition(".")[2]: v for k, v in w.items() if k.startswith(part)}
        for part in ("stem", "head")
    },
    "Lightning": lambda w: {
        "state_dict": under("net.", w) | {"criterion.weight": torch.ones(3)},
        "hyper_parameters": Namespace(lr=0.1),
    },
    "loss beside it": lambda w: w | {"loss_fn.weight": torch.ones(3), "val_acc.total": torch.ones(())},
    "optimiser": lambda w: {
        "model": w,
        "optimizer": {"state": {0: {"exp_avg": torch.ones(4, 3, 3, 3)}}, "param_groups": [{"lr": 0.1}]},
    },
    "objects": lambda w: {
        "model": w,
        "args": Namespace(lr=0.1, where=Path("runs")),
        "make": partial(torch.optim.SGD, lr=0.1),
        "best": np.float64(0.9),
        "random": np.random.default_rng(0),
    },
}


@pytest.mark.parametrize("name", NESTED)
@pytest.mark.parametrize("archived", [True, False])
def test_wherever_the_weights_stand_they_are_found(tmp_path, name, archived):
    state = weights()
    path = saved(tmp_path, NESTED[name](state), _use_new_zipfile_serialization=archived)
    network = Net()
    load_weights(network, path)
    assert same(network, state)
    network = Wrapped()
    load_weights(network, path)
    assert same(network, state, "model.")


def test_a_prefix_of_the_network_may_be_missing_or_there(tmp_path):
    state = weights()
    network = Wrapped()
    load_weights(network, saved(tmp_path, {"state_dict": under("model.", state)}))
    assert same(network, state, "model.")


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision(tmp_path, half):
    state = {k: v.to(half) if v.is_floating_point() else v for k, v in weights().items()}
    save_file(state, tmp_path / "w.safetensors")
    for path in (saved(tmp_path, state), tmp_path / "w.safetensors"):
        network = Net()
        load_weights(network, path)
        assert network.head.weight.dtype == torch.float32
        assert torch.equal(network.head.weight, state["head.weight"].float())


AVERAGES = {
    "timm": lambda w, e: {"state_dict": w, "state_dict_ema": e},
    "detr": lambda w, e: {"model": w, "model_ema": e},
    "with module": lambda w, e: {"model": w, "ema": {"module": e, "updates": 7}},
    "an object": lambda w, e: {"model": w, "ema": Namespace(module=e)},
    "params": lambda w, e: {"params": w, "params_ema": e},
    "SWA": lambda w, e: {"model": w, "swa_model": under("module.", e) | {"n_averaged": torch.tensor(3)}},
    "ema first": lambda w, e: {"ema_state_dict": e, "state_dict": w},
    "without counters": lambda w, e: {
        "model": w,
        "ema": {k: v for k, v in e.items() if not k.endswith("num_batches_tracked")},
    },
}


@pytest.mark.parametrize("name", AVERAGES)
def test_averaged_weights_are_taken_unless_said_otherwise(tmp_path, name):
    plain, averaged = weights(0), weights(1)
    path = saved(tmp_path, AVERAGES[name](plain, averaged))
    for ema, state in ((None, averaged), (True, averaged), (False, plain)):
        network, checkpoint = Net(), Checkpoint(path, ema=ema)
        checkpoint.load_into(network)
        assert same(network, state)
        assert ("--ema no" if ema is not False else "--ema yes") in checkpoint.remarks["weights"]
        assert "left out" not in checkpoint.remarks or "n_averaged" in checkpoint.remarks["left out"]


PARAMETERS = {"stem.0.weight", "stem.0.bias", "stem.1.weight", "stem.1.bias", "head.weight", "head.bias"}


@pytest.mark.parametrize("network", [Net, Wrapped])
def test_averages_of_parameters_alone_take_the_other_buffers(tmp_path, network):
    plain, averaged = weights(0), weights(1)
    average = {k: v for k, v in averaged.items() if k in PARAMETERS}
    path = saved(tmp_path, {"model": plain, "model_ema": average})
    for ema, state in ((None, plain | average), (True, plain | average), (False, plain)):
        found, checkpoint = network(), Checkpoint(path, ema=ema)
        checkpoint.load_into(found)
        assert same(found, state, "model." if network is Wrapped else "")
        assert ("with the buffers of" in checkpoint.remarks["weights"]) == (ema is not False)
        assert "left out" not in checkpoint.remarks
    del average["head.bias"]
    checkpoint = Checkpoint(saved(tmp_path, {"model": plain, "model_ema": average}))
    checkpoint.load_into(Net())
    assert "weights" not in checkpoint.remarks


def test_a_pickled_network_beside_weights_is_read_as_data(tmp_path):
    network = Net()
    network.load_state_dict(weights(1))
    path = saved(tmp_path, {"model": weights(0), "ema": network})
    found = Net()
    load_weights(found, path)
    assert same(found, weights(1))


def test_weights_of_another_network_are_no_sets_that_fit(tmp_path):
    torch.save(architectures.build("resnet20,classes=10")[0].state_dict(), tmp_path / "other.pth")
    network = architectures.build("digits-cnn")[0]  # its names stand in each block of the other
    with pytest.raises(InputError, match=r"of its 8 tensors no part .* as of another network: .*bn1"):
        load_weights(network, tmp_path / "other.pth")


def test_sets_that_cannot_be_told_apart_are_named(tmp_path):
    path = saved(tmp_path, {"student": weights(0), "teacher": weights(1)})
    with pytest.raises(InputError, match=r"several sets.*student, teacher.*--drop 'teacher.\*'"):
        load_weights(Net(), path)
    network, checkpoint = Net(), Checkpoint(path, drop=["teacher.*"])
    checkpoint.load_into(network)
    assert same(network, weights(0))
    with pytest.raises(InputError, match=r"--ema yes: .* no averaged weights"):
        Checkpoint(saved(tmp_path, weights()), ema=True).load_into(Net())


def test_what_is_left_out_is_said(tmp_path):
    checkpoint = Checkpoint(saved(tmp_path, NESTED["Lightning"](weights())))
    checkpoint.load_into(Net())
    assert checkpoint.remarks == {"left out": "criterion.weight: nothing of the network is called so"}
    more = {"state_dict": weights(), "optimizer": {i: {"exp_avg": torch.ones(2)} for i in range(5)}}
    checkpoint = Checkpoint(saved(tmp_path, more))
    checkpoint.load_into(Net())
    assert checkpoint.remarks["left out"].startswith("5 of optimizer")


def test_what_looks_like_the_network_is_not_left_out_in_silence(tmp_path):
    path = saved(tmp_path, weights() | {"stem.2.weight": torch.ones(4)})
    with pytest.raises(CheckpointMismatch, match=r"1 unexpected: stem.2.weight.*--drop 'stem.2.\*'"):
        load_weights(Net(), path)
    network = Net()
    Checkpoint(path, drop=["stem.2.*"]).load_into(network)
    assert same(network, weights())
    with pytest.raises(InputError, match="--drop 'none': no name"):
        Checkpoint(path, drop=["none"])
    lacking = {k: v for k, v in weights().items() if k != "stem.0.weight"} | {"loss.weight": torch.ones(1)}
    with pytest.raises(CheckpointMismatch, match=r"1 missing: stem.0.weight.*1 unexpected: loss.weight"):
        load_weights(Net(), saved(tmp_path, lacking))


BESIDE = {
    "a head beside": lambda w: under(
        "model.", w | {"aux.0.weight": torch.ones(5), "aux.1.bias": torch.ones(1)}
    ),
    "adapters": lambda w: under("m.", w | {f"head.lora_{one}.weight": torch.ones(2, 4) for one in "AB"}),
    "no layer of its own": lambda w: w | {"head.scale": torch.ones(4)},
    "nested": lambda w: {"state_dict": {"net": w | {"stem.7.weight": torch.ones(4)}}},
    "two sets, one at the top": lambda w: {**w, "other": w},
    "one set within another": lambda w: {"net": {**w, "old": w}},
}


@pytest.mark.parametrize(
    ("name", "network"),  # of the first, what is beside looks like nothing of Net, and is left out anyway
    [(name, network) for name in BESIDE for network in (Net, Wrapped)][1:],
)
def test_the_drop_that_is_advised_leaves_the_rest(tmp_path, name, network):
    path = saved(tmp_path, BESIDE[name](weights()))
    with pytest.raises(InputError) as refused:
        load_weights(network(), path)
    advised = re.findall("--drop '([^']*)'", str(refused.value))
    found = network()
    Checkpoint(path, drop=advised).load_into(found)
    assert same(found, weights(), "model." if network is Wrapped else "")


def test_a_drop_of_everything_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"--drop 'model.\*' leaves none"):
        Checkpoint(saved(tmp_path, under("model.", weights())), drop=["model.*"])


def test_a_head_in_a_sequential_names_its_option(tmp_path):
    state = {k.replace("head.", "head.1."): v for k, v in weights().items()}
    path = saved(tmp_path, state)
    with pytest.raises(CheckpointMismatch, match=r"--rename head\.1\.=head\."):
        load_weights(Net(), path)
    network = Net()
    load_weights(network, path, [("head.1.", "head.")])
    assert same(network, weights())


def test_class_names_of_the_file(tmp_path):
    names = ("ant", "bee", "cat")
    state = Net(3).state_dict()
    for extra in (
        {"class_to_idx": {"bee": 1, "ant": 0, "cat": 2}},
        {"classes": list(names)},
        {"meta": {"CLASSES": names}},
        {"hyper_parameters": Namespace(names=dict(enumerate(names)))},
        {"config": {"id2label": {str(i): name for i, name in enumerate(names)}}},
    ):
        path = saved(tmp_path, {"model": state} | extra)
        network = tmp_path / "net.py"
        network.write_text(
            f"import sys; sys.path.append({str(Path(__file__).parent)!r})\n"
            "from test_checkpoints import Net\ndef build():\n    return Net(3)\n"
        )
        model = ostrich.load(f"{network}:build", weights=path, size=16)
        assert model.class_names == names
        assert "ant, bee, cat, from" in model.remarks()["class names"]
    model = ostrich.load(f"{network}:build", weights=path, size=16, classes=("x", "y", "z"))
    assert model.class_names == ("x", "y", "z")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(40), r"Keras .*export\('m.onnx', format='onnx'\)"),
        ("m.pth", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("m.pth", b"\x1f\x8b" + bytes(40), "gunzip"),
        (
            "m.pkl",
            pickle.dumps(Namespace(a=1)),
            "pickle of argparse.Namespace, not of weights.*PATH.py:FUNCTION",
        ),
        ("m.pth", b"", "not a weights file"),
        ("m.bin", bytes(100), "not a weights file"),
    ],
)
def test_what_is_no_weights_file_says_the_way_out(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        Checkpoint(tmp_path / name)


def test_a_whole_network_is_refused_with_two_lines_that_work(tmp_path, monkeypatch):
    network = Net()
    torch.save(network, tmp_path / "whole.pt")
    torch.save({"model": network, "epoch": 3}, tmp_path / "nested.pt")
    for name in ("whole", "nested"):
        with pytest.raises(InputError, match="a whole network") as refused:
            Checkpoint(tmp_path / f"{name}.pt")
        first, second = str(refused.value).splitlines()[1:]
        exec(f"import torch\n{first}\n{second}", {})
        found = Net()
        load_weights(found, tmp_path / f"{name}-weights.pt")
        assert same(found, network.state_dict())


def test_every_option_reaches_the_file(tmp_path, capsys):
    state = {k: v.clone() for k, v in ostrich.load("arch:resnet8", device="cpu").network.state_dict().items()}
    content = {
        "model": state,
        "model_ema": {k: v + 1 if v.is_floating_point() else v for k, v in state.items()},
    }
    path = saved(tmp_path, content)
    words = [
        "explain",
        "gradient",
        "arch:resnet8",
        "toybox",
        "--size",
        "32",
        "--limit",
        "1",
        "--weights",
        str(path),
    ]
    assert run([*words, "--ema", "no", "--drop", "model_ema.linear.*", "--out", str(tmp_path / "out")]) == 0
    assert run([*words, "--ema", "perhaps"]) == 2
    assert "--ema is yes or no" in capsys.readouterr().err
    assert "trap" not in sys.modules
