"""How an attack goes on where it was cut off: what decides its result, and where a batch stands.

Finished batches are pieces of a `Computation`, keyed by their images and goals; between two steps a batch
stands in a `Checkpoint`. What comes after is what would have come without the interruption.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostrich.attacks.base import Attack, InputSpecificAttack
from ostrich.attacks.engine.problem import Problem
from ostrich.attacks.engine.result import Result
from ostrich.attacks.eot import EOT
from ostrich.attacks.goals import Confident, Goal
from ostrich.models.classifier import Classifier
from ostrich.runtime.facts import MARK, digest, settings_facts
from ostrich.runtime.randomness import drawn_until_now, go_on_from
from ostrich.runtime.resumable import Checkpoint, Content, Piece


def network_facts(classifier: Classifier) -> dict[str, str]:
    """What decides a classifier's answers, and how pictures are fitted to its input."""
    seen_as = (classifier.mean, classifier.std, classifier.size, classifier.channels)
    fitted = (classifier.resize, classifier.interpolation)
    return {
        "weights": f"{MARK}{classifier.digest()}",
        "preprocessing": f"{MARK}{seen_as + fitted}",
        "device": classifier.device.type,  # whichever of the machine's it is
    }


def goal_facts(goal: Goal, labels: Tensor | None = None) -> dict[str, str]:
    """What is to be reached; the classes of an untargeted goal are the labels."""
    confidence = f", {goal.confidence}" if isinstance(goal, Confident) else ""
    untargeted = goal.kind == "untargeted"
    return {
        "goal": f"{goal.kind}{confidence}",
        "labels": digest(labels, goal.classes if untargeted else None),
        "target classes": digest(None if untargeted else goal.classes),
    }


def attack_facts(
    method: Attack,
    classifier: Classifier,
    images: str,
    goal: Goal,
    labels: Tensor | None,
    seed: int,
    precision: str,
    eot: EOT | None = None,
    starts: Tensor | None = None,
) -> dict[str, str]:
    """What decides the result of an attack on images, of which `images` is a checksum."""
    return {
        "technique": method.name,
        **settings_facts(method),
        "source": method_source(type(method)),
        **network_facts(classifier),
        "images": images,
        **goal_facts(goal, labels),
        "seed": str(seed),
        "precision": precision,
        "eot": repr(eot),
        "starts": digest(starts),
    }


def companion_facts(method: InputSpecificAttack, classifier: Classifier) -> dict[str, str]:
    """What decides the answers of the networks that an attack loads beside the classifier."""
    loaded = [digest(network_facts(one)) for each in method.members for one in each.companions(classifier)]
    return {"weights of the surrogate": digest(loaded)} if loaded else {}


def described(method: Attack) -> str:
    """An attack and its settings; of one of the user's own also a checksum of its file."""
    source = method_source(type(method))
    return f"{method!r} of {source}" if source else repr(method)


def method_source(kind: type[Attack]) -> str:
    """A checksum of the file of an attack of the user's own; ours are known by their version."""
    module = inspect.getmodule(kind)
    path = None if module is None or module.__name__.startswith("ostrich.") else module.__file__
    return "" if path is None else digest(Path(path).read_bytes())


def batch(name: str, images: str, start: int, goal: Goal, labels: Tensor | None) -> Piece:
    """The piece of some of the images, of which `images` is a checksum, from the row `start` on."""
    known = digest(images, start, goal.classes, labels)
    return Piece(f"{name}-{known.removeprefix(MARK)}", {"batch": known})


def content_of(result: Result) -> Content:
    """A result as it is kept, without its originals."""
    return {name: value for name, value in vars(result).items() if name != "originals"}


class PartialBatch:
    """Where a batch stands between two steps: what it was found at, and what is offered to its checkpoint.

    Made when nothing has been attacked yet: `result` and the counts are brought back to what was found.
    """

    def __init__(self, checkpoint: Checkpoint, problem: Problem, result: Result) -> None:
        self._checkpoint, self._result, self._access = checkpoint, result, problem.access
        self._found = checkpoint.restore(problem.originals.device)
        self._member, self._begun_with, self._start = 0, problem.rows, 0
        if self._found is not None:
            for name, value in self._found["result"].items():
                setattr(result, name, value)
            self._access.counts = self._found["counts"]

    def turns(self, member: int, problem: Problem, size: int) -> Iterator[Problem]:
        """What a member has still to attack of what stood when its turn began, `size` images at a time."""
        found, start = self._found, 0
        if found is not None and member < found["member"]:
            return
        if found is not None and member == found["member"]:
            standing = problem.keep(torch.isin(problem.rows, found["begun_with"]))
            start = found["start"]
        else:
            standing = problem.keep(~self._result.success[problem.rows])
            self._found = None
        self._member, self._begun_with = member, standing.rows
        places = torch.arange(len(standing.rows), device=standing.rows.device)
        for first in range(start, len(places), size):
            self._start = first
            yield standing.keep((places >= first) & (places < first + size))

    def resume(self, problem: Problem, state: Any, open_: Tensor) -> tuple[int, Problem, Any, Tensor]:
        """Steps done, problem, state and what is open: as found, else as given and none."""
        found, self._found = self._found, None
        if found is None:
            return 0, problem, state, open_
        problem = problem.keep(torch.isin(problem.rows, found["rows"]))
        go_on_from(found["drawn"], problem.originals.device)
        return found["step"], problem, _unpacked(state, found["state"]), found["open"]

    def offer(self, step: int, problem: Problem, state: Any, open_: Tensor) -> None:
        """After so many steps: keep it, if it is time."""
        access = self._access
        self._checkpoint.offer(
            lambda: {
                "member": self._member,
                "begun_with": self._begun_with,
                "start": self._start,
                "step": step,
                "rows": problem.rows,
                "open": open_,
                "state": _packed(state),
                "result": content_of(self._result),
                "counts": access.counts,
                "drawn": drawn_until_now(problem.originals.device),
            }
        )


def _packed(state: Any) -> Any:
    """A state as dictionaries of what its fields hold, dataclasses within it too."""
    if not is_dataclass(state):
        return state
    return {name: _packed(value) for name, value in vars(state).items()}


def _unpacked(like: Any, content: Any) -> Any:
    """The state again, of the kind of a fresh one."""
    if not is_dataclass(like) or isinstance(like, type):
        return content
    own = vars(like)
    return replace(like, **{name: _unpacked(own[name], value) for name, value in content.items()})
