"""Looks fitted to faces: the costs of a search are kept, so that an interrupted one goes on.

Evolution has no gradients to add up: under torchrun rank 0 fits alone, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ostrich.attacks.camouflage.dazzle import Costs, Dazzle, Face, Found, cost_of, search
from ostrich.attacks.fitted.artefact import FILE, Artefact, load_artefact
from ostrich.attacks.fitted.fitting import say_alone
from ostrich.models.detectors import Detector
from ostrich.runtime.events import Progress, silent
from ostrich.runtime.facts import MARK, digest, settings_facts
from ostrich.runtime.resumable import Checkpoint
from ostrich.runtime.runs import Run


@dataclass
class Recorded:
    """The costs of a search, call by call and by key, in a checkpoint, so that an interrupted one goes on.

    The search draws from its seed alone, so it asks again what it asked before, and gets the same answers.
    `shown` counts the pictures that the detector saw.
    """

    checkpoint: Checkpoint
    calls: dict[str, list[list[float]]] = field(default_factory=dict)
    shown: int = 0

    def __post_init__(self) -> None:
        if (found := self.checkpoint.restore()) is not None:
            self.calls, self.shown = found["calls"], found["shown"]

    def count(self, pictures: int) -> None:
        """So many more pictures were shown."""
        self.shown += pictures

    def replayed(self, key: str, costs: Costs) -> Costs:
        """The same costs, of which those that are known are not computed again."""
        known, place = self.calls.setdefault(key, []), iter(range(10**9))

        def recorded(looks: Sequence[np.ndarray], generation: int, times: int) -> list[float]:
            number = next(place)
            if number == len(known):
                known.append([float(cost) for cost in costs(looks, generation, times)])
                self.checkpoint.offer(lambda: {"calls": self.calls, "shown": self.shown})
            return known[number]

        return recorded


def fit_looks(
    method: Dazzle,
    detector: Detector,
    faces: Sequence[Face],
    seed: int,
    data: str,
    run: Run,
    progress: Progress = silent,
) -> Artefact:
    """The artefact, and its file in the run directory."""
    file = run.folder / FILE
    if file.exists():  # of this very run, which was cut off afterwards
        return load_artefact(file, type(method))
    say_alone(method)
    groups = [[face] for face in faces] if method.per_face else [list(faces)]
    found: list[Found] = []
    run.rewind(0)  # the search runs again on the costs that are kept, and writes these lines again
    with Checkpoint(run.folder / "fitting.pt", facts_of(method, detector, faces, seed)) as checkpoint:
        recorded = Recorded(checkpoint)
        for group in groups:
            key = group[0].key if method.per_face else 0
            costs = recorded.replayed(str(key), cost_of(method, detector, group, seed, recorded.count))
            found.append(search(method, costs, seed))
            run.append({"step": len(found), "cost": found[-1].cost, "generations": found[-1].generations})
            progress(len(found), len(groups))
    facts = {
        "model": f"detector:{detector.name}",
        "data": data,
        "n": len(faces),
        "generations": float(np.mean([one.generations for one in found])),
        "forwards": recorded.shown,
        "seconds": checkpoint.seconds,
    }
    made = Artefact(
        method=method,
        tensors={"looks": torch.from_numpy(np.stack([one.look for one in found]))},
        shape=(1, *faces[0].size),
        seen=torch.tensor([face.key for face in faces]),
        facts=facts,
    )
    made.save(file)
    checkpoint.drop()
    return made


def facts_of(method: Dazzle, detector: Detector, faces: Sequence[Face], seed: int) -> dict[str, str]:
    """What decides the looks that are found."""
    return {
        "detector": f"{MARK}{detector.name}/{detector.digest()}",
        "faces": digest(*((face.picture, face.box) for face in faces)),
        "seed": str(seed),
        **settings_facts(method),
    }
