"""Scenes to pictures: rays (`raycast.py`), then their colours (`shade.py`).

Lambert shading with hard shadows, an even ambient light and a small Blinn highlight; supersampling for
smooth edges.
"""

from dataclasses import dataclass

import numpy as np

from .raycast import cast, pixels, rays, sizes
from .scenes import Scene
from .shade import shade


@dataclass(frozen=True, kw_only=True, eq=False)
class Render:
    """A picture and what was seen where.

    image (H, W, 3) uint8; mask (H, W) bool, object visible; unoccluded (H, W) bool, object if
    nothing stood before it; depth (H, W) float32 along the camera axis in object radii, inf in the
    sky; uv (H, W, 2) float32 texture coordinates of the visible object, NaN elsewhere; light
    (H, W) float32, what the object's colour was multiplied with there, NaN elsewhere.
    """

    image: np.ndarray
    mask: np.ndarray
    unoccluded: np.ndarray
    depth: np.ndarray
    uv: np.ndarray
    light: np.ndarray


def render(
    scene: Scene,
    size: int | tuple[int, int] = 64,
    samples: int = 2,
    texture: np.ndarray | None = None,
) -> Render:
    """The scene as a picture of any size, from samples x samples rays a pixel.

    `texture` (T, T, 3) uint8 replaces the object's paint, its row 0 at v = 1. The mask holds a
    pixel where at least half of its rays meet the object. Raises InputError, MissingExtra.
    """
    height, width = sizes(size)
    things = (scene.subject, *scene.props)
    directions = rays(scene.camera, height, width, samples)
    hits = cast(things, scene.camera, directions, (height, width), samples)
    picture = shade(scene, things, directions, hits, texture)

    middle = (slice(samples // 2, None, samples),) * 2  # one ray per pixel for what is no average
    return Render(
        image=np.round(255 * pixels(picture.colour, samples).clip(0, 1)).astype(np.uint8),
        mask=pixels(picture.owner == 0, samples) >= 0.5,
        unoccluded=pixels(hits.first, samples) >= 0.5,
        depth=picture.depth[middle].astype(np.float32),
        uv=picture.uv[middle].astype(np.float32),
        light=picture.light[middle].astype(np.float32),
    )
