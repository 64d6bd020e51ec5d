"""A look, make-up and hair in the manner of CV Dazzle, as a drawing with few parameters.

Harvey 2010, "CV Dazzle": dark and light shapes across the face, where a detector expects the opposite.
A look is a few smooth strokes, thinner towards their ends, and triangles, in the coordinates of the face:
its box reaches from (0, 0) to (1, 1). Eyes and mouth stay free.

The covered area is exact. Of every place the distance to the nearest shape is known, negative inside; as
many pixels of the box as the budget allows, those with the smallest distances, are covered: of a face that
is small in its picture, perhaps all but eyes and mouth. So shapes
swell or shrink together, and their outlines stay smooth. What of a pixel is covered fades over the width
of one pixel, inwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ostrich import images
from ostrich.attacks.threats.base import TOLERANCE

Array = np.ndarray
PER_STROKE, PER_TRIANGLE = 8, 8  # numbers: three points, a width or an offset, a tone
PIECES = 8  # straight pieces of a stroke
WIDTH = 0.04  # half the width of a stroke in its middle, of the face's side, where its number is 0
FREE = ((0.315, 0.37, 0.12, 0.065), (0.685, 0.37, 0.12, 0.065), (0.5, 0.78, 0.2, 0.07))
# centre and half axes of eyes and mouth, as they lie in the mean of scikit-image's hundred faces
HUES = np.array([[0.9, 0.1, 0.5], [0.1, 0.5, 0.9], [0.2, 0.8, 0.6], [0.6, 0.2, 0.9], [0.9, 0.5, 0.1]])
LUMA = np.array(images.LUMA)


@dataclass(frozen=True)
class Form:
    """How many shapes a look has; `symmetric`, each stands on both sides of the face."""

    strokes: int
    triangles: int
    symmetric: bool

    @property
    def numbers(self) -> int:
        """The length of a look."""
        return PER_STROKE * self.strokes + PER_TRIANGLE * self.triangles


def random_look(form: Form, random: np.random.Generator) -> Array:
    """A look (P,): standard normal numbers spread the shapes over the face, in any tone."""
    return random.standard_normal(form.numbers)


@dataclass(frozen=True)
class Drawing:
    """A look on the grid of one face: the part (h, w) of each pixel that is covered, and with what tone.

    `rows` and `columns` are where the grid lies in the picture; `shape` (h, w) is the number of the shape.
    """

    rows: slice
    columns: slice
    cover: Array
    tone: Array
    shape: Array

    def on(self, picture: Array) -> Array:
        """The picture, float (H, W) or (H, W, 3) in [0, 1], with the look; in colour on colour."""
        found = picture.copy()
        part = found[self.rows, self.columns]
        if picture.ndim == 2:
            part += self.cover * (self.tone - part)
        else:
            part += self.cover[..., None] * (tinted(self.tone, self.shape) - part)
        return found


def drawn(
    look: Array, form: Form, box: tuple[float, float, float], size: tuple[int, int], area: float
) -> Drawing:
    """A look (P,) on the face at `box` (left, top, side) of a picture of `size` (H, W).

    At most the part `area` of the box's pixels is changed, and no pixel outside of it.
    """
    left, top, side = box
    rows = slice(max(0, round(top)), min(size[0], round(top + side)))
    columns = slice(max(0, round(left)), min(size[1], round(left + side)))
    y = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5 - top) / side
    x = (np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5 - left) / side
    x, y = np.broadcast_arrays(x[None], y[:, None])
    distances, tones = _shapes(look, form, x, y)
    nearest = distances.argmin(0)
    distance = np.where(_free(x, y), np.inf, distances.min(0))
    most = int(area * round(side) ** 2 * (1 + TOLERANCE))
    ordered = np.partition(distance.ravel(), most) if most < distance.size else distance.ravel()
    level = ordered[most] if most < distance.size else np.inf
    cover = np.clip((level - distance) * side, 0, 1) if np.isfinite(level) else np.isfinite(distance) * 1.0
    return Drawing(rows, columns, cover, tones[nearest], nearest)


def tinted(tone: Array, shape: Array) -> Array:
    """Colours (h, w, 3) whose grey is `tone`: each shape has its hue, as far as that grey leaves room."""
    hue = HUES[shape % len(HUES)]
    hue = hue - (hue @ LUMA)[..., None]  # a direction without grey
    tone = tone[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(hue > 0, (1 - tone) / hue, np.where(hue < 0, -tone / hue, np.inf)).min(
            -1, keepdims=True
        )
    return tone + np.minimum(room, 1) * hue


def _shapes(look: Array, form: Form, x: Array, y: Array) -> tuple[Array, Array]:
    """Distances (S, h, w) of places to the shapes, negative inside, and the tones (S,) of these."""
    numbers = look.reshape(-1, PER_STROKE).astype(np.float32)
    distances, tones = [], []
    for i, row in enumerate(numbers):
        points = 0.5 + 0.25 * row[:6].reshape(3, 2)
        measure = _stroke if i < form.strokes else _triangle
        places = [x, 1 - x] if form.symmetric else [x]
        sides = [measure(points, row[6], place, y) for place in places]
        distances.append(np.minimum.reduce(sides))
        tones.append(1 / (1 + np.exp(-2 * row[7])))
    return np.stack(distances), np.array(tones, dtype=np.float32)


def _stroke(points: Array, size: float, x: Array, y: Array) -> Array:
    """Distances to a quadratic curve through its control points, as wide in the middle as `size` says."""
    t = np.linspace(0, 1, PIECES + 1, dtype=np.float32)[:, None]
    curve = (1 - t) ** 2 * points[0] + 2 * t * (1 - t) * points[1] + t**2 * points[2]  # (9, 2)
    width = WIDTH * np.exp(0.5 * size) * (1 - 0.8 * (2 * t[:, 0] - 1) ** 2)
    found = np.full(x.shape, np.inf, dtype=np.float32)
    for a, b, w, v in zip(curve, curve[1:], width, width[1:]):
        along, distance = _to_segment(a, b, x, y)
        np.minimum(found, distance - (w + (v - w) * along), out=found)
    return found


def _triangle(points: Array, size: float, x: Array, y: Array) -> Array:
    """Distances to a triangle, larger or smaller by what `size` says."""
    inside = np.ones(x.shape, dtype=bool)
    found = np.full(x.shape, np.inf, dtype=np.float32)
    (ax, ay), (bx, by), (cx, cy) = points
    sense = np.sign((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)) or 1.0
    for a, b in ((points[0], points[1]), (points[1], points[2]), (points[2], points[0])):
        np.minimum(found, _to_segment(a, b, x, y)[1], out=found)
        inside &= sense * ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) > 0
    return np.where(inside, -found, found) - WIDTH / 2 * size


def _to_segment(a: Array, b: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """How far along the segment the nearest point lies, 0 to 1, and the distance to it."""
    dx, dy = b - a
    along = ((x - a[0]) * dx + (y - a[1]) * dy) / max(dx * dx + dy * dy, 1e-12)
    along = np.clip(along, 0, 1)
    return along, np.hypot(x - a[0] - along * dx, y - a[1] - along * dy)


def _free(x: Array, y: Array) -> Array:
    """Whether a place belongs to eyes or mouth."""
    return np.logical_or.reduce([((x - u) / a) ** 2 + ((y - v) / b) ** 2 <= 1 for u, v, a, b in FREE])
