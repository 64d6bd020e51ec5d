"""Failures that are not attacks: a corruption and its severity beside the attack's budget."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ostrich.corruptions import SEVERITIES, corrupt
from ostrich.serve.jobs.asked import AboutImage, Name
from ostrich.serve.playground import Playground, png
from ostrich.serve.worker import Job


class Corrupt(AboutImage):
    """An image under a common corruption; severity 0 is the image itself."""

    corruption: Name
    severity: Annotated[int, Field(ge=0, le=max(SEVERITIES))]


def corrupted(playground: Playground, asked: Corrupt, job: Job) -> None:
    """The picture, an image of its own from then on, and its bars."""
    image = playground.image(asked.image)
    if asked.severity:
        image = corrupt(image, asked.corruption, asked.severity)
    made = playground.keep(image, "m")
    job.emit("corrupted", made=made, picture=png(image[0]), networks=playground.bars(image))
