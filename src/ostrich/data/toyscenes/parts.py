"""Parts: the few surfaces every toybox object is put together from.

A part is a triangle soup with texture coordinates and one paint name per face. There are four
generators: `lathe` (a profile turned about the z axis), `tube` (a circle swept along a path),
`slab` (an outline in the xz plane given thickness in y) and `box`. x points forward, y to the
left, z up. Texture coordinates of a part fill the unit square; `pack` gives each part of an
object a cell of its own in the object's atlas, the largest part half of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

Vector = Sequence[float] | np.ndarray
Path = Sequence[Vector] | np.ndarray  # (P, 3), or (P, 2) for `smooth`


@dataclass(frozen=True, kw_only=True)
class Part:
    """vertices (V, 3), faces (F, 3) indices, uv (V, 2) in [0, 1], paints: F paint names."""

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    paints: tuple[str, ...]

    def area(self) -> float:
        """Surface area in object units squared."""
        a, b, c = np.moveaxis(self.vertices[self.faces], 1, 0)  # each (F, 3)
        return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


Painter = str | Callable[[int, int], str]


def grid(points: np.ndarray, paint: Painter) -> Part:
    """Quads over an (M, N, 3) grid of points; `paint` is a name or a function of (row, column).

    Rows run along v, columns along u. Quads that have collapsed to a line are left out.
    """
    rows, columns, _ = points.shape
    v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    vertices = points.reshape(-1, 3)
    quads = [(i, j) for i in range(rows - 1) for j in range(columns - 1)]
    start = np.array([i * columns + j for i, j in quads])[:, None]
    split = [0, 1, columns + 1, 0, columns + 1, columns]  # a quad is two triangles
    faces = (start + split).reshape(-1, 3)  # (2 * quads, 3)
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    kept = np.linalg.norm(np.cross(b - a, c - a), axis=1) > 1e-9
    names = [paint if isinstance(paint, str) else paint(i, j) for i, j in quads for _ in range(2)]
    return Part(
        vertices=vertices,
        faces=faces[kept],
        uv=np.stack([u, v], axis=-1).reshape(-1, 2),
        paints=tuple(np.array(names)[kept].tolist()),
    )


def lathe(profile: Sequence[tuple[float, float]], paint: Painter, sides: int = 24, turn: float = 0.0) -> Part:
    """The profile, (radius, z) pairs from bottom to top, turned about the z axis."""
    angle = turn + np.linspace(0, 2 * np.pi, sides + 1)
    radius, z = np.array(profile, dtype=float).T
    x = radius[:, None] * np.cos(angle)  # (M, sides + 1)
    y = radius[:, None] * np.sin(angle)
    return grid(np.stack([x, y, np.broadcast_to(z[:, None], x.shape)], axis=-1), paint)


def ellipsoid(radii: Vector, paint: Painter, centre: Vector = (0, 0, 0), sides: int = 24) -> Part:
    """An ellipsoid with its poles on the z axis; sides/2 rows, `sides` columns."""
    latitude = np.linspace(-np.pi / 2, np.pi / 2, sides // 2 + 1)
    ball = lathe(list(zip(np.cos(latitude).clip(0), np.sin(latitude), strict=True)), paint, sides)
    return move(replace(ball, vertices=ball.vertices * np.asarray(radii, float)), shift=centre)


def cylinder(radius: float, length: float, paint: Painter, sides: int = 20) -> Part:
    """A closed cylinder along z, centred at the origin."""
    h = length / 2
    return lathe([(0, -h), (radius, -h), (radius, h), (0, h)], paint, sides)


def tube(path: Path, radii: float | Vector, paint: Painter, sides: int = 10) -> Part:
    """A closed tube along a path of points; `radii` is one radius or one per point."""
    points = np.array(path, dtype=float)  # (M, 3)
    tangent = np.gradient(points, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    axis = np.eye(3)[np.abs(tangent).sum(0).argmin()]  # the axis the path follows least
    side = np.cross(tangent, axis)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(tangent, side)
    radius = np.broadcast_to(np.asarray(radii, float), len(points))
    # a first and a last ring of radius 0 close the ends
    points, side, up = (np.concatenate([a[:1], a, a[-1:]]) for a in (points, side, up))
    radius = np.concatenate([[0.0], radius, [0.0]])
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    ring = side[:, None] * np.cos(angle)[:, None] + up[:, None] * np.sin(angle)[:, None]
    return grid(points[:, None] + radius[:, None, None] * ring, paint)  # (M + 2, sides + 1, 3)


def smooth(path: Path, points: int = 16) -> np.ndarray:
    """`points` points on the Catmull-Rom-like cubic through the given ones, (points, D)."""
    from scipy.interpolate import CubicSpline

    knots = np.array(path, dtype=float)
    steps = np.linalg.norm(np.diff(knots, axis=0), axis=1)
    at = np.concatenate([[0], np.cumsum(steps)])
    return CubicSpline(at, knots)(np.linspace(0, at[-1], points))


def slab(
    outline: Sequence[tuple[float, float, float]],
    thickness: float,
    paint: str,
    rim: str | None = None,
    bevel: float = 0.0,
) -> Part:
    """An outline of (x, lower z, upper z) from back to front, `thickness` wide in y.

    Across y it has the stations -t/2, -t/2 + bevel, t/2 - bevel, t/2; at the outer two the
    outline shrinks by the bevel. Columns of the grid run round a cross-section, so side j is
    0 bottom, 1 bevel, 2 left, 3 bevel, 4 top, 5 bevel, 6 right, 7 bevel; `rim` paints all but 2 and 6.
    """
    x, low, high = np.array(outline, dtype=float).T
    half, inset = thickness / 2, np.minimum(bevel, (high - low) / 2)
    ring = [  # (y, z) of the eight corners of a cross-section, counter-clockwise from +x
        (-half + bevel, low), (half - bevel, low), (half, low + inset), (half, high - inset),
        (half - bevel, high), (-half + bevel, high), (-half, high - inset), (-half, low + inset),
    ]  # fmt: skip
    ring.append(ring[0])
    section = np.stack([np.stack([x, np.full_like(x, y), z], axis=-1) for y, z in ring], axis=1)  # (M, 9, 3)
    ends = [section[k].mean(axis=0, keepdims=True).repeat(9, 0)[None] for k in (0, -1)]
    section = np.concatenate([ends[0], section, ends[1]])
    edge = paint if rim is None else rim
    return grid(section, lambda i, j: paint if j in (2, 6) else edge)


def box(size: Vector, paint: str, centre: Vector = (0, 0, 0), taper: Vector = (1, 1)) -> Part:
    """A box whose top is scaled by `taper` in x and y. Six charts, 3 by 2, in the unit square."""
    corners = np.array([[x, y, z] for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)], float)
    corners[4:, :2] *= np.asarray(taper, float)
    corners = corners * np.asarray(size, float) / 2 + np.asarray(centre, float)
    quads = [(0, 1, 5, 4), (1, 3, 7, 5), (3, 2, 6, 7), (2, 0, 4, 6), (4, 5, 7, 6), (2, 3, 1, 0)]
    vertices, uv, faces = [], [], []
    for k, quad in enumerate(quads):
        vertices.append(corners[list(quad)])
        chart = np.array([[0.03, 0.03], [0.97, 0.03], [0.97, 0.97], [0.03, 0.97]])
        uv.append((chart + np.array([k % 3, k // 3])) / [3, 2])
        faces += [(4 * k, 4 * k + 1, 4 * k + 2), (4 * k, 4 * k + 2, 4 * k + 3)]
    return Part(
        vertices=np.concatenate(vertices),
        faces=np.array(faces),
        uv=np.concatenate(uv),
        paints=(paint,) * 12,
    )


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Rz(yaw) Ry(pitch) Rx(roll), angles in radians, (3, 3)."""
    cz, sz, cy, sy = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cx, sx = np.cos(roll), np.sin(roll)
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    return rz @ ry @ rx


def move(part: Part, shift: Vector = (0, 0, 0), **angles: float) -> Part:
    """The part turned by `rotation(**angles)` and then shifted."""
    turned = part.vertices @ rotation(**angles).T
    return replace(part, vertices=turned + np.asarray(shift, float))


def mirror(part: Part) -> Part:
    """The part on the other side of the xz plane, its faces still looking outwards."""
    return replace(part, vertices=part.vertices * [1, -1, 1], faces=part.faces[:, ::-1])


def pack(parts: Sequence[Part]) -> list[Part]:
    """Give each part a cell of the atlas: the largest the left half, the others a grid."""
    biggest = max(range(len(parts)), key=lambda k: parts[k].area())
    side = int(np.ceil(np.sqrt(max(len(parts) - 1, 1))))
    packed, cell = [], 0
    for k, part in enumerate(parts):
        if k == biggest:
            scale, corner = (0.5, 1.0), (0.0, 0.0)
        else:
            scale = (0.5 / side, 1 / side)
            corner = (0.5 + cell % side * scale[0], cell // side * scale[1])
            cell += 1
        inner = 0.01 + 0.98 * part.uv  # a gutter, so that neighbours do not bleed
        packed.append(replace(part, uv=inner * scale + corner))
    return packed
