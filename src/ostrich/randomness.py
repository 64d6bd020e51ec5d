"""Random numbers by key: they depend on what they are for, never on what was drawn before."""

from __future__ import annotations

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
