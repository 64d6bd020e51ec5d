"""Random numbers by key: they depend on what they are for, never on what was drawn before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def keyed(*key: int) -> torch.Generator:
    """A generator whose numbers depend on nothing but the key, for example (seed, purpose, step)."""
    return torch.Generator().manual_seed(seed_of(*key))


def seed_of(*key: int) -> int:
    """The seed that belongs to a key."""
    seed = 0
    for part in key:
        seed = (seed * 6364136223846793005 + part + 1442695040888963407) % 2**63  # Knuth's LCG
    return seed


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """torch's own random numbers, which dropout and new weights draw from, begin at `seed`.

    Afterwards those of the CPU and of `device` go on as if nothing had been drawn.
    """
    others = [] if device is None or device.type == "cpu" else [device]
    with torch.random.fork_rng(others, device_type=others[0].type if others else "cuda"):
        # torch.manual_seed begins the numbers of every accelerator anew, also where none is used.
        (torch.manual_seed if others else torch.default_generator.manual_seed)(seed)
        yield
