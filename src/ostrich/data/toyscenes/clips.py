"""Toybox clips: a scene's object glides and turns, all else is still to the last bit.

Clip i of a split starts from a scene drawn as image i is, without its clutter and with plain ground and
sky: so clips are much easier than the images, and a small generator of clips has something to learn.
The object throws no shadow on the ground, which would move with it. Scene and path depend on the split
and the number alone.

The background is rendered once; in each frame only the rays that meet the object are shaded anew.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ostrich.errors import InputError

from .raycast import cast, pixels, rays, sizes
from .sampling import ATTEMPTS, draw, generator, visible_enough
from .scenes import Scene
from .shade import shade

REACHES = (1.2, 0.8, 0.5, 0.3, 0.15, 0.05)  # lengths of the path, in object radii
HEADINGS = 4  # directions that are tried before the path is shortened


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """frames (T, H, W, 3) uint8 and masks (T, H, W) bool, the object where it is visible."""

    frames: np.ndarray
    masks: np.ndarray


def clip_scene(split: str, index: int) -> Scene:
    """The first frame's scene of clip `index` of "train" or "test". Raises as `scene`."""
    for attempt in range(ATTEMPTS):
        drawn = draw(split, index, attempt)
        ground, sky = replace(drawn.ground, pattern="plain"), replace(drawn.sky, pattern="plain")
        alone = replace(drawn, props=(), ground=ground, sky=sky)
        if visible_enough(alone):
            return alone
    raise AssertionError(f"no object in the picture in {ATTEMPTS} draws of {split} {index}")


def clip(start: Scene, frames: int) -> tuple[Scene, ...]:
    """The object gliding and turning over a still background: `frames` scenes, the first is `start`.

    The path is a gentle arc in the ground plane; it is turned, and then shortened, until the object
    stays in the picture and at least 40 % visible in every frame. Raises InputError for fewer than
    one frame, MissingExtra without the ray caster.
    """
    if frames < 1:
        raise InputError(f"a clip has at least 1 frame, not {frames}")
    rng = generator(start.split, start.index, stream="clip")
    heading, bend = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5)
    turn = rng.uniform(-0.9, 0.9)
    for reach in REACHES:
        for quarter in range(HEADINGS):
            course = heading + quarter * 2 * np.pi / HEADINGS
            moved = partial(_moved, start, reach=reach, heading=course, bend=bend, turn=turn)
            times = np.linspace(0, 1, frames)
            # From the end, where the object is likeliest to have left the picture.
            if all(visible_enough(moved(time)) for time in times[:0:-1]):
                return (start, *(moved(time) for time in times[1:]))
    return (start,) * frames  # boxed in on every side: a still


def _moved(start: Scene, time: float, reach: float, heading: float, bend: float, turn: float) -> Scene:
    way, course = reach * time, heading + bend * time
    x, y, z = start.subject.position
    yaw, pitch, roll = start.subject.angles
    subject = replace(
        start.subject,
        position=(x + way * float(np.cos(course)), y + way * float(np.sin(course)), z),
        angles=(yaw + turn * reach * time, pitch, roll),
    )
    return replace(start, subject=subject)


def render_clip(scenes: tuple[Scene, ...], size: int | tuple[int, int] = 64, samples: int = 2) -> Clip:
    """Scenes that differ in the object's place alone, as pictures of one still background.

    `samples` x `samples` rays a pixel; a mask holds a pixel where at least half of its rays meet the
    object. Raises InputError, MissingExtra.
    """
    height, width = sizes(size)
    start, camera = scenes[0], scenes[0].camera
    directions = rays(camera, height, width, samples)
    still = cast(start.props, camera, directions, (height, width), samples)
    # Thing 0 is the object, which nothing of the background is: props are counted from 1.
    still = replace(still, owner=np.where(still.owner < 0, still.owner, still.owner + 1))
    away = replace(start.subject, position=(0.0, 0.0, -1e3))  # throws no shadow
    background = shade(start, (away, *start.props), directions, still, None)
    frames, masks = [], []
    for now in scenes:
        colour, mask = background.colour.copy(), np.zeros(directions.shape[:2], dtype=bool)
        hits = cast((now.subject,), camera, directions, (height, width), samples)
        at = np.nonzero(hits.t < background.depth)
        if len(at[0]):
            few = type(hits)(**{name: values[at][:, None] for name, values in vars(hits).items()})
            seen = shade(now, (now.subject, *now.props), directions[at][:, None], few, None)
            colour[at], mask[at] = seen.colour[:, 0], True
        frames.append(np.round(255 * pixels(colour, samples).clip(0, 1)).astype(np.uint8))
        masks.append(pixels(mask, samples) >= 0.5)
    return Clip(frames=np.stack(frames), masks=np.stack(masks))


def toybox_clip(split: str, index: int, frames: int, size: int | tuple[int, int] = 64) -> Clip:
    """Clip `index` (0, 1, ...) of "train" or "test". Raises UnknownName, InputError, MissingExtra."""
    return render_clip(clip(clip_scene(split, index), frames), size)
