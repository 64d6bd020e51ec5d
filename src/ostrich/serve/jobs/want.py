"""What a unit wants to see, growing from noise."""

from __future__ import annotations

import time
from typing import Annotated

from pydantic import Field
from torch import Tensor

from ostrich.serve.jobs.asked import Asked, Name
from ostrich.serve.playground import Playground, png
from ostrich.serve.worker import PAUSE, Job, Stopped
from ostrich.verbs.visualize import visualize
from ostrich.visualization import PRESET


class Want(Asked):
    """The preferred image of a class, channel, neuron, sum or difference."""

    unit: Name
    preset: Name = PRESET
    steps: Annotated[int, Field(ge=8, le=2048)] = 256
    seed: Annotated[int, Field(ge=0, le=10**6)] = 0


def want(playground: Playground, asked: Want, job: Job) -> None:
    """The image on the way, and at the end with its bars."""
    shown, last = 0.0, None

    def watch(step: int, _places: list[int], images: Tensor) -> None:
        nonlocal shown, last
        job.check_stop()
        last = images[:1].detach().cpu()
        if time.monotonic() - shown >= PAUSE:
            job.emit("step", step=step, steps=asked.steps, picture=png(last[0]))
            shown = time.monotonic()

    try:
        found = visualize(
            playground.classifier,
            objective=asked.unit,
            preset=asked.preset,
            steps=asked.steps,
            seed=asked.seed,
            watch=watch,
        )
        image, value = found.images[:1].cpu(), found.values[0].item()
    except Stopped:
        if last is None:
            return
        image, value = last, None
    made = playground.keep(image, "m")
    job.emit("wanted", made=made, picture=png(image[0]), value=value, networks=playground.bars(image))
