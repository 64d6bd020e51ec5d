"""Attacks before a pretend accelerator: no two devices in one operation, and the results of the CPU.

What runs here is the public interface, over the registries: what is registered is covered.
"""

from __future__ import annotations

import copy
import io
import json
from dataclasses import fields, replace

import nets
import numpy as np
import pytest
import torch
from accelerator import ACCELERATOR, CPU, DevicesMixed
from attack_cases import CASES, given, made, short
from on_both import alike, on_both
from torch import Tensor, nn

import ostrich
from ostrich.attacks import IMAGE_AGNOSTIC, INPUT_SPECIFIC, Confident, Untargeted
from ostrich.attacks.fitted.artefact import fit_artefact, judge
from ostrich.attacks.targets import goal
from ostrich.attacks.transfer import companion
from ostrich.cli.main import run
from ostrich.errors import OtherComputation
from ostrich.images import fingerprints
from ostrich.models.fastpath import autocast, faster

x, y = torch.arange(6.0).view(2, 3), torch.ones(2, 3)


# The device itself --------------------------------------------------------------------------------

MIXED = {
    "elementwise": lambda a, b: a + b,
    "in place": lambda a, b: b.clone().mul_(a),
    "one number of the accelerator": lambda a, b: b * a[0, 0],
    "together": lambda a, b: torch.cat([a, b]),
    "numbers stacked": lambda a, b: torch.stack([a[0, 0], b[0, 0]]),
    "products": lambda a, b: a @ b.T,
    "a choice": lambda a, b: torch.where(a > 0, b, a),
    "indices of the accelerator": lambda a, b: b[a > 2],
    "values of the CPU": lambda a, b: a.clone().index_put_((a > 2,), b[0]),
    "a generator of the CPU": lambda a, b: torch.rand(2, generator=torch.Generator(), device=a.device),
    "the same in place": lambda a, b: a.clone().normal_(generator=torch.Generator()),
}


@pytest.mark.parametrize("what", list(MIXED))
def test_what_cuda_refuses_is_refused(accelerator, what):
    with pytest.raises(DevicesMixed):
        MIXED[what](x.to(accelerator), y)


def _written(a: Tensor) -> Tensor:
    a = a.clone()
    a[a > 2] = 7
    return a


ALLOWED = {
    "a number of the CPU": lambda a: a * torch.tensor(2.0),
    "as a value": lambda a: a.clone().masked_fill_(a > 2, torch.tensor(0.5)),
    "indices of the CPU": lambda a: a[torch.tensor([1, 0])],
    "a mask of the CPU": lambda a: a[torch.tensor([True, False])],
    "assigned from the CPU": lambda a: a.clone().copy_(y),
    "a number written by a mask": _written,
    "factories": lambda a: torch.eye(2, 3, device=a.device) + torch.arange(3, device=a.device),
    "from data": lambda a: a.new_tensor([1.0, 2.0, 3.0]) + torch.tensor([1, 2, 3], device=a.device),
}


@pytest.mark.parametrize("what", list(ALLOWED))
def test_what_cuda_allows_is_allowed(accelerator, what):
    found = ALLOWED[what](x.to(accelerator))
    assert found.device == ACCELERATOR
    assert torch.equal(found.cpu(), ALLOWED[what](x))


def test_an_array_is_made_on_the_cpu_only(accelerator):
    held = x.to(accelerator)
    for convert in (lambda tensor: tensor.numpy(), np.asarray, np.array):
        with pytest.raises(TypeError, match=r"Use Tensor\.cpu"):
            convert(held)
    assert held.tolist() == x.tolist() == held.cpu().numpy().tolist()
    assert (held[1, 2].item(), float(held[1, 2]), f"{held[1, 2]:.1f}") == (5.0, 5.0, "5.0")


def test_networks_move_are_copied_saved_and_differentiated(accelerator):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    images = nets.random_images(3, (4, 4))
    wanted = network(images)
    wanted.square().sum().backward()
    there = copy.deepcopy(network).to(accelerator)
    there.load_state_dict(network.state_dict())
    there.zero_grad()
    (got := there(images.to(accelerator))).square().sum().backward()
    assert {parameter.device for parameter in there.parameters()} == {ACCELERATOR}
    assert alike(wanted, got)
    assert alike([p.grad for p in network.parameters()], [p.grad for p in there.parameters()])
    torch.save(there.state_dict(), file := io.BytesIO())
    for where, device in ((None, ACCELERATOR), ("cpu", CPU), (ACCELERATOR, ACCELERATOR)):
        file.seek(0)
        state = torch.load(file, weights_only=True, map_location=where)
        assert {value.device for value in state.values()} == {device}


def test_random_numbers_of_its_own(accelerator):
    torch.manual_seed(3)
    first = torch.rand(4, device=accelerator)
    torch.rand(9)  # of the CPU's generator
    second = torch.rand(4, device=accelerator)
    torch.manual_seed(3)
    assert alike(torch.rand(8, device=accelerator), torch.cat([first, second]))
    with torch.random.fork_rng([0], device_type=accelerator.type):
        third = torch.rand(2, device=accelerator)
    assert alike(third, torch.rand(2, device=accelerator))


def test_autocast_computes_in_bf16(accelerator, monkeypatch):
    monkeypatch.setattr("ostrich.models.fastpath.gains_by_bf16", lambda device: True)
    layer = nn.Conv2d(3, 4, 3).to(accelerator)
    images = nets.random_images(2).to(accelerator)
    with autocast("fast", accelerator):
        quick = layer(images)
    assert quick.dtype == torch.bfloat16
    torch.testing.assert_close(quick.float().cpu(), layer(images).cpu(), rtol=0.02, atol=0.02)


def test_the_fast_path_is_folded_there_too(accelerator):
    model = nets.small()
    quick, _ = faster(model.network.to(accelerator), nets.random_images(1).to(accelerator))
    assert not [module for module in quick.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {parameter.device for parameter in quick.parameters()} == {ACCELERATOR}


# Attacks ------------------------------------------------------------------------------------------

VIEWS = ostrich.attacks.EOT(samples=2, perspective=0.1, blur=0.5, noise=0.02, contrast=0.1, jpeg=60)


def model_on(device: torch.device) -> ostrich.Classifier:
    model = nets.small(size=(8, 8))
    model.network.to(device)
    return model


def attacked(device: torch.device, name: str, norm: str, **options) -> ostrich.Result:
    model, images = model_on(device), nets.random_images(2, (8, 8)).to(device)
    predictions = model.predict(images).argmax(1)
    aim = Untargeted(predictions)
    if name.startswith("fooling"):
        aim = Confident((predictions + 1) % 5, 0.6)
    return ostrich.attacks.attack(
        replace(made(name, norm), **SHORTER.get(name, {})), model, images, aim, **options
    )


SHORTER = {"lbfgs": {"iterations": 2, "constants": 2}, "fooling-cppn": {"generations": 2}}


@pytest.mark.parametrize(("name", "norm"), CASES, ids=[f"{n}-{norm}" for n, norm in CASES])
def test_an_attack_is_the_same_on_the_accelerator(accelerator, name, norm):
    result = on_both(lambda device: attacked(device, name, norm, precision="exact"), accelerator)
    tensors = [getattr(result, f.name) for f in fields(result) if f.name != "checks"]
    assert {tensor.device for tensor in tensors} == {ACCELERATOR}


AVERAGING = [
    name
    for name, method in INPUT_SPECIFIC.items()
    if method.needs == "gradient" and made(name).stop != "minimum" and name != "autoattack"  # made of these
]


@pytest.mark.parametrize("name", AVERAGING)
def test_over_views_too(accelerator, name):
    norm = INPUT_SPECIFIC[name].norms[0]
    on_both(lambda device: attacked(device, name, norm, precision="exact", eot=VIEWS), accelerator)


def test_an_attack_goes_on_from_its_files(accelerator, tmp_path):
    options = {"precision": "exact", "batch_size": 1, "shards": tmp_path}
    first = attacked(accelerator, "pgd", "linf", **options)
    again = attacked(accelerator, "pgd", "linf", **options)
    assert alike(first, again)
    assert again.images.device == ACCELERATOR
    with pytest.raises(OtherComputation, match="other device"):
        attacked(CPU, "pgd", "linf", **options)


def test_the_fast_gradients_of_an_attack(accelerator, monkeypatch):
    monkeypatch.setattr("ostrich.models.fastpath.gains_by_bf16", lambda device: True)
    assert attacked(accelerator, "pgd", "linf").images.device == ACCELERATOR


def test_images_and_labels_of_the_cpu_are_brought_to_the_network(accelerator):
    """As `load` puts networks on an accelerator where there is one, and data sets lie on the CPU."""

    def computed(device):
        model, images = model_on(device), nets.random_images(3, (8, 8))
        labels = torch.tensor([1, 2, 3])
        given = {
            "labels": model.predict(images).argmax(1).cpu(),
            "starts": nets.random_images(2, (8, 8)),
            "precision": "exact",
        }
        return [
            ostrich.attacks.attack(made(n), model, images, Untargeted(labels), **given)
            for n in ("fgsm", "boundary")
        ]

    for result in on_both(computed, accelerator):
        assert result.images.device == result.success.device == ACCELERATOR


def test_a_companion_is_loaded_beside_its_network(accelerator):
    model = ostrich.load("arch:resnet8,classes=3,size=8,width=0.25", device=accelerator)
    assert companion("arch:resnet8,classes=3,size=8,width=0.5", model, "victim").device == ACCELERATOR


def test_the_command_of_fooling_images(accelerator, tmp_path):
    words = ["attack", "fooling-ascent", "zoo:digits-cnn", "--limit", "2", "--set", "steps=100"]
    assert run([*words, "--device", accelerator.type, "--out", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out/run.json").read_text())["results"]["confidence"] > 0.9


@pytest.mark.parametrize("target", [None, "random", "least-likely", "3"])
def test_goals(accelerator, target):
    def aimed(device):
        model, images = model_on(device), nets.random_images(4, (8, 8)).to(device)
        return goal(model, images, model.predict(images).argmax(1), target, 3)

    assert on_both(aimed, accelerator).classes.device == ACCELERATOR


# Image-agnostic attacks ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(IMAGE_AGNOSTIC))
def test_an_artefact_is_fitted_and_judged_there(accelerator, name, tmp_path):
    method, images = given(short(name), 6)
    seen = fingerprints(images)

    def computed(device):
        model = nets.small()
        model.network.to(device)
        there = images.to(device)
        predictions = model.predict(there).argmax(1)
        path = tmp_path / device.type
        one, again = (
            fit_artefact(
                replace(method, epochs=2),
                model,
                there,
                predictions,
                seen=seen,
                checkpoint=path,
                precision="exact",
            )
            for _ in range(2)  # the second time from its file
        )
        again.save(tmp_path / f"{device.type}.safetensors")
        return one.tensors, again.tensors, judge(again, model, there, predictions), again.digest()

    on_both(computed, accelerator)
