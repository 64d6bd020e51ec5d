"""Intervals for fractions; they live in `ostrich/statistics.py`, for the rooms below too."""

from ostrich.statistics import Z, wilson

__all__ = ["Z", "wilson"]
