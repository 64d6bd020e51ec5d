"""The blocks of the report: what a probe shows below its sentence, as types that are checked when made.

    {"kind": "number" | "confusions" | "curve" | "slider" | "pairs" | "pictures" | "table", ...}

Files are named by their paths in the run directory. A figure is None where it is not known.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Confidences = list[tuple[str, float | None]]  # the most probable classes, and their probabilities


class _Typed(BaseModel):
    """Immutable; an unknown or misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Number(_Typed):
    """A share in [0, 1] with its 95 % interval, of n images."""

    kind: Literal["number"] = "number"
    label: str
    value: float | None
    interval: tuple[float, float] | None
    n: int | None


class Confusion(_Typed):
    """A class that is taken for another, how often, and one image of it."""

    true: str
    predicted: str
    count: int
    file: str | None


class Confusions(_Typed):
    """The most frequent confusions first."""

    kind: Literal["confusions"] = "confusions"
    rows: list[Confusion]


class Point(_Typed):
    """A point of a curve with its 95 % interval; the label is x as a person writes it."""

    x: float
    y: float | None
    low: float | None = None
    high: float | None = None
    label: str | None = None


class Series(_Typed):
    """One line of a curve."""

    name: str
    style: Literal["attack", "noise", "other"]
    points: list[Point]


class Curve(_Typed):
    """Lines over one axis; what lies between the first two may have a name, and is then drawn as a band."""

    kind: Literal["curve"] = "curve"
    x_label: str
    y_label: str
    series: list[Series]
    between: str | None = None


class Pair(_Typed):
    """An image before and after, and the change between, enlarged by a factor.

    `budget` is the largest change as people write it, `value` the same as a number.
    """

    budget: str
    value: float
    original: str
    adversarial: str
    difference: str
    factor: float
    before: Confidences
    after: Confidences
    caption: str


class Slider(_Typed):
    """One image at several budgets, smallest first, of which one is shown at a time."""

    kind: Literal["slider"] = "slider"
    label: str
    items: list[Pair]


class Pairs(_Typed):
    """Images before and after, one below the other."""

    kind: Literal["pairs"] = "pairs"
    items: list[Pair]


class Picture(_Typed):
    """A picture with its words."""

    file: str
    title: str
    caption: str


class Pictures(_Typed):
    """Pictures in so many columns."""

    kind: Literal["pictures"] = "pictures"
    items: list[Picture]
    columns: int


class Table(_Typed):
    """Rows of texts and numbers."""

    kind: Literal["table"] = "table"
    columns: list[str]
    rows: list[list[Any]]


Block = Annotated[
    Number | Confusions | Curve | Slider | Pairs | Pictures | Table, Field(discriminator="kind")
]
