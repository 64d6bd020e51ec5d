"""Render the committed test images anew: `python -m benchmarks.toybox.committed_images`.

Needed only after a change to the scenes, together with a higher `toyscenes.store.VERSION` and a new run of
`difficulty`; writes the three files that `toyscenes.store.test_images` reads.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from ostrich.data.toyscenes.meshes import CLASS_NAMES
from ostrich.data.toyscenes.rendering import render
from ostrich.data.toyscenes.sampling import label, scene
from ostrich.data.toyscenes.store import HERE, TILES, VERSION, digest


def write_test_file(folder: Path = HERE) -> None:
    """Render the 512 test images and write the three files `test_images` reads."""
    rows, columns = TILES
    seen = [render(scene("test", i)) for i in range(rows * columns)]
    tiles = np.stack([r.image for r in seen]).reshape(rows, columns, 64, 64, 3)
    sheet = tiles.swapaxes(1, 2).reshape(rows * 64, columns * 64, 3)
    Image.fromarray(sheet).save(folder / "test-512.webp", lossless=True, quality=100, method=6)
    masks, alone = (
        np.packbits(np.stack(grids).reshape(len(seen), -1), axis=1)
        for grids in ([r.mask for r in seen], [r.unoccluded for r in seen])
    )
    labels = np.array([label("test", i) for i in range(len(seen))], dtype=np.uint8)
    np.savez_compressed(folder / "test-512.npz", labels=labels, masks=masks, unoccluded=alone)
    record = {
        "n": len(seen),
        "size": 64,
        "version": VERSION,
        "classes": CLASS_NAMES,
        "sha256": {name: digest(folder / name) for name in ("test-512.webp", "test-512.npz")},
    }
    (folder / "test-512.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    write_test_file()
