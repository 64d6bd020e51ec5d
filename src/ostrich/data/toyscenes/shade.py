"""The colour of each ray: paint or pattern, times light, plus a small highlight.

Vectors of many rays are (3, R) float32 here, components first: numpy is several times faster over
long rows than over many short ones.
"""

from dataclasses import dataclass

import numpy as np

from .meshes import glow_table, paint_table, solid
from .raycast import Hits
from .scenes import Scene, Surface, Thing
from .structure import trace

GROUND, SKY = -2, -1  # owners that are no thing
LIFT = 2e-3  # shadow rays start this far above a surface, in object radii


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """On the sample grid (A, B): colour and factor (A, B, 3), owner, depth, light (A, B), uv (A, B, 2).

    `factor` is what the own colour of a place was multiplied with, `light` the same in white light.
    """

    colour: np.ndarray
    factor: np.ndarray
    owner: np.ndarray
    depth: np.ndarray
    uv: np.ndarray
    light: np.ndarray


def column(values: tuple[float, ...] | np.ndarray) -> np.ndarray:
    """Three numbers as a (3, 1) float32 column."""
    return np.asarray(values, dtype=np.float32)[:, None]


def unit(vectors: np.ndarray) -> np.ndarray:
    """(3, R) vectors at unit length."""
    return vectors / np.sqrt(np.maximum(dot(vectors, vectors), 1e-18))


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Scalar products of (3, R) or (3, 1) vectors, (R,)."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def shade(
    scene: Scene,
    things: tuple[Thing, ...],
    directions: np.ndarray,
    hits: Hits,
    texture: np.ndarray | None,
) -> Picture:
    """Colours of the sample grid; `hits` are the nearest things, the ground is added here."""
    shape = directions.shape[:2]
    way = np.ascontiguousarray(directions.reshape(-1, 3).T, dtype=np.float32)  # (3, R)
    eye = column(scene.camera.eye)
    owner, depth = hits.owner.ravel().copy(), hits.t.ravel().astype(np.float32)
    below = way[2] < -1e-6
    floor = np.where(below, -eye[2] / np.where(below, way[2], 1), np.float32(np.inf))
    owner[floor < depth] = GROUND
    depth = np.minimum(depth, floor)
    sky, ground = np.flatnonzero(owner == SKY), np.flatnonzero(owner == GROUND)
    point = eye + np.where(np.isfinite(depth), depth, 0) * way

    albedo, normal, glow, uv = _surfaces(things, hits, owner, point, texture)
    normal[2, ground] = 1
    albedo[:, ground] = _ground(scene.ground, point[:2, ground], depth[ground])
    ahead = unit(way)
    albedo[:, sky] = _sky(scene.sky, ahead[:, sky])

    colour, factor, light = _lit(scene, things, point, normal, albedo, ahead, glow)
    # distant ground fades into the sky, so that the horizon has no moire
    far = ground[depth[ground] > 14]
    haze = 1 - np.exp((14 - depth[far]) / 20)
    colour[:, far] = (1 - haze) * colour[:, far] + haze * column(scene.sky.first)
    return Picture(
        colour=colour.T.reshape(*shape, 3),
        factor=factor.T.reshape(*shape, 3),
        owner=owner.reshape(shape),
        depth=depth.reshape(shape),
        uv=uv.reshape(*shape, 2),
        light=np.where(owner == 0, light, np.nan).reshape(shape),
    )


def _surfaces(
    things: tuple[Thing, ...],
    hits: Hits,
    owner: np.ndarray,
    point: np.ndarray,
    texture: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of the rays that hit a thing: albedo and normal (3, R), glow (R,), uv (R, 2) of thing 0.

    Glow is the least light factor; it is 1 in the sky.
    """
    albedo, normal = np.empty_like(point), np.zeros_like(point)
    glow = (owner == SKY).astype(np.float32)
    uv = np.full((len(owner), 2), np.nan, dtype=np.float32)
    for k, thing in enumerate(things):
        at = np.flatnonzero(owner == k)
        if len(at) == 0:
            continue
        bary, face = _barycentric(hits, at), hits.face.ravel()[at]
        normal[:, at] = _normals(thing, face, bary)
        spots = np.einsum("rc,rci->ri", bary, solid(thing.solid).uv[face])
        if k == 0:
            uv[at], glow[at] = spots, glow_table(thing.solid)[solid(thing.solid).paint[face]]
        albedo[:, at] = _paint(thing, face, point[:, at], spots, texture if k == 0 else None)
    return albedo, normal, glow, uv


def _barycentric(hits: Hits, at: np.ndarray) -> np.ndarray:
    u, v = hits.u.ravel()[at], hits.v.ravel()[at]
    return np.stack([1 - u - v, u, v], axis=-1)  # (R, 3)


def _normals(thing: Thing, face: np.ndarray, bary: np.ndarray) -> np.ndarray:
    """Interpolated normals in the world, (3, R), unit length."""
    smooth = np.einsum("rc,rci->ir", bary, solid(thing.solid).normals[face])
    return unit(thing.inverse.T @ smooth)


def _paint(
    thing: Thing, face: np.ndarray, point: np.ndarray, uv: np.ndarray, texture: np.ndarray | None
) -> np.ndarray:
    """Own colour of the points, (3, R): the texture, the paint, or the prop's pattern."""
    if texture is not None:
        rows, columns = texture.shape[:2]
        row = ((1 - uv[:, 1]) * rows).astype(int).clip(0, rows - 1)
        place = (uv[:, 0] * columns).astype(int).clip(0, columns - 1)
        return texture[row, place].T / 255
    shape = solid(thing.solid)
    if shape.paints != ("paint",):
        return paint_table(thing.solid, dict(thing.colours)).T[:, shape.paint[face]]
    first = column(thing.colours[0][1])
    if thing.pattern == "plain":
        return np.broadcast_to(first, point.shape)
    own = thing.inverse @ (point - column(thing.position))
    cell = np.floor(own * thing.frequency + 0.25)
    odd = cell[2] % 2 if thing.pattern == "stripes" else cell.sum(axis=0) % 2
    return np.where(odd > 0, column(thing.second), first)


def _pattern(surface: Surface, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Share of the second colour at plane coordinates, (R,) in [0, 1]."""
    c, s = np.cos(surface.turn), np.sin(surface.turn)
    a = surface.frequency * (c * x + s * y) + surface.phase[0]
    b = surface.frequency * (c * y - s * x) + surface.phase[1]
    if surface.pattern == "checker":
        return (np.floor(a) + np.floor(b)) % 2
    if surface.pattern == "stripes":
        return np.floor(2 * a) % 2
    if surface.pattern == "tiles":
        return ((a % 1 < 0.1) | (b % 1 < 0.1)).astype(float)
    if surface.pattern == "blots":
        wave = np.sin(5 * a + 2 * np.sin(3.1 * b)) + np.sin(4.3 * b + 2 * np.sin(2.3 * a))
        return np.clip(0.5 + 0.4 * wave, 0, 1)
    return 0.15 + 0 * a


def _ground(surface: Surface, place: np.ndarray, depth: np.ndarray) -> np.ndarray:
    share = _pattern(surface, *place)
    calm = np.exp(-np.maximum(depth - 8, 0) / 8)  # far patterns blur to their mean
    share = calm * share + (1 - calm) * 0.4
    return (1 - share) * column(surface.first) + share * column(surface.second)


def _sky(surface: Surface, way: np.ndarray) -> np.ndarray:
    """A gradient from the horizon up, over it the pattern in azimuth and elevation."""
    azimuth, up = np.arctan2(way[1], way[0]), np.arcsin(way[2].clip(-1, 1))
    share = np.clip(up / 0.9, 0, 1)
    if surface.pattern != "plain":
        share = 0.3 * share + 0.7 * _pattern(surface, azimuth, up)
    return (1 - share) * column(surface.first) + share * column(surface.second)


def _lit(
    scene: Scene,
    things: tuple[Thing, ...],
    point: np.ndarray,
    normal: np.ndarray,
    albedo: np.ndarray,
    ahead: np.ndarray,
    glow: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colours and factors (3, R), and factors in white light (R,); `glow` is the least, 1 in the sky."""
    lamp, sun = scene.light, column(scene.light.direction)
    back = dot(normal, ahead) > 0
    normal[:, back] *= -1  # both sides of a sheet are lit
    # the even light is a little stronger from above than from below
    ambient = np.maximum(lamp.ambient * (0.85 + 0.15 * normal[2]), glow)
    facing = dot(normal, sun)
    at = np.flatnonzero(facing > 0)  # normals are 0 in the sky
    at = at[~_shadowed(things, point[:, at] + LIFT * normal[:, at], sun)]
    sunlight = np.zeros_like(facing)
    sunlight[at] = facing[at] * lamp.strength
    factor = ambient + sunlight * column(lamp.tint)
    colour = albedo * factor
    half = unit(sun - ahead[:, at])
    shine = np.maximum(dot(normal[:, at], half), 0)
    colour[:, at] += lamp.gloss * shine**40
    return colour, factor, ambient + sunlight


def _shadowed(things: tuple[Thing, ...], point: np.ndarray, sun: np.ndarray) -> np.ndarray:
    """Does anything stand between the points (3, R) and the sun (3, 1)? (R,) bool."""
    dark = np.zeros(point.shape[1], dtype=bool)
    height, square = dot(point, sun), dot(point, point)
    centres = np.array([thing.position for thing in things], dtype=np.float32)  # (K, 3)
    beside = centres @ point  # (K, R)
    for thing, centre, product in zip(things, centres, beside, strict=True):
        along = centre @ sun - height  # from the point towards the sun, to beside the centre
        miss = square - 2 * product + centre @ centre - along**2  # squared distance to the centre
        # far away float32 cancels: the slack only lets a few more rays be traced
        near = (miss < thing.radius**2 + 1e-5 * square) & (along > -thing.radius) & ~dark
        at = np.flatnonzero(near)
        if len(at):
            way = np.broadcast_to(sun.T, (len(at), 3))
            dark[at] = trace(thing, point[:, at].T, way) >= 0
    return dark
