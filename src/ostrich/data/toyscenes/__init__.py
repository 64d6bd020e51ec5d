"""The toybox: ten small 3D objects in cluttered scenes, rendered by rays.

    parts -> vehicles, animals, things, palettes -> meshes      the ten objects
    scenes -> sampling                                          which scene is image i
    structure -> raycast, shade                                 its picture
    clips                                                       the object in motion
    store                                                       the committed test images, the cache

Only rendering needs embreex, and only `mesh` needs trimesh.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from .class_names import CLASS_NAMES
    from .clips import Clip, clip, render_clip, toybox_clip
    from .meshes import mesh
    from .rendering import Render, render
    from .sampling import SPLITS, label, scene
    from .scenes import Scene
    from .store import Stored, render_clips, render_split, test_images

__all__ = [
    "CLASS_NAMES",
    "SPLITS",
    "Clip",
    "Render",
    "Scene",
    "Stored",
    "clip",
    "label",
    "mesh",
    "render",
    "render_clip",
    "render_clips",
    "render_split",
    "scene",
    "test_images",
    "toybox_clip",
]

# The committed pictures do not wait for the renderer.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "clips": ["Clip", "clip", "render_clip", "toybox_clip"],
        "class_names": ["CLASS_NAMES"],
        "meshes": ["mesh"],
        "rendering": ["Render", "render"],
        "sampling": ["SPLITS", "label", "scene"],
        "scenes": ["Scene"],
        "store": ["Stored", "render_clips", "render_split", "test_images"],
    },
)
