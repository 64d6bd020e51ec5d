"""What a page may ask, as it is checked before anything is done: no more fields, and none out of range."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

ImageId = Annotated[str, Field(pattern=r"^[dum]\d{1,9}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Whole = Annotated[int, Field(ge=0, le=10_000)]


class Asked(BaseModel):
    """One wish of a page; each kind says what it takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    remembered: ClassVar[bool] = True  # whether the same wish is answered by what was answered before


class AboutImage(Asked):
    """A wish about one image."""

    image: ImageId
