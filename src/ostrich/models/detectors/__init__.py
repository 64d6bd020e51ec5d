"""Face detectors, MODEL `detector:NAME`: they find faces and classify nothing."""

from __future__ import annotations

from typing import Any

from ostrich.errors import InputError, MissingExtra, UnknownName
from ostrich.models.detectors.detector import Box, Detector, grey
from ostrich.models.detectors.lbp import LocalBinaryPatterns
from ostrich.models.detectors.sliding import SlidingCNN
from ostrich.models.detectors.viola_jones import ViolaJones

PREFIX = "detector:"
DETECTORS: dict[str, type[ViolaJones] | type[LocalBinaryPatterns] | type[SlidingCNN]] = {
    detector.name: detector for detector in (ViolaJones, LocalBinaryPatterns, SlidingCNN)
}

__all__ = ["DETECTORS", "PREFIX", "Box", "Detector", "grey", "known_detectors", "open_detector", "others"]


def open_detector(spec: str) -> Detector:
    """The detector that `detector:NAME` names. Raises InputError, UnknownName, MissingExtra."""
    specs = [PREFIX + name for name in DETECTORS]
    if not spec.startswith(PREFIX):
        raise InputError(f"{spec!r} finds no faces. A face detector is one of: {', '.join(specs)}.")
    name = spec.removeprefix(PREFIX)
    if name not in DETECTORS:
        raise UnknownName("detector", spec, specs)
    return DETECTORS[name]()


def others(name: str) -> dict[str, Detector | None]:
    """The detectors beside the one of this name; None where its extra is not installed."""
    found: dict[str, Detector | None] = {}
    for other in DETECTORS:
        if other != name:
            try:
                found[other] = DETECTORS[other]()
            except MissingExtra:
                found[other] = None
    return found


def known_detectors() -> list[dict[str, Any]]:
    """The rows of `ostrich list models` for them; a cascade has no parameters that are learned together."""
    rows = []
    for name, detector in DETECTORS.items():
        rows.append(
            {
                "name": PREFIX + name,
                "kind": "face detector",
                "parameters": None,
                "input": [1],
                "source": f"{detector.source}; {detector.settings}",
            }
        )
    return rows
