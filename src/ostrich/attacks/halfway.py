"""A batch half done, on disk: an attack whose batch takes long goes on where it was cut off.

Written between steps, so what comes after is what would have come without the interruption. The file
lies beside the batch's own and goes when that is there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostrich.attacks.problem import Problem
from ostrich.attacks.result import Result

EVERY = 10.0  # seconds at least between two writings
SHARE = 0.05  # of the time, at most, is spent on them


@dataclass
class Halfway:
    """The file of one batch; without a path, nothing is kept."""

    path: Path | None
    due: float = field(default_factory=lambda: time.monotonic() + EVERY)

    @classmethod
    def beside(cls, shard: Path | None) -> Halfway:
        """For the batch whose finished result goes to `shard`."""
        return cls(None if shard is None else shard.with_suffix(".half"))

    def keep(self, step: int, problem: Problem, state: Any, open_: Tensor, result: Result) -> None:
        """Write, if it is time, where the batch stands after `step` steps; the file is whole or as before."""
        if self.path is None or time.monotonic() < self.due:
            return
        started = time.monotonic()
        access = problem.access
        content = {
            "step": step,
            "rows": problem.rows,
            "open": open_,
            "state": state,
            "result": {f.name: getattr(result, f.name) for f in fields(Result) if f.name != "originals"},
            "counts": (access.forwards, access.backwards, access.checks),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        torch.save(content, partial)
        partial.replace(self.path)
        now = time.monotonic()
        self.due = now + max(EVERY, (now - started) / SHARE)

    def found(
        self, problem: Problem, state: Any, open_: Tensor, result: Result
    ) -> tuple[int, Problem, Any, Tensor]:
        """Steps done, problem, state and what is open: as kept, else as given and none.

        Sets `result` and the counts of the problem's access to what they were.
        """
        if self.path is None or not self.path.exists():
            return 0, problem, state, open_
        with torch.serialization.safe_globals(_kinds(state)):
            kept = torch.load(self.path, weights_only=True, map_location=problem.originals.device)
        for name, value in kept["result"].items():
            setattr(result, name, value)
        access = problem.access
        access.forwards, access.backwards, access.checks = kept["counts"]
        problem = problem.keep(torch.isin(problem.rows, kept["rows"]))
        return kept["step"], problem, kept["state"], kept["open"]

    def drop(self) -> None:
        """Remove the file: the batch is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _kinds(state: Any) -> list[Any]:
    """The dataclasses that a state is made of."""
    if not is_dataclass(state) or isinstance(state, type):
        return []
    return [type(state), *(kind for f in fields(state) for kind in _kinds(getattr(state, f.name)))]
