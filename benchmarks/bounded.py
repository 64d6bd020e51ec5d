"""AutoAttack on small networks whose robust accuracy is known from both sides, against torchattacks'.

At 2/255 half of the images stand to the end: nearly all of the time goes into showing that nothing more
falls, and a forward is so cheap that what surrounds it counts. The networks and the bounds stand in
`strangers/bounded.py` of the folder that OSTRICH_SHARED names; without it there is no such row.
"""

from __future__ import annotations

import numpy as np
import torch

import ostrich
from benchmarks.autoattack import versus
from benchmarks.problem import Problem, Row, right, shared

MEAN = (125.3 / 255, 123.0 / 255, 113.9 / 255)
STD = (63.0 / 255, 62.1 / 255, 66.7 / 255)
EPS = 2 / 255
CLEAN = {"adv": 140, "adv4": 115}  # of the 200 images, classified correctly


def rows(task: Problem) -> list[Row]:
    """Two of the networks, on all of the 200 images that each gets right."""
    folder = shared()
    if folder is None:
        return []
    kept = np.load(folder / "data" / "cifar-cnn-a-images.npz")
    images = torch.from_numpy(kept["images"]).permute(0, 3, 1, 2).float().div(255).contiguous()
    labels = torch.from_numpy(kept["labels"]).long()
    found = []
    for name, count in CLEAN.items():
        path = f"{folder / 'strangers' / 'bounded.py'}:{name}"
        classifier = ostrich.load(path, mean=MEAN, std=STD, size=32, device="cpu")
        one = right(f"CNN-A {name}, CIFAR-10", classifier, images, labels, count)
        found.append(versus(one, EPS, precisions=("exact",)))
    return found
