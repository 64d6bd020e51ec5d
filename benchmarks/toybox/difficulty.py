"""How hard is the toybox? `python -m benchmarks.toybox.difficulty` measures and records it.

Three limits were fixed before any network was trained on it: on the 512 test images a linear
classifier on the pixels may reach at most 35 %, the nearest neighbour (L2) at most 45 %, and the
centre pixel may lie on the object in at most half of the images. Otherwise colour, position or
background alone would tell the class.

The linear classifier is ridge regression onto one-hot labels in its dual form (as many unknowns as
training images instead of 12,288 pixels), its penalty chosen on the last 2,000 training images.
The result is `difficulty.json` beside this module.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from ostrich.data.toyscenes.meshes import CLASS_NAMES
from ostrich.data.toyscenes.store import VERSION, Stored, render_split, test_images

LIMITS = {"linear": 0.35, "nearest_neighbour": 0.45, "centre_on_object": 0.5}
RECORD = Path(__file__).parent / "difficulty.json"
PENALTIES = (3e2, 1e3, 3e3, 1e4, 3e4)  # of the squared weights


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelData:
    """Training and test pixels (N, D) float32, about the training mean, and labels (N,)."""

    train: torch.Tensor
    train_labels: torch.Tensor
    test: torch.Tensor
    test_labels: torch.Tensor


def pixels(images: np.ndarray, labels: np.ndarray, test: Stored) -> PixelData:
    """Both sets in [0, 1] minus the training mean."""
    train = torch.from_numpy(images).flatten(1).float() / 255
    mean = train.mean(dim=0)
    return PixelData(
        train=train.sub_(mean),
        train_labels=torch.from_numpy(labels),
        test=torch.from_numpy(test.images.copy()).flatten(1).float() / 255 - mean,
        test_labels=torch.from_numpy(test.labels),
    )


def linear(data: PixelData, held_out: int = 2000) -> tuple[float, float]:
    """Test accuracy of ridge regression, and the penalty that was best on the held-out images."""
    kernel = data.train @ data.train.T  # (N, N)
    goals = torch.nn.functional.one_hot(data.train_labels, len(CLASS_NAMES)).float()
    goals -= 1 / len(CLASS_NAMES)
    fit = len(data.train) - held_out
    known, wanted = kernel[:fit, :fit], data.train_labels[fit:]
    best = max(
        PENALTIES,
        key=lambda p: _share((kernel[fit:, :fit] @ _solve(known, goals[:fit], p)).argmax(1), wanted),
    )
    scores = data.test @ (data.train.T @ _solve(kernel, goals, best))  # (512, 10)
    return _share(scores.argmax(1), data.test_labels), best


def _solve(kernel: torch.Tensor, goals: torch.Tensor, penalty: float) -> torch.Tensor:
    """(K + penalty I)^-1 goals by Cholesky."""
    shifted = kernel.clone()
    shifted.diagonal().add_(penalty)
    return torch.cholesky_solve(goals, torch.linalg.cholesky(shifted))


def nearest_neighbour(data: PixelData) -> float:
    """Test accuracy of the label of the nearest training image in L2."""
    nearest = [torch.cdist(part, data.train).argmin(dim=1) for part in data.test.split(64)]
    return _share(data.train_labels[torch.cat(nearest)], data.test_labels)


def centre_on_object(test: Stored) -> float:
    """Share of the images whose centre pixel (row 32, column 32) shows the object."""
    return float(test.masks[:, 32, 32].mean())


def _share(given: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((given == wanted).float().mean())


def measure(n: int, workers: int, progress: bool) -> dict:
    """The record: the three figures, their limits, n, and what else describes the test images."""
    test = test_images()
    data = pixels(*render_split("train", n, workers=workers, progress=progress), test)
    accuracy, penalty = linear(data)
    shown, alone = test.masks.sum(axis=(1, 2)), test.unoccluded.sum(axis=(1, 2))
    figures = {
        "linear": accuracy,
        "nearest_neighbour": nearest_neighbour(data),
        "centre_on_object": centre_on_object(test),
    }
    return {
        "command": f"python -m benchmarks.toybox.difficulty --n {n}",
        "version": VERSION,
        "n_train": n,
        "n_test": len(test.labels),
        "chance": 1 / len(CLASS_NAMES),
        "figures": {key: round(value, 4) for key, value in figures.items()},
        "limits": LIMITS,
        "linear_penalty": penalty,
        "object_pixels_5_50_95": np.percentile(shown, [5, 50, 95]).round(1).tolist(),
        "visible_share_min": round(float((shown / alone).min()), 4),
        "visible_share_median": round(float(np.median(shown / alone)), 4),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure the toybox's difficulty and record it.")
    parser.add_argument("--n", type=int, default=10_000, help="training images (default 10000)")
    parser.add_argument("--workers", type=int, default=1, help="rendering processes (default 1)")
    parser.add_argument("--progress", action="store_true", help="show the rendering's progress")
    given = parser.parse_args()
    record = measure(given.n, given.workers, given.progress)
    RECORD.write_text(json.dumps(record, indent=2) + "\n")
    Console().print_json(json.dumps(record))


if __name__ == "__main__":
    main()
