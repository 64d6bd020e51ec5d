"""The ten objects of the toybox as meshes: triangles, normals, texture coordinates, paints.

Every object is centred and scaled so that it fits the unit sphere; x points forward, z up. Names
are ImageNet's, so that the same mesh can be shown to an ImageNet network. `solid` is what the
ray caster uses and needs numpy only; `mesh` is the same as a trimesh object, for people and for
files.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from ostrich.errors import InputError, MissingExtra, UnknownName

from . import animals, things, vehicles
from .class_names import CLASS_NAMES as CLASS_NAMES
from .palettes import PALETTES, Colour, default_colours
from .parts import Part, box, cylinder, ellipsoid, lathe, pack, tube

if TYPE_CHECKING:
    import trimesh

BUILDERS: dict[str, Callable[[], list[Part]]] = {
    "school bus": vehicles.school_bus,
    "ostrich": animals.ostrich,
    "table lamp": things.table_lamp,
    "sports car": vehicles.sports_car,
    "king penguin": animals.king_penguin,
    "coffee mug": things.coffee_mug,
    "traffic light": things.traffic_light,
    "umbrella": things.umbrella,
    "airship": vehicles.airship,
    "acoustic guitar": things.acoustic_guitar,
}


def _ring() -> list[Part]:
    angle = np.linspace(0, 2 * np.pi, 25)
    path = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=-1)
    return [tube(path, 0.35, "paint", 12)]


# Plain solids for the clutter; "panel" is a thin board, "post" a long thin pole.
PROPS: dict[str, Callable[[], list[Part]]] = {
    "ball": lambda: [ellipsoid((1, 1, 1), "paint")],
    "cube": lambda: [box((1, 1, 1), "paint")],
    "can": lambda: [cylinder(0.5, 1.2, "paint", 24)],
    "cone": lambda: [lathe([(0, 0), (0.6, 0), (0, 1.3)], "paint", 24)],
    "ring": _ring,
    "panel": lambda: [box((0.12, 1, 1), "paint")],
    "post": lambda: [cylinder(0.09, 2, "paint", 16)],
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Solid:
    """Triangles of an object inside the unit sphere, everything per face corner.

    corners, normals (F, 3, 3), uv (F, 3, 2) in [0, 1], paint (F,) index into `paints`.
    """

    name: str
    corners: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    paint: np.ndarray
    paints: tuple[str, ...]

    @property
    def bottom(self) -> float:
        """Lowest z of the object."""
        return float(self.corners[..., 2].min())


def solid(name: str | Solid) -> Solid:
    """The object or prop of that name, built once per process; a solid is itself.

    Raises UnknownName where there is none.
    """
    return _built(name) if isinstance(name, str) else name


@cache
def _built(name: str) -> Solid:
    builder = BUILDERS.get(name) or PROPS.get(name)
    if builder is None:
        raise UnknownName("toybox object", name, [*BUILDERS, *PROPS])
    parts = pack(builder())
    corners = np.concatenate([p.vertices[p.faces] for p in parts])  # (F, 3, 3)
    normals = np.concatenate([corner_normals(p.vertices[p.faces]) for p in parts])
    paints = tuple(dict.fromkeys(key for p in parts for key in p.paints))
    return Solid(
        name=name,
        corners=in_unit_sphere(corners),
        normals=normals,
        uv=np.concatenate([p.uv[p.faces] for p in parts]),
        paint=np.array([paints.index(key) for p in parts for key in p.paints]),
        paints=paints,
    )


def in_unit_sphere(corners: np.ndarray) -> np.ndarray:
    """Corners (F, 3, 3) centred and scaled."""
    flat = corners.reshape(-1, 3)
    centre = (flat.min(0) + flat.max(0)) / 2
    return (corners - centre) / np.linalg.norm(flat - centre, axis=1).max()


def corner_normals(corners: np.ndarray, crease: float = 0.75) -> np.ndarray:
    """Normals (F, 3, 3): faces at a point are averaged where they meet by less than a crease.

    `crease` is a cosine: 0.75 is an angle of 41 degrees.
    """
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])  # (F, 3)
    unit = cross / np.linalg.norm(cross, axis=1, keepdims=True)
    face = np.repeat(np.arange(len(corners)), 3)
    _, point = np.unique(corners.reshape(-1, 3).round(6), axis=0, return_inverse=True)
    order = np.argsort(point.ravel(), kind="stable")
    starts = np.flatnonzero(np.diff(point.ravel()[order])) + 1
    normals = np.empty((len(face), 3))
    for group in np.split(order, starts):
        own = unit[face[group]]  # (G, 3)
        near = (own @ own.T > crease).astype(float)
        mean = near @ cross[face[group]]  # weighted by face area
        length = np.linalg.norm(mean, axis=1, keepdims=True)
        normals[group] = np.where(length > 1e-9, mean / np.maximum(length, 1e-9), own)
    return normals.reshape(-1, 3, 3)


def paint_table(name: str | Solid, colours: Mapping[str, Colour] | None) -> np.ndarray:
    """RGB of each paint of the object, (P, 3) in [0, 1]; missing paints keep the default.

    Raises InputError where `colours` names a paint that the object does not have.
    """
    shape = solid(name)
    table = default_colours(shape.name) | dict(colours or {})
    unknown = set(table) - set(shape.paints)
    if unknown:
        raise InputError(
            f"{shape.name!r} has no paint {sorted(unknown)}; its paints are {', '.join(shape.paints)}"
        )
    return np.array([table[key] for key in shape.paints], dtype=float)


def glow_table(name: str | Solid) -> np.ndarray:
    """Least light factor of each paint of the object or prop, (P,) in [0, 1]."""
    shape = solid(name)
    paints = PALETTES.get(shape.name, {})
    return np.array([paints[key].glow if paints else 0.0 for key in shape.paints])


def mesh(name: str, colours: Mapping[str, Colour] | None = None) -> "trimesh.Trimesh":
    """The object as a trimesh: corners are not shared, so that seams and creases stay.

    `colours` replaces paints by name, RGB in [0, 1]. Face colours are in
    `mesh.metadata["face_colours"]` (F, 4) uint8, paint ids in `mesh.metadata["paint"]` (F,) with
    their names in `mesh.metadata["paints"]`; texture coordinates in `mesh.visual.uv` (3F, 2).
    Raises UnknownName, InputError for an unknown paint, MissingExtra without trimesh.
    """
    if name not in CLASS_NAMES:
        raise UnknownName("toybox object", name, CLASS_NAMES)
    trimesh = load_trimesh()
    shape = solid(name)
    table = np.round(255 * paint_table(name, colours)).astype(np.uint8)
    rgba = np.concatenate([table, np.full((len(table), 1), 255, np.uint8)], axis=1)
    count = len(shape.corners)
    return trimesh.Trimesh(
        vertices=shape.corners.reshape(-1, 3),
        faces=np.arange(3 * count).reshape(-1, 3),
        vertex_normals=shape.normals.reshape(-1, 3),
        visual=trimesh.visual.TextureVisuals(uv=shape.uv.reshape(-1, 2)),
        metadata={
            "name": name,
            "solid": shape,
            "face_colours": rgba[shape.paint],
            "paint": shape.paint.copy(),
            "paints": shape.paints,
        },
        process=False,
    )


def load_trimesh() -> ModuleType:
    """The library. Raises MissingExtra where it is not installed."""
    try:
        import trimesh
        import trimesh.visual
    except ImportError as error:
        raise MissingExtra(
            "toybox meshes need trimesh, which is not installed; "
            'install it with: pip install "ostrich-vision[toybox]"'
        ) from error
    return trimesh
