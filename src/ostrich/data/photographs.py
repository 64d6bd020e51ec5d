"""`photographs`: the photographs that scikit-image and scikit-learn carry, without labels."""

from __future__ import annotations

from pathlib import Path

from ostrich.data.dataset import Dataset
from ostrich.data.pictures import open_image
from ostrich.runtime.package_files import package_file

FILES = {  # what they show, the library's folder and the file
    "cat": ("skimage.data", "chelsea.png"),
    "coffee": ("skimage.data", "coffee.png"),
    "astronaut": ("skimage.data", "astronaut.png"),
    "rocket": ("skimage.data", "rocket.jpg"),
    "camera": ("skimage.data", "camera.png"),
    "motorcycle": ("skimage.data", "motorcycle_left.png"),
    "flower": ("sklearn.datasets", "images/flower.jpg"),
    "china": ("sklearn.datasets", "images/china.jpg"),
}


def photographs() -> Dataset:
    """Eight photographs of different sizes: animals, things, a person and a place."""
    return Dataset(
        name="photographs",
        files=list(FILES),
        read=lambda i: open_image(_path(i)),
        content=lambda i: _path(i).read_bytes(),
    )


def _path(i: int) -> Path:
    package, file = list(FILES.values())[i]
    found = package_file(package, file)
    assert found is not None  # both libraries are dependencies
    return found
