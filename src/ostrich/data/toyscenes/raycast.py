"""Rays from a pinhole camera to the nearest of a scene's things.

Only rays inside a thing's bounding rectangle in the picture are traced (`structure.py`).
"""

import math
from dataclasses import dataclass

import numpy as np

from ostrich.errors import InputError

from .scenes import Camera, Scene, Thing
from .structure import bounding_corners, distances, trace

NOTHING = -1  # owner of a sample that hits ground or sky


@dataclass(frozen=True, kw_only=True, eq=False)
class Hits:
    """Nearest hits on the sample grid (A, B): owner (thing number), t, face, u, v, each (A, B).

    `first` (A, B) bool: thing 0 is on the ray, whatever stands before it.
    """

    first: np.ndarray
    owner: np.ndarray
    t: np.ndarray
    face: np.ndarray
    u: np.ndarray
    v: np.ndarray


def sizes(size: int | tuple[int, int]) -> tuple[int, int]:
    """(H, W) of a size given as one side or as (H, W)."""
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise InputError(f"an image is at least 1 pixel high and wide, not {height}x{width}")
    return int(height), int(width)


def rays(camera: Camera, height: int, width: int, samples: int) -> np.ndarray:
    """Directions (H * samples, W * samples, 3) with a forward component of 1: t is the depth."""
    focal = camera.focal(height, width)
    x = ((np.arange(width * samples) + 0.5) / samples - width / 2) / focal
    y = ((np.arange(height * samples) + 0.5) / samples - height / 2) / focal
    right, down, forward = camera.axes
    return forward + x[None, :, None] * right + y[:, None, None] * down


def _rectangle(thing: Thing, camera: Camera, height: int, width: int, n: int) -> tuple[slice, slice]:
    """Rows and columns of the sample grid that can see the thing's bounding box."""
    to_camera = camera.axes @ thing.matrix
    offset = camera.axes @ np.subtract(thing.position, camera.eye)
    x, y, z = to_camera @ bounding_corners(thing.solid) + offset[:, None]  # each (8,)
    if z.min() < 1e-3:
        return (slice(0, 0),) * 2 if z.max() < 1e-3 else (slice(0, height * n), slice(0, width * n))
    scale = camera.focal(height, width) * n / z
    limits = []
    for place, side in ((y * scale, height * n), (x * scale, width * n)):
        start = math.floor(place.min() + side / 2)
        stop = math.ceil(place.max() + side / 2)
        limits.append(slice(min(max(start, 0), side), min(max(stop, 0), side)))
    return limits[0], limits[1]


def cast(
    things: tuple[Thing, ...], camera: Camera, directions: np.ndarray, size: tuple[int, int], n: int
) -> Hits:
    """The nearest thing on each ray of the sample grid (H * n, W * n, 3); arrays are that grid."""
    grid = directions.shape[:2]
    owner, first = np.full(grid, NOTHING), np.zeros(grid, dtype=bool)
    t, u, v = np.full(grid, np.inf), np.zeros(grid), np.zeros(grid)
    face = np.zeros(grid, dtype=np.int64)
    eye = np.asarray(camera.eye)
    for k, thing in enumerate(things):
        window = _rectangle(thing, camera, *size, n)
        way = directions[window]
        if way.size == 0:
            continue
        found = trace(thing, eye, way.reshape(-1, 3)).reshape(way.shape[:2])
        rows, columns = np.nonzero(found >= 0)
        if len(rows) == 0:
            continue
        which = found[rows, columns]
        distance, along_u, along_v = distances(thing, eye, way[rows, columns], which)
        rows, columns = rows + window[0].start, columns + window[1].start
        if k == 0:
            first[rows, columns] = True
        nearer = distance < t[rows, columns]
        at = rows[nearer], columns[nearer]
        owner[at], t[at], face[at] = k, distance[nearer], which[nearer]
        u[at], v[at] = along_u[nearer], along_v[nearer]
    return Hits(first=first, owner=owner, t=t, face=face, u=u, v=v)


def subject_visibility(scene: Scene, size: int = 64) -> tuple[float, bool]:
    """Visible share of the object's rays at that size, and whether it is clear of the border."""
    directions = rays(scene.camera, size, size, 1)
    alone = cast((scene.subject,), scene.camera, directions, (size, size), 1)
    seen = alone.first
    count = seen.sum()
    edge = seen[0].sum() + seen[-1].sum() + seen[:, 0].sum() + seen[:, -1].sum()
    if count < 60 or edge > 6:
        return 0.0, False
    rows, columns = np.nonzero(seen)
    way, depth = directions[rows, columns], alone.t[rows, columns]
    eye = np.asarray(scene.camera.eye)
    hidden = eye[2] + depth * way[:, 2] < 0  # below the ground
    for thing in scene.props:
        if _apart(thing, scene.camera, (rows, columns), size):
            continue
        found = trace(thing, eye, way)
        hit = np.flatnonzero(found >= 0)
        if len(hit):
            hidden[hit] |= distances(thing, eye, way[hit], found[hit])[0] < depth[hit]
    return float(1 - hidden.mean()), True


def _apart(thing: Thing, camera: Camera, where: tuple, size: int) -> bool:
    """No overlap of the thing's rectangle with the pixels `where` (rows, columns)."""
    rows, columns = _rectangle(thing, camera, size, size, 1)
    return (
        rows.stop <= where[0].min()
        or rows.start > where[0].max()
        or columns.stop <= where[1].min()
        or columns.start > where[1].max()
    )


def pixels(values: np.ndarray, samples: int) -> np.ndarray:
    """Means over the rays of each pixel: (H * samples, W * samples, ...) to (H, W, ...), float32."""
    height, width = values.shape[0] // samples, values.shape[1] // samples
    total = np.zeros((height, width, *values.shape[2:]), dtype=np.float32)
    for i in range(samples):
        for j in range(samples):
            total += values[i::samples, j::samples]
    return total / samples**2
