"""The classes of an image as bars."""

from __future__ import annotations

from ostrich.serve.jobs.asked import AboutImage
from ostrich.serve.playground import Playground
from ostrich.serve.worker import Job


class Look(AboutImage):
    """What the networks see in an image."""


def look(playground: Playground, asked: Look, job: Job) -> None:
    """The bars of each network."""
    job.emit("bars", networks=playground.bars(playground.image(asked.image)))
