"""Dropout on MNIST: max-norm bounds what comes into a hidden unit, and only that."""

from __future__ import annotations

from dataclasses import replace

import torch

from ostrich.models.mlp import mlp
from ostrich.studies import find
from ostrich.studies.dropout_mnist import KINDS, shorten


def test_max_norm_bounds_the_weights_into_a_hidden_unit_and_leaves_shorter_ones():
    network = mlp(3, size=(2, 2), hidden=4, layers=2)
    with torch.no_grad():
        network.fc1.weight.copy_(torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0])))
        network.out.weight.fill_(9.0)
    shorten(network, 2.5)
    assert torch.allclose(network.fc1.weight.norm(dim=1), torch.tensor([1.0, 2.0, 2.5, 2.5]), atol=1e-5)
    assert torch.equal(network.out.weight, torch.full((3, 4), 9.0))  # the outputs are not bounded


def test_the_three_networks_see_the_same_images_and_are_looked_at_to_the_end(tmp_path):
    study = find("dropout-mnist")
    spec = replace(study.spec("smoke"), steps=20, longest=0.5)
    for kind in KINDS:
        (tmp_path / kind).mkdir()
    rows = {kind: study.run(spec, {"kind": kind, "seed": 1}, tmp_path / kind) for kind in KINDS}
    assert all([row["step"] for row in found] == list(range(1, 21)) for found in rows.values())
    assert len({str(found) for found in rows.values()}) == 3  # each is another computation
    again = study.run(spec, {"kind": KINDS[2], "seed": 1}, tmp_path)
    assert again == rows[KINDS[2]]
