"""The toybox: same index same picture, honest masks, a cache that heals, limits that hold."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.toybox.difficulty import LIMITS, RECORD
from ostrich.data.toyscenes import (
    CLASS_NAMES,
    clip,
    label,
    mesh,
    render,
    render_split,
    scene,
    store,
    test_images,
)
from ostrich.data.toyscenes import sampling as sampler
from ostrich.data.toyscenes.meshes import solid
from ostrich.data.toyscenes.raycast import rays, sizes
from ostrich.data.toyscenes.scenes import Camera
from ostrich.errors import InputError, UnknownName, UnreadableImage
from ostrich.runtime.executors.local import Processes
from ostrich.runtime.files import checksum


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("OSTRICH_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(store, "BLOCK", 10)


def test_same_index_same_image():
    first = render(scene("train", 17)).image
    sampler.scene.cache_clear()
    scene("train", 3)  # another one in between
    assert np.array_equal(first, render(scene("train", 17)).image)
    assert scene("train", 17) != scene("test", 17)


def test_an_image_does_not_depend_on_its_neighbours(folder):
    together, labels = render_split("train", 5, start=8, cache=False)
    alone, label_ = render_split("train", 1, start=10, cache=False)
    assert np.array_equal(together[2], alone[0])
    assert labels[2] == label_[0] == label("train", 10)


@pytest.mark.slow
def test_workers_do_not_change_the_images(folder, small_blocks):
    one, _ = render_split("test", 20, size=16, cache=False)
    # blocks of the workers are those of this process: the spans travel with the work
    two, _ = render_split("test", 20, size=16, cache=False, workers=2)
    assert np.array_equal(one, two)


@pytest.mark.slow
def test_workers_do_not_run_a_users_script_again(tmp_path):
    lines = (
        "from ostrich.data.toyscenes import render_split",
        "print('once', render_split('test', 101, size=4, cache=False, workers=2)[0].shape)",
    )
    (tmp_path / "script.py").write_text("\n".join(lines))
    words = [sys.executable, tmp_path / "script.py"]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert done.stdout == "once (101, 4, 4, 3)\n"


@pytest.mark.slow
def test_what_a_worker_raises_is_raised_here():
    with pytest.raises(InputError, match="at least 1 pixel"):
        list(Processes(1).map(sizes, [(0, 3)]))


@given(st.integers(0, 10**6))
@settings(max_examples=50)
def test_every_ten_labels_hold_each_class_once(block):
    labels = [label("train", 10 * block + k) for k in range(10)]
    assert sorted(labels) == list(range(10))


def test_at_least_40_percent_is_visible():
    for index in range(40):
        seen = render(scene("train", index))
        assert not (seen.mask & ~seen.unoccluded).any()
        assert seen.mask.sum() >= 0.4 * seen.unoccluded.sum()
        rows, columns = np.nonzero(seen.unoccluded)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 >= 20  # pixels across


def test_mask_is_where_the_image_changes_with_the_objects_colour():
    for index in range(5):
        before = scene("train", index)
        black = tuple((key, (0.0, 0.0, 0.0)) for key, _ in before.subject.colours)
        after = replace(before, subject=replace(before.subject, colours=black))
        one, two = render(before, samples=1), render(after, samples=1)
        changed = (one.image != two.image).any(axis=2)
        assert not (changed & ~one.mask).any()
        assert changed.sum() > 0.8 * one.mask.sum()  # what was black before stays black
        assert np.array_equal(np.isfinite(one.uv[..., 0]), one.mask)
        assert np.array_equal(np.isfinite(one.light), one.mask)


def test_the_mask_is_the_projected_mesh():
    """An independent check: every triangle of the object falls inside the unoccluded mask."""
    for index in range(5):
        drawn = scene("train", index)
        thing = drawn.subject
        world = solid(thing.solid).corners.mean(axis=1) @ thing.matrix.T + thing.position
        column, row, depth = drawn.camera.project(world, 64, 64).T
        seen = render(drawn, samples=1)
        inside = seen.unoccluded.copy()  # a triangle may fall between rays: allow one pixel
        for axis in (0, 1):
            inside |= np.roll(inside, 1, axis) | np.roll(inside, -1, axis)
        assert inside[row.astype(int), column.astype(int)].mean() > 0.98
        assert seen.depth[seen.mask].min() >= depth.min() - 0.2
        assert seen.depth[seen.mask].max() <= depth.max() + 0.2


def test_projection_and_rays_agree():
    camera = Camera(eye=(3.0, 1.0, 2.0), aim=(0.0, 0.2, 0.5), field=0.8, roll=0.3)
    points = np.asarray(camera.eye) + 2.5 * rays(camera, 8, 12, 1)  # (8, 12, 3)
    column, row, depth = np.moveaxis(camera.project(points, 8, 12), -1, 0)
    assert np.allclose(column, np.arange(12)[None] + 0.5)
    assert np.allclose(row, np.arange(8)[:, None] + 0.5)
    assert np.allclose(depth, 2.5)


def test_any_size():
    wide = render(scene("test", 0), size=(24, 40))
    assert wide.image.shape == (24, 40, 3)
    assert wide.image.dtype == np.uint8
    assert wide.mask.shape == wide.depth.shape == (24, 40)
    square = render(scene("test", 0), size=24)
    assert np.abs(wide.image[:, 8:32].astype(int) - square.image).max() <= 1  # sees more aside
    with pytest.raises(InputError, match="at least 1 pixel"):
        render(scene("test", 0), size=0)


def test_a_texture_replaces_the_paint():
    chart = np.zeros((8, 8, 3), np.uint8)
    drawn = scene("train", 2)
    plain, painted = render(drawn, samples=1), render(drawn, samples=1, texture=chart)
    assert painted.image[painted.mask].mean() < plain.image[plain.mask].mean()
    assert np.array_equal(painted.image[~plain.mask], plain.image[~plain.mask])


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_meshes_have_texture_coordinates_and_paints(name):
    made = mesh(name)
    assert made.visual.uv.shape == (3 * len(made.faces), 2)
    assert made.visual.uv.min() >= 0
    assert made.visual.uv.max() <= 1
    assert np.linalg.norm(made.vertices, axis=1).max() == pytest.approx(1)
    assert made.metadata["face_colours"].shape == (len(made.faces), 4)
    assert len(np.unique(made.metadata["paint"])) == len(made.metadata["paints"])
    assert np.allclose(np.linalg.norm(solid(name).normals, axis=-1), 1)


def test_colours_of_a_mesh():
    red = mesh("coffee mug", {"cup": (1, 0, 0)}).metadata
    cup = red["paint"] == red["paints"].index("cup")
    assert (red["face_colours"][cup] == (255, 0, 0, 255)).all()
    with pytest.raises(InputError, match="no paint"):
        mesh("coffee mug", {"sail": (1, 0, 0)})
    with pytest.raises(UnknownName, match="school bus"):
        mesh("school buss")


def test_clip_moves_the_object_over_a_still_background():
    drawn = scene("train", 4)
    start = replace(drawn, light=replace(drawn.light, strength=0.0, gloss=0.0))  # no shadows
    frames = [render(frame, samples=1) for frame in clip(start, 4)]
    assert clip(start, 4) == clip(start, 4)
    assert clip(start, 4)[0] == start
    assert (frames[0].mask != frames[-1].mask).any()
    for frame in frames[1:]:
        still = ~(frames[0].mask | frame.mask)
        assert np.array_equal(frame.image[still], frames[0].image[still])
    assert all(f.mask.sum() >= 0.4 * f.unoccluded.sum() for f in frames)
    with pytest.raises(InputError, match="at least 1 frame"):
        clip(start, 0)


def test_cache_is_read_and_a_corrupt_one_rendered_again(folder, small_blocks):
    first, _ = render_split("train", 12, size=16)
    (file, _) = files = sorted(folder.rglob("*.npy"))
    assert len(files) == 2
    assert not list(folder.rglob("*.part"))
    kept = file.stat().st_mtime_ns
    assert np.array_equal(render_split("train", 5, size=16, start=2)[0], first[2:7])
    assert file.stat().st_mtime_ns == kept
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    assert np.array_equal(render_split("train", 12, size=16)[0], first)
    assert checksum(file) == file.with_suffix(".sha256").read_text().strip()


def test_committed_images():
    stored = test_images()
    assert stored.images.shape == (512, 64, 64, 3)
    assert stored.images.dtype == np.uint8
    assert stored.masks.shape == stored.unoccluded.shape == (512, 64, 64)
    counts = np.bincount(stored.labels, minlength=10)
    assert counts.max() - counts.min() <= 1
    assert [label("test", i) for i in range(512)] == stored.labels.tolist()
    assert (stored.masks.sum((1, 2)) >= 0.4 * stored.unoccluded.sum((1, 2))).all()
    files = list(store.HERE.glob("test-512.*"))
    assert sum(p.stat().st_size for p in files) < 3.5e6  # bytes
    with pytest.raises(InputError, match="512 test images"):
        test_images(limit=513)


def test_committed_images_are_what_is_rendered_now():
    """Fails when the scenes change: render the files again and raise `store.VERSION`."""
    stored = test_images(limit=10)
    for index in range(10):
        now = render(scene("test", index))
        assert np.abs(now.image.astype(int) - stored.images[index]).mean() < 0.5  # grey levels
        assert (now.mask != stored.masks[index]).mean() < 0.002


def test_a_damaged_test_file_is_refused(tmp_path, monkeypatch):
    for file in store.HERE.glob("test-512.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "test-512.npz").write_bytes(b"not an archive")
    monkeypatch.setattr(store, "HERE", tmp_path)
    with pytest.raises(UnreadableImage, match=r"test-512\.npz is damaged"):
        test_images()


def test_unknown_splits_and_negative_numbers():
    with pytest.raises(UnknownName, match="train"):
        scene("trian", 0)
    with pytest.raises(InputError, match="start at 0"):
        scene("train", -1)


def test_recorded_difficulty_is_within_the_limits():
    record = json.loads(RECORD.read_text())
    assert record["version"] == store.VERSION
    assert record["n_train"] >= 10_000
    assert record["n_test"] == 512
    for name, limit in LIMITS.items():
        assert record["figures"][name] <= limit, name
    stored = test_images()
    centre = stored.masks[:, 32, 32].mean()
    assert record["figures"]["centre_on_object"] == pytest.approx(centre, abs=1e-4)
