"""Read a run's files back without Ostrich: torch, torchvision, Pillow and this file alone.

    python tests/helpers/reread.py RUN squeezenet1_0|resnet20 WEIGHTS [--linf 8/255]

Prints how many images were right, how many are claimed broken, and how many of the claims hold:
the clean file gets its label, the adversarial file another class (or its target), and no value
differs by more than the budget. Exit code 1 where a claim does not hold.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

MEAN = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1)
STD = torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)


class Block(nn.Module):
    """Two convolutions beside a shortcut of type A: every other pixel, new maps zero."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(ins, outs, 3, stride, 1, bias=False), nn.BatchNorm2d(outs)
        self.conv2, self.bn2 = nn.Conv2d(outs, outs, 3, 1, 1, bias=False), nn.BatchNorm2d(outs)
        self.stride, self.more = stride, (outs - ins) // 2

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        short = x[:, :, :: self.stride, :: self.stride]
        return F.relu(y + F.pad(short, (0, 0, 0, 0, self.more, self.more)))


class ResNet20(nn.Module):
    """He 2015, section 4.2, with n = 3."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


def network(name: str, weights: str) -> nn.Module:
    """The network with its weights, from a safetensors file or a checkpoint of DataParallel."""
    if name == "resnet20":
        state = torch.load(weights, map_location="cpu", weights_only=True)["state_dict"]
        net: nn.Module = ResNet20()
        net.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
    else:
        import torchvision

        net = getattr(torchvision.models, name)()
        net.load_state_dict(load_file(weights))
    return net.eval()


def read(path: Path) -> Tensor:
    """A PNG as (C, H, W) in levels."""
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)


@torch.no_grad()
def prediction(net: nn.Module, levels: Tensor) -> int:
    """The class of one image, by itself."""
    return int(net(((levels.float() / 255 - MEAN) / STD)[None]).argmax())


def count(run: Path, net: nn.Module, linf: Fraction | None) -> dict[str, int]:
    """Images of the run, those right before, broken, claimed broken, and claims that hold."""
    counts = dict.fromkeys(("images", "right", "broken", "claimed", "held"), 0)
    with (run / "images.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            label, clean = int(row["label"]), read(run / row["clean_file"])
            right = prediction(net, clean) == label
            claimed = row["success"] == "true"
            counts["images"] += 1
            counts["right"] += right
            counts["claimed"] += claimed
            if not row["adversarial_file"]:
                continue
            found = read(run / row["adversarial_file"])
            reached = prediction(net, found)
            broken = reached == int(row["target"]) if row["target"] else reached != label
            within = linf is None or int((found.int() - clean.int()).abs().max()) <= linf * 255
            same = reached == int(row["adversarial_prediction"])
            counts["broken"] += broken
            counts["held"] += claimed and right and broken and within and same
    return counts


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("network", choices=("squeezenet1_0", "resnet20"))
    parser.add_argument("weights")
    parser.add_argument("--linf", type=Fraction, help="the budget, as 8/255")
    asked = parser.parse_args()
    counts = count(asked.run, network(asked.network, asked.weights), asked.linf)
    assert not any(name.partition(".")[0] == "ostrich" for name in sys.modules)
    sys.stdout.write(json.dumps(counts) + "\n")
    return 0 if counts["held"] == counts["claimed"] else 1


if __name__ == "__main__":
    sys.exit(main())
