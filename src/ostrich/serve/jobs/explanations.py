"""Explanations side by side, each with what is to be known of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ostrich.attribution import EXPLAINERS
from ostrich.attribution.pictures import picture
from ostrich.errors import OstrichError
from ostrich.images import rounded
from ostrich.serve.jobs.asked import AboutImage, Name
from ostrich.serve.playground import Playground, png
from ostrich.serve.worker import Job
from ostrich.verbs.explain import explain
from ostrich.verbs.explain.maps import Explanation


class Explain(AboutImage):
    """Maps of a unit, by default the class that the network sees; `sanity` checks each method here."""

    methods: Annotated[list[Name], Field(min_length=1, max_length=32)]
    unit: Name | None = None
    sanity: bool = False


def maps(playground: Playground, asked: Explain, job: Job) -> None:
    """A picture for each method; or why it does not apply."""
    image, classifier = playground.image(asked.image), playground.classifier
    for name in dict.fromkeys(asked.methods):
        job.check_stop()
        try:
            found = explain(name, classifier, image, unit=asked.unit, sanity=asked.sanity)
        except OstrichError as error:
            job.emit("map", method=name, refused=str(error))
            continue
        assert isinstance(found, Explanation)
        shown = picture(EXPLAINERS[name], found.maps[0, 0], image[0])
        job.emit(
            "map",
            method=name,
            unit=found.units[0][0],
            picture=png(rounded(shown)),
            sentences=found.sentences,
        )
