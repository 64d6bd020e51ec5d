"""Published numbers, in one table, with their sources. Studies and tests compare with these.

`read` says whether the number was read at the source itself, or taken from elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from ostrich.errors import UnknownName


@dataclass(frozen=True, kw_only=True)
class Published:
    """One number: `value` in `unit`, and where it stands."""

    value: float
    unit: str
    source: str
    read: bool


_HE = "He et al. 2016, Deep residual learning for image recognition"
PUBLISHED = {
    **{
        f"cifar10-resnet{depth}/test-error": Published(
            value=error, unit="% of 10,000 images", source=f"{_HE}, table 6", read=False
        )
        for depth, error in ((20, 8.75), (32, 7.51), (44, 7.17), (56, 6.97), (110, 6.43))
    },
    **{
        f"cifar10-resnet{depth}/parameters": Published(
            value=count, unit="million", source=f"{_HE}, table 6", read=False
        )
        for depth, count in ((20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7))
    },
}


def published(name: str) -> Published:
    """The number of that name. Raises UnknownName."""
    if name not in PUBLISHED:
        raise UnknownName("published number", name, PUBLISHED)
    return PUBLISHED[name]
