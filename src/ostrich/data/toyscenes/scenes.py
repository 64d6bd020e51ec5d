"""What a toybox scene is: an object, clutter, a camera, a light, a ground and a sky.

A scene is plain numbers, nothing rendered. World coordinates: z up, the ground is z = 0 and the
object stands near the origin. Lengths are in object radii (every solid fits a unit sphere before
it is stretched), angles in radians, colours RGB in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from .palettes import Colour
from .parts import rotation

if TYPE_CHECKING:
    from .meshes import Solid

Vector3 = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Thing:
    """A solid, or the name of one, somewhere: world = position + R(yaw, pitch, roll) @ (stretch * local).

    `colours` are (paint name, RGB) pairs; for a prop of one paint, `pattern` ("plain",
    "stripes", "checker") mixes in `second` at `frequency` periods per unit length.
    """

    solid: str | Solid
    position: Vector3
    angles: Vector3 = (0.0, 0.0, 0.0)
    stretch: Vector3 = (1.0, 1.0, 1.0)
    colours: tuple[tuple[str, Colour], ...] = ()
    pattern: str = "plain"
    second: Colour = (0.0, 0.0, 0.0)
    frequency: float = 2.0

    @cached_property
    def matrix(self) -> np.ndarray:
        """R @ diag(stretch), (3, 3): local directions to world."""
        return rotation(*self.angles) * np.asarray(self.stretch)

    @cached_property
    def inverse(self) -> np.ndarray:
        """World directions to local, (3, 3)."""
        return np.linalg.inv(self.matrix)

    @property
    def radius(self) -> float:
        """Radius of a sphere about `position` that holds the thing."""
        return float(max(self.stretch))


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera at `eye` looking at `aim`; `field` is the angle of the shorter side."""

    eye: Vector3
    aim: Vector3
    field: float
    roll: float = 0.0

    @cached_property
    def axes(self) -> np.ndarray:
        """Rows right, down, forward in world coordinates, (3, 3)."""
        forward = np.subtract(self.aim, self.eye)
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, (0, 0, 1))
        right = right / np.linalg.norm(right)
        down = np.cross(forward, right)
        c, s = np.cos(self.roll), np.sin(self.roll)
        return np.stack([c * right + s * down, c * down - s * right, forward])

    def focal(self, height: int, width: int) -> float:
        """Focal length in pixels of an image of that size."""
        return min(height, width) / 2 / np.tan(self.field / 2)

    def project(self, points: np.ndarray, height: int, width: int) -> np.ndarray:
        """World points (..., 3) to (..., 3): column, row in pixels, and depth along the axis.

        The centre of the top left pixel is (0.5, 0.5).
        """
        x, y, z = np.moveaxis((points - np.asarray(self.eye)) @ self.axes.T, -1, 0)
        scale = self.focal(height, width) / z
        return np.stack([width / 2 + x * scale, height / 2 + y * scale, z], axis=-1)


@dataclass(frozen=True, kw_only=True)
class Light:
    """A sun in `direction` (towards it) of a colour, and an even light from everywhere."""

    direction: Vector3
    strength: float
    ambient: float
    tint: Colour = (1.0, 1.0, 1.0)
    gloss: float = 0.2


@dataclass(frozen=True, kw_only=True)
class Surface:
    """Ground or sky: two colours and a pattern.

    "plain" (the sky: a gradient), "checker", "stripes", "tiles", "blots". `frequency` is in
    periods per object radius on the ground and per radian in the sky; `turn` rotates it.
    """

    first: Colour
    second: Colour
    pattern: str = "plain"
    frequency: float = 1.0
    turn: float = 0.0
    phase: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One image of a split before it is rendered; `label` is the index of the object's class."""

    split: str
    index: int
    label: int
    subject: Thing
    props: tuple[Thing, ...]
    camera: Camera
    light: Light
    ground: Surface
    sky: Surface
