"""Attribution: which pixels of an image move a unit."""

from ostrich.attribution.gradient import gradient

__all__ = ["gradient"]
