"""The card that `ostrich train` leaves beside the weights: what they are of, and how it is fed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ostrich.runtime.files import read_card

WEIGHTS, CARD = "network.safetensors", "card.json"
TOLD = (
    "architecture",
    "mean",
    "std",
    "class_names",
    "recipe",
    "train_images",
    "test_images",
    "test_accuracy",
)


def card_of(weights: str | Path) -> dict[str, Any] | None:
    """The card that a training run left beside its weights; None for weights of another origin."""
    path = Path(weights)
    return read_card(path.parent / CARD, path, TOLD) if path.name == WEIGHTS else None
