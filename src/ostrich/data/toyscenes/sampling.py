"""Which scene is image i of a split: drawn from a generator keyed by (split, index, attempt).

A draw is refused, and drawn again with the next attempt number, where the clutter hides more than
half of the object or the object leaves the picture; both are measured with rays. So image i never
depends on which other images were made.
"""

import colorsys
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from zlib import crc32

import numpy as np

from ostrich.errors import InputError, UnknownName

from .meshes import CLASS_NAMES, PROPS, solid
from .palettes import Colour, instance_colours
from .scenes import Camera, Light, Scene, Surface, Thing, Vector3

SPLITS = ("train", "test")
MOST_HIDDEN = 0.5  # of the object's rays on a 64x64 grid; leaves room below the promised 0.6
NEAR = (0.85, 1.15)  # of a view: the bounding sphere's diameter over the shorter side
TILT = float(np.radians(20))  # of the camera in a view, either way
AROUND = ("clutter", "patterned", "plain")  # what surrounds the object in a view
ATTEMPTS = 200  # draws of a scene before giving up
PATTERNS = ("plain", "checker", "stripes", "tiles", "blots")


def generator(split: str, index: int, stream: str, attempt: int = 0) -> np.random.Generator:
    """The generator of one purpose ("draw", "order", "clip") for image `index` of `split`."""
    if split not in SPLITS:
        raise UnknownName("toybox split", split, SPLITS)
    if index < 0:
        raise InputError(f"image numbers of the toybox start at 0, not {index}")
    return np.random.default_rng([crc32(split.encode()), index, crc32(stream.encode()), attempt])


def label(split: str, index: int) -> int:
    """Class index of image `index`: every ten images hold each class once, in a seeded order."""
    order = generator(split, index // len(CLASS_NAMES), "order").permutation(len(CLASS_NAMES))
    return int(order[index % len(CLASS_NAMES)])


@lru_cache(maxsize=4096)
def scene(split: str, index: int) -> Scene:
    """Image `index` (0, 1, ...) of "train" or "test", before it is rendered.

    Raises UnknownName, InputError for a negative index, MissingExtra without the ray caster.
    """
    for attempt in range(ATTEMPTS):
        drawn = draw(split, index, attempt)
        if visible_enough(drawn):
            return drawn
    raise AssertionError(f"no visible object in {ATTEMPTS} draws of {split} {index}")


def view(subject: Thing, index: int) -> Scene:
    """View `index` (0, 1, ...) of an object that stands still: its camera, light and surroundings.

    These are the toybox's, but the camera is tilted more and nothing stands before the object; of the
    views a third has clutter, a third a patterned ground and sky, and a third plain ones. The label is -1.
    """
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([crc32(b"view"), index, attempt])
        around = AROUND[rng.integers(len(AROUND))]
        camera = replace(_camera(subject, rng, NEAR), roll=float(rng.uniform(-TILT, TILT)))
        patterns = ("plain",) if around == "plain" else PATTERNS
        drawn = Scene(
            split="view",
            index=index,
            label=-1,
            subject=subject,
            props=_clutter(subject, camera, rng) if around == "clutter" else (),
            camera=camera,
            light=_light(rng),
            ground=_surface(rng, 0.35, 1.1, patterns),
            sky=_surface(rng, 1.0, 3.5, patterns),
        )
        if visible_enough(drawn):
            return drawn
    raise InputError(
        f"No view shows enough of {solid(subject.solid).name!r}: it is too thin or too flat to be seen."
    )


def visible_enough(candidate: Scene) -> bool:
    """Is the object inside the picture and at most MOST_HIDDEN of it behind other things?"""
    from .raycast import subject_visibility

    visible, inside = subject_visibility(candidate)
    return visible >= 1 - MOST_HIDDEN and inside


def draw(split: str, index: int, attempt: int) -> Scene:
    """One draw, not yet checked for visibility."""
    rng = generator(split, index, "draw", attempt)
    which = label(split, index)
    subject = _subject(CLASS_NAMES[which], rng)
    camera = _camera(subject, rng)
    return Scene(
        split=split,
        index=index,
        label=which,
        subject=subject,
        props=_clutter(subject, camera, rng) + _occluders(subject, camera, rng),
        camera=camera,
        light=_light(rng),
        ground=_surface(rng, 0.35, 1.1),
        sky=_surface(rng, 1.0, 3.5),
    )


def _triple(values: Sequence[float] | np.ndarray) -> Vector3:
    x, y, z = (float(v) for v in values)
    return x, y, z


def _colour(rng: np.random.Generator) -> Colour:
    """Any hue; greys and pastels are as common as strong colours."""
    return colorsys.hsv_to_rgb(rng.uniform(), rng.beta(1.2, 1.6), rng.uniform(0.2, 1.0))


def _subject(name: str, rng: np.random.Generator) -> Thing:
    angles = (rng.uniform(0, 2 * np.pi), rng.normal(0, 0.12), rng.normal(0, 0.12))
    stretch = rng.uniform(0.87, 1.12, 3)
    lift = rng.uniform(0.2, 1.2) if name == "airship" else max(0.0, rng.normal(0, 0.15))
    height = -solid(name).bottom * stretch[2] + lift
    return Thing(
        solid=name,
        position=(0.0, 0.0, float(height)),
        angles=_triple(angles),
        stretch=_triple(stretch),
        colours=tuple(instance_colours(name, rng).items()),
    )


def _camera(subject: Thing, rng: np.random.Generator, share: tuple[float, float] = (0.52, 0.82)) -> Camera:
    """An eye around the object; `aim` is off the object so that it lands away from the centre.

    `share` is the range of the bounding sphere's diameter over the shorter side.
    """
    field = np.radians(rng.uniform(34, 56))
    across = rng.uniform(*share)
    distance = 1 / (across * np.tan(field / 2))
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(3, 48))
    away = np.array([
        np.cos(azimuth) * np.cos(elevation),
        np.sin(azimuth) * np.cos(elevation),
        np.sin(elevation),
    ])  # fmt: skip
    centre = np.asarray(subject.position)
    eye = centre + distance * away
    eye[2] = max(eye[2], 0.15)
    level = Camera(eye=_triple(eye), aim=_triple(centre), field=float(field))
    right, down, _ = level.axes
    room = max(0.0, 1.16 - across)  # how far the centre may go, in half sides; poor draws are refused
    bearing, radius = rng.uniform(0, 2 * np.pi), room * np.sqrt(rng.uniform(0.45, 1.0))
    step = distance * np.tan(field / 2) * radius
    aim = centre - step * (np.cos(bearing) * right + np.sin(bearing) * down)
    roll = rng.normal(0, 0.08)
    return Camera(eye=level.eye, aim=_triple(aim), field=level.field, roll=float(roll))


def _prop(position: np.ndarray, size: float, rng: np.random.Generator, kinds: tuple) -> Thing:
    kind = kinds[rng.integers(len(kinds))]
    return Thing(
        solid=kind,
        position=_triple(position),
        angles=_triple((rng.uniform(0, 2 * np.pi), *rng.normal(0, 0.5, 2))),
        stretch=_triple(size * rng.uniform(0.6, 1.4, 3)),
        colours=(("paint", _colour(rng)),),
        pattern=("plain", "plain", "stripes", "checker")[rng.integers(4)],
        second=_colour(rng),
        frequency=float(rng.uniform(1, 3)),
    )


def _clutter(subject: Thing, camera: Camera, rng: np.random.Generator) -> tuple[Thing, ...]:
    """Three to nine props beside and behind the object, most of them on the ground."""
    eye, centre = np.asarray(camera.eye), np.asarray(subject.position)
    ahead = centre[:2] - eye[:2]
    far = np.linalg.norm(ahead)
    ahead = ahead / max(far, 1e-6)
    beside = np.array([-ahead[1], ahead[0]])
    things = []
    for _ in range(rng.integers(3, 10)):
        depth = rng.uniform(-0.6, 5.0)
        span = (far + depth) * np.tan(camera.field / 2) * 1.3
        across = rng.uniform(-span, span)
        if depth < 1.3 and abs(across) < 1.3:
            across = np.copysign(1.3 + abs(across) / 2, across)
        size = rng.uniform(0.25, 0.75) * (1 + 0.15 * max(depth, 0))
        x, y = centre[:2] + depth * ahead + across * beside
        z = size * 0.6 if rng.uniform() < 0.7 else rng.uniform(0.3, 2.5)
        things.append(_prop(np.array([x, y, z]), size, rng, tuple(PROPS)))
    return tuple(things)


def _occluders(subject: Thing, camera: Camera, rng: np.random.Generator) -> tuple[Thing, ...]:
    """None, one or two props between the eye and the object."""
    count = rng.choice(3, p=[0.35, 0.45, 0.2])
    eye, centre = np.asarray(camera.eye), np.asarray(subject.position)
    right, down, _ = camera.axes
    things = []
    for _ in range(count):
        share = rng.uniform(0.45, 0.7)  # of the way from the eye to the object
        side = rng.normal(0, 0.6, 2)
        target = centre + side[0] * right + side[1] * down
        place = eye + share * (target - eye)
        size = share * rng.uniform(0.3, 0.6)
        things.append(_prop(place, size, rng, ("ball", "cube", "can", "cone", "panel", "post")))
    return tuple(things)


def _light(rng: np.random.Generator) -> Light:
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(28, 75))
    direction = (
        np.cos(azimuth) * np.cos(elevation),
        np.sin(azimuth) * np.cos(elevation),
        np.sin(elevation),
    )
    tint = colorsys.hsv_to_rgb(rng.choice([0.09, 0.6]), rng.uniform(0, 0.22), 1.0)
    return Light(
        direction=_triple(direction),
        strength=float(rng.uniform(0.5, 0.9)),
        ambient=float(rng.uniform(0.36, 0.62)),
        tint=tint,
        gloss=float(rng.uniform(0.05, 0.3)),
    )


def _surface(
    rng: np.random.Generator, slowest: float, fastest: float, patterns: tuple[str, ...] = PATTERNS
) -> Surface:
    return Surface(
        first=_colour(rng),
        second=_colour(rng),
        pattern=patterns[rng.integers(len(patterns))],
        frequency=float(rng.uniform(slowest, fastest)),
        turn=float(rng.uniform(0, np.pi)),
        phase=(float(rng.uniform()), float(rng.uniform())),
    )
