"""Figures as sentences say them."""

from __future__ import annotations

from ostrich.figures.curve import percent


def in_percent(value: float, digits: int = 0) -> str:
    """A fraction as 53%, rounded to `digits`; more exact where it would else read as all or nothing."""
    text = f"{value:.{digits}%}"
    if text in (f"{0:.{digits}%}", f"{1:.{digits}%}") and value not in (0, 1):
        return percent(value).replace("\u00a0", "")
    return text


def several(count: int, what: str) -> str:
    """1 image, 2 images."""
    return f"{count} {what}{'' if count == 1 else 's'}"
