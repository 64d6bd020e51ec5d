"""One object from many sides: what stays of a picture when only the object's texture changes.

Colour is linear in the texture: a pixel is the mean over its rays of factor * texture(uv), on the
object, plus what does not depend on the texture (background, shadows, highlights). So rays are
traced and shaded once, with a black texture, and every later picture is a lookup.
"""

from dataclasses import dataclass

import numpy as np

from .meshes import Solid, solid
from .raycast import cast, rays
from .scenes import Camera, Light, Scene, Surface, Thing
from .shade import shade

SAMPLES = 2  # rays a pixel, in each direction, as in the toybox
BLACK = np.zeros((1, 1, 3), np.uint8)


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A picture (H, W) of an object without its texture, M of whose rays meet the object.

    uv (M, 2) float32 texture coordinates, factor (M, 3) float32 of the texture's colour there, already
    divided by the rays of a pixel, pixel (M,) int32 row * W + column; rest (H, W, 3) float32 is what
    the texture's part is added to. `azimuth` and `elevation` of the camera about the object in degrees.
    """

    uv: np.ndarray
    factor: np.ndarray
    pixel: np.ndarray
    rest: np.ndarray
    azimuth: float
    elevation: float


def standing(shape: str | Solid) -> Thing:
    """The object on the ground, unturned and unstretched."""
    return Thing(solid=shape, position=(0.0, 0.0, -solid(shape).bottom))


def turntable(thing: Thing, frames: int) -> list[Scene]:
    """The object seen from `frames` sides, one after the other, on a plain ground in an even light."""
    centre, field, elevation = np.asarray(thing.position), np.radians(40), np.radians(22)
    distance = 1.1 / np.tan(field / 2)  # the object's sphere is 0.9 of the side
    scenes: list[Scene] = []
    for turn in np.linspace(0, 2 * np.pi, frames, endpoint=False):
        away = np.array(
            [np.cos(turn) * np.cos(elevation), np.sin(turn) * np.cos(elevation), np.sin(elevation)]
        )
        x, y, z = (float(value) for value in centre + distance * away)
        camera = Camera(eye=(x, y, z), aim=thing.position, field=float(field))
        over = np.array([np.cos(turn + 0.9), np.sin(turn + 0.9), 1.2])  # from the camera's right, above
        right, back, up = (float(value) for value in over / np.linalg.norm(over))
        scenes.append(
            Scene(
                split="turntable",
                index=len(scenes),
                label=-1,
                subject=thing,
                props=(),
                camera=camera,
                light=Light(direction=(right, back, up), strength=0.6, ambient=0.55),
                ground=Surface(first=(0.62, 0.62, 0.6), second=(0.5, 0.5, 0.5)),
                sky=Surface(first=(0.75, 0.8, 0.86), second=(0.6, 0.7, 0.85)),
            )
        )
    return scenes


def look(scene: Scene, size: tuple[int, int], samples: int = SAMPLES) -> View:
    """The scene's object as it is seen. Raises MissingExtra without the ray caster."""
    height, width = size
    things = (scene.subject, *scene.props)
    directions = rays(scene.camera, height, width, samples)
    hits = cast(things, scene.camera, directions, size, samples)
    picture = shade(scene, things, directions, hits, BLACK)
    rows, columns = np.nonzero(picture.owner == 0)
    uv = picture.uv[rows, columns]
    uv = np.where((uv < 0) | (uv > 1), uv - np.floor(uv), uv)  # a texture repeats beyond its edges
    away = np.subtract(scene.camera.eye, scene.subject.position)
    return View(
        uv=uv.astype(np.float32),
        factor=(picture.factor[rows, columns] / samples**2).astype(np.float32),
        pixel=(rows // samples * width + columns // samples).astype(np.int32),
        rest=picture.colour.reshape(height, samples, width, samples, 3).mean((1, 3), dtype=np.float32),
        azimuth=float(np.degrees(np.arctan2(away[1], away[0]) - scene.subject.angles[0])) % 360,
        elevation=float(np.degrees(np.arcsin(away[2] / np.linalg.norm(away)))),
    )


def bake(name: str, texels: int) -> np.ndarray:
    """A toybox object's own colours as a texture (T, T, 3) uint8, its row 0 at v = 1.

    A texel has the paint of the face whose chart holds its centre, outside of all charts of the nearest.
    """
    from scipy.ndimage import distance_transform_edt

    from .meshes import paint_table

    shape = solid(name)
    owner = np.full((texels, texels), -1)
    corners = shape.uv * [1, -1] * texels + [-0.5, texels - 0.5]  # (F, 3, 2): column, row of texel centres
    for paint, chart in zip(shape.paint, corners, strict=True):
        low = np.ceil(chart.min(0) - 1e-6).astype(int).clip(0, texels - 1)
        high = np.floor(chart.max(0) + 1e-6).astype(int).clip(0, texels - 1)
        grid = np.stack(np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high))), -1)  # (r, c, 2)
        owner[low[1] : high[1] + 1, low[0] : high[0] + 1][_inside(grid, chart)] = paint
    nearest = distance_transform_edt(owner < 0, return_distances=False, return_indices=True)
    table = np.round(255 * paint_table(name, None)).astype(np.uint8)
    return table[owner[tuple(nearest)]]


def _inside(points: np.ndarray, triangle: np.ndarray) -> np.ndarray:
    """Which points (..., 2) lie in a triangle (3, 2); none in one without area."""
    edges = np.roll(triangle, -1, 0) - triangle
    area = edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0]
    if abs(area) < 1e-12:
        return np.zeros(points.shape[:-1], dtype=bool)
    gaps = points[..., None, :] - triangle  # (..., 3, 2)
    sides = edges[:, 0] * gaps[..., 1] - edges[:, 1] * gaps[..., 0]
    return (sides * np.sign(area) >= -1e-9).all(-1)
