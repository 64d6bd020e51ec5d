"""Rays against one solid: an embree structure per solid, built once per process.

Rays are moved into the thing's own coordinates instead of moving its triangles, which leaves
distances along the ray unchanged. Embree says which face is hit; where on it follows from the
face's plane.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ostrich.errors import MissingExtra

from .meshes import Solid, solid
from .scenes import Thing


@dataclass(frozen=True, kw_only=True, eq=False)
class Structure:
    """The embree scene of a solid and the planes of its faces.

    A point p of face f has u = along_u[f] @ (p - corner[f]), v likewise, 0 = plane[f] @ (p -
    corner[f]); all (F, 3).
    """

    embree: Any
    corner: np.ndarray
    plane: np.ndarray
    along_u: np.ndarray
    along_v: np.ndarray


@cache
def _structure(name: str | Solid) -> Structure:
    """The ray structure of a solid, built once per process."""
    try:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene
    except ImportError as error:
        raise MissingExtra(
            "rendering toybox scenes needs embreex, which is not installed; "
            'install it with: pip install "ostrich-vision[toybox]"'
        ) from error
    corners = solid(name).corners.astype(np.float32)
    embree = EmbreeScene()
    TriangleMesh(embree, corners)
    a, b, c = np.moveaxis(corners.astype(np.float64), 1, 0)  # each (F, 3)
    plane = np.cross(b - a, c - a)
    area = np.einsum("fi,fi->f", plane, plane)[:, None]
    return Structure(
        embree=embree,
        corner=a,
        plane=plane,
        along_u=np.cross(c - a, plane) / area,
        along_v=np.cross(plane, b - a) / area,
    )


def local(thing: Thing, origin: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rays in the thing's own coordinates; t stays the same because nothing is normalised."""
    inverse = thing.inverse.T
    return (origin - np.asarray(thing.position)) @ inverse, direction @ inverse


def trace(thing: Thing, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Face hit first by each ray, (R,), -1 where there is none."""
    start, way = local(thing, origin, direction)
    start = np.broadcast_to(start, way.shape)
    return _structure(thing.solid).embree.run(
        np.ascontiguousarray(start, np.float32), np.ascontiguousarray(way, np.float32)
    )


def distances(
    thing: Thing, origin: np.ndarray, direction: np.ndarray, face: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """t, u, v of rays on the planes of the faces they hit, each (R,)."""
    structure = _structure(thing.solid)
    start, way = local(thing, origin, direction)
    plane, gap = structure.plane[face], start - structure.corner[face]  # (R, 3)
    t = -np.einsum("ri,ri->r", gap, plane) / np.einsum("ri,ri->r", way, plane)
    inside = gap + t[:, None] * way
    u = np.einsum("ri,ri->r", inside, structure.along_u[face])
    v = np.einsum("ri,ri->r", inside, structure.along_v[face])
    return t, u, v


@cache
def bounding_corners(name: str | Solid) -> np.ndarray:
    """Corners of the solid's bounding box, (3, 8)."""
    flat = solid(name).corners.reshape(-1, 3)
    low, high = flat.min(0), flat.max(0)
    share = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    return (low + share * (high - low)).T
