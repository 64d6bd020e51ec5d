"""Random numbers by key: they depend on what they are for, never on what was drawn before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15  # an odd number far from a simple fraction of 2^64


def keyed(*key: int) -> torch.Generator:
    """A generator whose numbers depend on nothing but the key, for example (seed, purpose, step)."""
    return torch.Generator().manual_seed(seed_of(*key))


def seed_of(*key: int) -> int:
    """The seed that belongs to a key."""
    seed = 0
    for part in key:
        seed = (seed * 6364136223846793005 + part + 1442695040888963407) % 2**63  # Knuth's LCG
    return seed


def counted(seeds: NDArray[np.uint64], steps: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Uniform numbers (n, count) in [0, 1), a few for each seed (n,) and step (n,): many keys at once.

    A generator of its own costs a key more than a few numbers are worth. Here each number is what the mixing
    function of Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators" (SplitMix64),
    makes of its place: n keys cost as many operations as one.
    """
    places = steps.astype(np.uint64)[:, None] * np.uint64(count) + np.arange(1, count + 1, dtype=np.uint64)
    mixed = np.add(seeds[:, None], np.multiply(places, np.uint64(GOLDEN), dtype=np.uint64), dtype=np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = np.multiply(mixed ^ (mixed >> np.uint64(shift)), np.uint64(factor), dtype=np.uint64)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


@contextmanager
def undrawn(device: torch.device | None = None) -> Iterator[None]:
    """torch's own random numbers, of the CPU and of `device`, go on afterwards as if none had been drawn."""
    others = [] if device is None or device.type == "cpu" else [device]
    with torch.random.fork_rng(others, device_type=others[0].type if others else "cuda"):
        yield


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """torch's own random numbers, which dropout and new weights draw from, begin at `seed`; see `undrawn`."""
    on_cpu = device is None or device.type == "cpu"
    with undrawn(device):
        # torch.manual_seed begins the numbers of every accelerator anew, also where none is used.
        (torch.default_generator.manual_seed if on_cpu else torch.manual_seed)(seed)
        yield


def drawn_until_now(device: torch.device) -> list[Tensor]:
    """Where torch's own random numbers stand, those of the CPU and of `device`."""
    own = [] if device.type == "cpu" else [torch.get_device_module(device).get_rng_state(device)]
    return [torch.get_rng_state(), *own]


def go_on_from(states: Sequence[Tensor], device: torch.device) -> None:
    """Bring torch's own random numbers to where they stood."""
    torch.set_rng_state(states[0].cpu())
    for own in states[1:]:
        torch.get_device_module(device).set_rng_state(own.cpu(), device)
