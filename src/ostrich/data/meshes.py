"""Textured meshes: the toybox's objects and anyone's files, and their views as a data set.

mesh:toybox/NAME      an object of the toybox, its own colours baked into a texture
mesh:FILE             a file that trimesh reads (GLB, OBJ, ...), with texture coordinates

A file's up is y, as glTF defines it and OBJ has it by custom; in PLY, STL and OFF files it is z. An
object stands on the ground; view i of it is always the same (`toyscenes.sampling.view`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ostrich.data.dataset import Dataset
from ostrich.data.mesh_views import Views
from ostrich.data.toyscenes.meshes import (
    CLASS_NAMES,
    Solid,
    corner_normals,
    in_unit_sphere,
    load_trimesh,
)
from ostrich.data.toyscenes.meshes import mesh as toybox_mesh
from ostrich.data.toyscenes.sampling import view
from ostrich.data.toyscenes.views import bake, look, standing, turntable
from ostrich.errors import InputError, UnknownName
from ostrich.images import as_rgb, from_bytes
from ostrich.runtime.files import write_bytes

VIEWS = 10_000  # of a mesh, of which a command takes --limit
TEXELS = 256  # of a side of a baked texture
FEWEST, MOST = 256, 512  # texels of the longer side of a file's texture, to which it is resized
Z_UP = (".ply", ".stl", ".off")
UNWRAP = (
    "Unwrap it, in Blender by UV > Smart UV Project, or with `pip install trimesh xatlas` by "
    "trimesh.load_mesh(FILE).unwrap(), and export it as GLB or OBJ."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Mesh:
    """A mesh and its texture (T, T', 3) uint8, row 0 at v = 1.

    `solid` is what rays meet: inside the unit sphere, z up. `vertices` (V, 3), `faces` (F, 3) and `uv`
    (V, 2) are as in its file; `class_name` what it is, where that is known.
    """

    name: str
    solid: Solid
    texture: np.ndarray
    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    class_name: str | None = None

    @property
    def digest(self) -> str:
        """A checksum of shape, texture coordinates and texture, 16 hexadecimal digits."""
        parts = (self.solid.corners.astype(np.float32), self.solid.uv.astype(np.float32), self.texture)
        content = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
        return hashlib.sha256(content).hexdigest()[:16]

    def write(self, path: Path, texture: np.ndarray) -> None:
        """Write it with another texture (T, T', 3) uint8 as GLB, whole or not at all."""
        trimesh = load_trimesh()
        material = trimesh.visual.material.PBRMaterial(
            baseColorTexture=Image.fromarray(texture), metallicFactor=0.0, roughnessFactor=1.0
        )
        painted = trimesh.Trimesh(
            vertices=self.vertices,
            faces=self.faces,
            visual=trimesh.visual.TextureVisuals(uv=self.uv, material=material),
            process=False,
        )
        write_bytes(path, painted.export(file_type="glb"))


def open_mesh(word: str) -> Mesh:
    """The mesh `toybox/NAME`, or that of a file.

    Raises UnknownName, InputError for a file that is none, is empty or has no texture coordinates,
    MissingExtra without trimesh.
    """
    kind, _, name = word.partition("/")
    if kind == "toybox" and not Path(word).exists():
        return toybox(name)
    return read_mesh(Path(word))


@cache
def toybox(name: str) -> Mesh:
    """An object of the toybox with a baked texture, y up."""
    if name not in CLASS_NAMES:
        raise UnknownName("toybox object", name, CLASS_NAMES)
    made: Any = toybox_mesh(name)
    x, y, z = np.asarray(made.vertices).T
    return Mesh(
        name=f"toybox/{name}",
        solid=made.metadata["solid"],
        texture=bake(name, TEXELS),
        vertices=np.stack([x, z, -y], 1),
        faces=np.asarray(made.faces),
        uv=np.asarray(made.visual.uv),
        class_name=name,
    )


def read_mesh(path: Path) -> Mesh:
    """A file's meshes as one, their textures side by side in one."""
    if not path.is_file():
        raise InputError(f"There is no mesh file {str(path)!r}; data is mesh:FILE or mesh:toybox/NAME.")
    trimesh = load_trimesh()
    try:
        scene = trimesh.load_scene(str(path))
        parts = [part for part in scene.geometry.values() if isinstance(part, trimesh.Trimesh)]
        bare = any(len(part.faces) and _uv(part) is None for part in parts)
        whole = scene.to_mesh()
    except Exception as error:  # a reader of files raises whatever it meets
        raise InputError(
            f"{str(path)!r} cannot be read as a mesh ({error or type(error).__name__})."
        ) from None
    vertices, faces = np.asarray(whole.vertices, dtype=float), np.asarray(whole.faces)
    if len(faces) and np.isfinite(vertices).all():
        a, b, c = vertices[faces].swapaxes(0, 1)
        area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
        faces = faces[area > 1e-12 * np.ptp(vertices, 0).max() ** 2]
    if not len(faces) or not np.isfinite(vertices).all():
        raise InputError(f"{str(path)!r} is an empty mesh: it has no triangle with an area. Export it anew.")
    uv = _uv(whole)
    if bare or uv is None or not np.isfinite(uv).all():
        raise InputError(
            f"{str(path)!r} has no texture coordinates, so there is nothing to paint on. {UNWRAP}"
        )
    x, y, z = vertices.T
    upright = vertices if path.suffix.lower() in Z_UP else np.stack([x, -z, y], 1)
    corners = in_unit_sphere(upright[faces])
    shape = Solid(
        name=str(path),
        corners=corners,
        normals=corner_normals(corners),
        uv=uv[faces],
        paint=np.zeros(len(faces), dtype=int),
        paints=("paint",),
    )
    texture = _texture(whole.visual.material)
    return Mesh(name=path.name, solid=shape, texture=texture, vertices=vertices, faces=faces, uv=uv)


def views_of(mesh: Mesh, numbers: Sequence[int], size: tuple[int, int], channels: int) -> Views:
    """Views of a mesh by their numbers, for images of that size. Raises MissingExtra without embreex."""
    thing = standing(mesh.solid)
    return Views(
        mesh=mesh,
        texture=from_bytes(mesh.texture),
        looks=[look(view(thing, number), size) for number in numbers],
        numbers=tuple(numbers),
        size=size,
        channels=channels,
    )


def turning(views: Views, frames: int) -> Views:
    """The mesh of some views as it turns once about its axis, in front of nothing."""
    scenes = turntable(standing(views.mesh.solid), frames)
    return replace(views, looks=[look(scene, views.size) for scene in scenes], numbers=tuple(range(frames)))


def dataset(word: str) -> Dataset:
    """The views of a mesh, at any size."""
    mesh = open_mesh(word)
    digest = mesh.digest
    return Dataset(
        name=f"mesh:{mesh.name}",
        files=[f"view/{i:05d}" for i in range(VIEWS)],
        read=lambda i: _picture(mesh, i),
        content=lambda i: f"{digest}/{i}".encode(),
        labels=None if mesh.class_name is None else [0] * VIEWS,
        class_names=None if mesh.class_name is None else (mesh.class_name,),
        size=(64, 64),
        views=lambda numbers, size, channels: views_of(mesh, numbers, size, channels),
    )


def _picture(mesh: Mesh, number: int) -> Image.Image:
    from ostrich.images import picture

    return picture(views_of(mesh, [number], (64, 64), 3).untouched[0])


def _uv(part: Any) -> np.ndarray | None:
    """Texture coordinates (V, 2), where there are some for every vertex."""
    uv = getattr(part.visual, "uv", None)
    return None if uv is None or len(uv) != len(part.vertices) else np.asarray(uv, dtype=float)


def _texture(material: Any) -> np.ndarray:
    """A material's picture, or its one colour, of FEWEST to MOST texels."""
    picture = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if picture is None:
        picture = Image.new("RGB", (1, 1), tuple(int(level) for level in material.main_color[:3]))
    picture = as_rgb(picture)
    longer = max(picture.size)
    scale = min(max(longer, FEWEST), MOST) / longer
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))
