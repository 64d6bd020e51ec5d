"""Clips as data and in files, and the video GAN: what its streams are, its training, its commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from scipy.ndimage import binary_dilation
from torch import Tensor

from ostrich.cli.main import run as ostrich
from ostrich.data import toyscenes
from ostrich.data.dataset import Samples
from ostrich.data.toyscenes.clips import clip, clip_scene, render_clip
from ostrich.data.toyscenes.rendering import render
from ostrich.data.toyscenes.scenes import Light
from ostrich.data.training_data import open_split
from ostrich.figures.clips import film, frames, sheet, stills, video_frames, write_clip
from ostrich.generative import training
from ostrich.generative.architectures import build_gan
from ostrich.generative.codes import Codes
from ostrich.generative.evaluation import evaluate
from ostrich.generative.features import features, features_of_frames
from ostrich.generative.generator import Generator, load_generator
from ostrich.generative.motion import motion, one_object, seen, unmasked
from ostrich.generative.projected import project
from ostrich.generative.recipe import RECIPES, GeneratorRecipe
from ostrich.generative.training import CODE, optimisers, train_gan, train_step
from ostrich.generative.video_gan import Path as Path2D
from ostrich.generative.video_gan import VideoGenerator, composed
from ostrich.images import rounded, write_png
from ostrich.models import load
from ostrich.runtime.randomness import keyed

TINY = "video,size=8,width=0.06,code=6"  # 4 frames
SHAPE = (3, 4, 8, 8)
RECIPE = GeneratorRecipe(
    name="test",
    architecture=TINY,
    data="none",
    steps=6,
    batch_size=4,
    average=0.9,
    watch_every=3,
    precision="exact",
)


def random_clips(count: int, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


# The network -----------------------------------------------------------------------------------


def test_published_form_has_published_shapes():
    """main.lua of the authors: channels, kernels and the 2x4x4 start, counted by hand."""
    game = build_gan("video")
    assert game.shape == (3, 32, 64, 64)
    assert (game.codes.kind, game.codes.length) == ("normal", 100)

    def count(*layers: tuple[int, int, int], extra: int) -> int:
        return sum(a * b * kernel + b for a, b, kernel in layers) + extra

    norms = 2 * (512 + 256 + 128 + 64)
    wide = [(512, 256), (256, 128), (128, 64)]
    moving = count((100, 512, 2 * 16), *[(a, b, 64) for a, b in wide], (64, 3, 64), (64, 1, 64), extra=norms)
    still = count((100, 512, 16), *[(a, b, 16) for a, b in wide], (64, 3, 16), extra=norms)
    assert sum(p.numel() for p in game.generator.parameters()) == moving + still
    layers = [(3, 64, 64), (64, 128, 64), (128, 256, 64), (256, 512, 64), (512, 1, 32)]
    judged = count(*layers, extra=2 * (128 + 256 + 512))
    assert sum(p.numel() for p in game.discriminator.parameters()) == judged
    with torch.no_grad():
        clips = game.eval().generator(torch.zeros(1, 100))
        assert clips.shape == (1, 3, 32, 64, 64)
        assert game.discriminator(clips).shape == (1,)


def test_published_start_and_settings():
    torch.manual_seed(0)
    game = build_gan("video,size=32")
    assert game.shape == (3, 16, 32, 32)
    for name, parameter in game.named_parameters():
        if parameter.ndim > 1:
            assert parameter.std().item() == pytest.approx(0.01, rel=0.03), name
        elif name.endswith("bias"):
            assert not parameter.any(), name
        else:
            assert parameter.mean().item() == pytest.approx(1, abs=0.01), name
    recipe = RECIPES["video"]
    assert (recipe.generator_rate, recipe.momentum, recipe.batch_size) == (2e-4, 0.5, 64)
    assert (recipe.objective, recipe.architecture) == ("non-saturating", "video")
    assert game.generator.sparsity == 0.1


def test_frames_are_the_background_where_the_mask_is_0():
    torch.manual_seed(0)
    network = build_gan(TINY).generator.eval()
    assert isinstance(network, VideoGenerator)
    codes = torch.randn(5, 6)
    foreground, mask, background = network.streams(codes)
    clips = network(codes)
    assert clips.shape == (5, *SHAPE)
    assert torch.equal(clips, mask * foreground + (1 - mask) * background)
    assert 0 < mask.min() < mask.max() < 1
    assert unmasked(foreground, mask, background) == 0
    with torch.no_grad():
        network.mask.weight.zero_()
        network.mask.bias.fill_(-1e4)  # sigmoid gives exactly 0
    frozen = network(codes)
    assert all(torch.equal(frozen[:, :, t], background[:, :, 0]) for t in range(4))
    assert torch.equal(composed(foreground, mask.new_ones(mask.shape), background), foreground)


def test_the_background_knows_no_class():
    torch.manual_seed(0)
    network = build_gan(f"{TINY},classes=3").generator.eval()
    codes = torch.randn(1, 6).expand(3, 6)
    foreground, mask, background = network.streams(codes, torch.arange(3))
    torch.testing.assert_close(background, background[:1].expand_as(background))
    for part in (foreground, mask):
        assert not torch.allclose(part[0], part[1])


def test_a_foreground_on_a_path_is_one_picture_that_stands_where_the_path_does():
    torch.manual_seed(0)
    network = build_gan(f"{TINY},path=true,classes=3").generator.eval()
    codes, classes = torch.randn(2, 6), torch.tensor([0, 2])
    assert network(codes, classes).shape == (2, *SHAPE)
    with torch.no_grad():
        for parameter in network.path.parameters():
            parameter.zero_()
        foreground, mask, background = network.streams(codes, classes)
    for part in (foreground, mask):
        torch.testing.assert_close(part, part[:, :, :1].expand_as(part))
    assert not torch.equal(foreground[0], foreground[1])
    assert 0 < mask.max() < 0.2  # faint at first
    assert mask[..., 0].max() < mask[..., 4, 4].min() / 10  # and nothing at the border
    assert unmasked(foreground, mask, background) == 0
    network(codes, classes).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize(
    ("what", "power", "value", "expected"),
    [
        (0, 0, 0.5, lambda picture: [picture.roll(4, -1)] * 3),  # a quarter of the picture to the right
        (1, 1, 0.5, lambda picture: [picture.roll(-4, -2), picture, picture.roll(4, -2)]),
        (3, 0, np.pi / 2, lambda picture: [picture.rot90(1, (-2, -1))] * 3),
        (3, 2, np.pi, lambda picture: [picture.rot90(2, (-2, -1)), picture, picture.rot90(2, (-2, -1))]),
    ],
    ids=["right", "down with time", "turned anticlockwise", "turned with time squared"],
)
def test_a_path_moves_and_turns_by_polynomials_in_time(what, power, value, expected):
    path = Path2D(6, 3)
    with torch.no_grad():
        for parameter in path.parameters():
            parameter.zero_()
        path.layers[-1].bias.view(4, 3)[what, power] = value
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 5:9, 6:11] = torch.rand(4, 5, generator=torch.Generator().manual_seed(0)) / 2 + 0.5
    colour = torch.tensor([0.5, -1.0, 0.25])[None, :, None, None].expand(1, 3, 16, 16)
    foreground, moved = path(torch.zeros(1, 6), colour, mask)
    for t, one in enumerate(expected(mask * path.window(16, 16))):
        torch.testing.assert_close(moved[:, :, t], one, atol=1e-5, rtol=1e-4)
        inside = one[0, 0] > 0.1
        torch.testing.assert_close(foreground[0, :, t][:, inside], colour[0][:, inside])


@pytest.mark.parametrize(("growth", "side", "times"), [(-50, 16, np.e**-2), (0, 16, 1), (50, 4, np.e**2)])
def test_a_path_enlarges_within_bounds(growth, side, times):
    path, mask = Path2D(6, 1), torch.zeros(1, 1, 32, 32)
    mask[..., 16 - side // 2 : 16 + side // 2, 16 - side // 2 : 16 + side // 2] = 1
    with torch.no_grad():
        for parameter in path.parameters():
            parameter.zero_()
        path.layers[-1].bias.view(4, 3)[2, 0] = growth
    area = path(torch.zeros(1, 6), mask, mask)[1].sum().item()
    assert area == pytest.approx(side**2 * times, rel=0.15)


def slope_of_the_mask(spec: str, micro_batch: int, clips: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of the mask's bias in one step of training, and that of the mean mask before it."""
    torch.manual_seed(0)
    gan = build_gan(spec).double().train()
    recipe = replace(RECIPE, micro_batch=micro_batch)
    codes = gan.codes.draw(4, keyed(recipe.seed, CODE, 0)).double()
    gan.generator.streams(codes)[1].mean().backward()
    mean = gan.generator.mask.bias.grad.clone()
    train_step(gan, recipe, clips, None, 0, *optimisers(gan, recipe))
    return gan.generator.mask.bias.grad, mean


def in_double(monkeypatch: pytest.MonkeyPatch, drawn: Callable[[Codes, int], Tensor]) -> None:
    """Let training draw codes and read clips in float64."""
    read = training.real_batch
    monkeypatch.setattr(Codes, "draw", lambda codes, count, draw: drawn(codes, count))
    monkeypatch.setattr(training, "real_batch", lambda *given: (read(*given)[0].double(), None))


def test_the_mask_is_drawn_to_0_by_l1(monkeypatch):
    """A lambda of 0.3 adds 0.3 mean |mask| to the generator's loss, and nothing else."""
    in_double(monkeypatch, lambda codes, count: torch.randn(count, 6, generator=keyed(1)).double())
    clips = (random_clips(4) * 255).byte()
    with_it, mean = slope_of_the_mask(f"{TINY},sparsity=0.3", 4, clips)
    without, _ = slope_of_the_mask(f"{TINY},sparsity=0", 4, clips)
    torch.testing.assert_close(with_it - without, 0.3 * mean, rtol=1e-6, atol=1e-12)
    assert mean.abs() > 1e-3
    generator = build_gan(f"{TINY},sparsity=0.3").generator.eval()
    codes = torch.randn(4, 6, generator=keyed(2))
    clips, sparse = generator.with_sparsity(codes)
    assert torch.equal(clips, generator(codes))
    assert torch.allclose(sparse, 0.3 * generator.streams(codes)[1].abs().mean())


@pytest.mark.parametrize("micro_batch", [2, 1])
def test_sparsity_does_not_depend_on_the_micro_batches(monkeypatch, micro_batch):
    in_double(monkeypatch, lambda codes, count: torch.ones(count, 6).double())  # batch norm sees one clip
    clips = (random_clips(1) * 255).byte().expand(4, -1, -1, -1, -1)
    whole, _ = slope_of_the_mask(f"{TINY},sparsity=1", 4, clips)
    parts, _ = slope_of_the_mask(f"{TINY},sparsity=1", micro_batch, clips)
    torch.testing.assert_close(parts, whole, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    "spec", ["video,size=24", "video,size=4", "video,width=0", "video,sparsity=-1", "video,classes=0"]
)
def test_impossible_forms_are_refused(spec, capsys, tmp_path):
    words = ["generate", "train", "video", "--out", str(tmp_path / "out"), "--set"]
    assert ostrich([*words, f"architecture={spec}"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_what_moves_in_bundled_clips_lies_inside_the_mask():
    generator = load_generator("zoo:toybox-video")
    codes, classes = generator.codes.numbered(range(32), 0), generator.in_turn(range(32), None)
    found = motion(rounded(generator(codes, classes)), generator.streams(codes, classes)[1])
    assert found.ratio >= 5
    assert 0.02 < found.share_inside < 0.3  # of real clips 0.12: the mask is neither nothing nor everything
    assert unmasked(*generator.streams(codes, classes)) == 0


@pytest.mark.slow
def test_bundled_clips_convince_by_the_rule():
    """Half as many frames are recognised as of real clips, at least; one object is seen in 80 % of clips."""
    generator, judge = load_generator("zoo:toybox-video"), load("zoo:toybox-plain14", device="cpu")
    clips, classes = generator.sample(range(60), seed=1)
    clips = rounded(clips)
    codes = generator.codes.numbered(range(60), 1)
    _, masks, background = generator.streams(codes, classes)
    real, _ = drawn_clips(60)
    labels = torch.tensor([toyscenes.label("test", i) for i in range(60)])
    shares = [
        (features_of_frames(judge, some)[1].argmax(2) == asked[:, None]).float().mean()
        for some, asked in ((clips, classes), (real, labels))
    ]
    assert shares[0] >= shares[1] / 2
    assert one_object(clips, seen(clips, masks, background)).float().mean() >= 0.8


def drawn_clips(count: int) -> tuple[Tensor, Tensor]:
    """Real clips (N, C, T, H, W) in [0, 1] of 16 frames at 32 pixels, and their masks (N, T, H, W)."""
    made = [toyscenes.toybox_clip("test", i, 16, 32) for i in range(count)]
    clips = torch.stack([torch.from_numpy(one.frames) for one in made]).movedim(-1, 1) / 255
    return clips, torch.stack([torch.from_numpy(one.masks) for one in made])


@pytest.mark.slow
def test_one_object_is_told_from_many():
    clips, masks = drawn_clips(24)
    assert one_object(clips, masks).float().mean() >= 0.95
    mixed = torch.stack(
        [torch.roll(clips, t, 0)[:, :, t] for t in range(16)], 2
    )  # each frame of another clip
    mixed_masks = torch.stack([torch.roll(masks, t, 0)[:, t] for t in range(16)], 1)
    assert not one_object(mixed, mixed_masks).any()
    jumping = torch.where(torch.arange(16) % 2 == 0, 1.0, 0.0)[None, None, :, None, None] * clips
    assert one_object(jumping, masks).float().mean() <= 0.1  # its colour flickers to black
    assert not one_object(clips, torch.zeros_like(masks)).any()
    assert not one_object(clips, torch.ones_like(masks)).any()  # all of the picture is no object
    halves = masks.clone()
    halves[..., 15:17] = False  # a gap through the middle of the picture
    assert one_object(clips, halves).sum() <= one_object(clips, masks).sum() / 2


def test_what_is_seen_is_inside_the_mask_and_unlike_the_background():
    clips = torch.zeros(1, 3, 2, 2, 2)
    clips[0, 1, :, 0] = 0.5
    masks = torch.ones(1, 1, 2, 2, 2)
    masks[0, 0, 1] = 0.4
    found = seen(clips, masks, torch.zeros(1, 3, 1, 2, 2))
    assert found[0].tolist() == [[[True, True], [False, False]], [[False, False], [False, False]]]


# The loop --------------------------------------------------------------------------------------


def test_clips_are_judged_in_motion_and_by_one_frame_each():
    """Half of the logits do not change where frames are put in another order, if all frames are alike; the
    other half is one number of the discriminator of motion."""
    torch.manual_seed(0)
    judge = load("zoo:toybox-resnet20", device="cpu")
    gan = project(build_gan(f"{TINY},classes=10"), judge, 4, guided=True).eval()
    clips, classes = random_clips(3) * 2 - 1, torch.tensor([0, 5, 9])
    with torch.no_grad():
        logits = gan.discriminator(clips, classes)
        motion_alone = gan.discriminator.motion(clips)
        of_frame, of_motion = logits.chunk(2, 1)
        assert torch.equal(of_motion, motion_alone[:, None].expand_as(of_frame))
        stills = clips[:, :, :1].expand_as(clips)
        of_stills = gan.discriminator(stills, classes).chunk(2, 1)[0]
        torch.testing.assert_close(of_stills, gan.discriminator.images(stills[:, :, 0], classes))
    generated = gan.generator(torch.randn(3, 6), classes)
    gan.discriminator.guidance(generated, classes).backward()
    assert gan.generator.embedding.weight.grad[classes].abs().sum() > 0


def test_who_guides_tells_the_classes_that_are_asked_for(tmp_path, capsys):
    words = ["generate", "train", "video", "--out", str(tmp_path / "o"), "--set", f"architecture={TINY}"]
    assert ostrich([*words, "--set", "projected=zoo:toybox-resnet20", "--set", "guidance=1"]) == 2
    assert "cannot guide a generator of no classes" in capsys.readouterr().err


def test_n_plus_n_steps_are_2n_bit_for_bit(tmp_path):
    pixels = (random_clips(9) * 255).to(torch.uint8)

    def started() -> tuple[torch.nn.Module, Path]:
        torch.manual_seed(0)
        return build_gan(TINY), tmp_path / "checkpoint.pt"

    whole, path = started()
    best = train_gan(whole, RECIPE, pixels)
    for stop in (3, None):
        torch.rand(3)
        part, _ = started()
        kept = train_gan(part, RECIPE, pixels, checkpoint=path, stop_after=stop)
    for a, b in ((whole, part), (best, kept)):
        for name, value in a.state_dict().items():
            assert torch.equal(value, b.state_dict()[name]), name


def test_the_gradient_penalty_takes_clips():
    torch.manual_seed(0)
    recipe = replace(RECIPE, objective="wgan-gp", steps=1, watch_every=1)
    rows = []
    train_gan(
        build_gan(TINY),
        recipe,
        (random_clips(4) * 255).to(torch.uint8),
        watch=lambda step, network, row: rows.append(row) or {},
    )
    assert np.isfinite(rows[0]["discriminator_loss"])
    assert rows[0]["discriminator_loss"] > 1  # ten times a slope that is far from 1 at the start


def test_features_of_a_clip_are_its_frames_mean_and_change():
    network = load("zoo:toybox-resnet20", device="cpu")
    clips = random_clips(3)
    found, logits = features(network, clips)
    each = [features(network, clips[:, :, t]) for t in range(4)]
    one = torch.stack([f for f, _ in each], 1)
    torch.testing.assert_close(found[:, :64], one.mean(1), rtol=1e-4, atol=1e-4)
    change = (one[:, 1:] - one[:, :-1]).pow(2).mean(1).sqrt()
    torch.testing.assert_close(found[:, 64:], change, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(logits, torch.stack([k for _, k in each]).mean(0), rtol=1e-4, atol=1e-4)
    still = clips[:, :, :1].expand_as(clips)
    assert features(network, still)[0][:, 64:].abs().max() < 1e-4


def test_motion_is_counted_by_hand():
    clips, masks = torch.zeros(1, 3, 3, 4, 4), torch.zeros(1, 1, 3, 4, 4)
    clips[0, :, 1, 0, 0] = 0.6  # changes twice, by 0.6
    masks[0, 0, 1, 0, :2] = 0.9  # two pixels, in both pairs
    clips[0, 0, 2, 3, 3] = 0.3  # outside: one of 28, one colour of three
    found = motion(clips, masks)
    assert found.pixels_inside == 4
    assert found.inside == pytest.approx(2 * 0.6 / 4)
    assert found.outside == pytest.approx(0.3 / 3 / 28)
    assert found.ratio == pytest.approx(0.3 / (0.1 / 28))


# Toybox clips ----------------------------------------------------------------------------------


def test_toybox_clips_move_over_a_background_still_to_the_last_bit():
    one = toyscenes.toybox_clip("train", 0, 6, 24)
    assert one.frames.shape == (6, 24, 24, 3)
    again = render_clip(clip(clip_scene("train", 0), 6), 24)
    assert np.array_equal(one.frames, again.frames)
    touched = one.masks.any(0)
    near = binary_dilation(touched, np.ones((3, 3)))  # where few of a pixel's rays met the object
    assert (one.frames[:, ~near] == one.frames[0, ~near]).all()
    assert (~near).mean() > 0.2
    assert np.abs(np.diff(one.frames.astype(int), axis=0))[:, touched].mean() > 1
    assert (one.masks[0] != one.masks[-1]).any()
    other = toyscenes.toybox_clip("test", 0, 6, 24)
    assert not np.array_equal(other.frames, toyscenes.toybox_clip("train", 0, 6, 24).frames)


def test_a_clip_is_what_full_rendering_shows():
    """Composed of background and object it is the plain renderer's picture where no shadow is thrown."""
    start = clip_scene("train", 5)
    light: Light = replace(start.light, strength=0.0, gloss=0.0)
    scenes = tuple(replace(now, light=light) for now in clip(start, 3))
    fast = render_clip(scenes, 32)
    for now, frame, mask in zip(scenes, fast.frames, fast.masks, strict=True):
        whole = render(now, 32)
        assert np.array_equal(frame, whole.image)
        assert np.array_equal(mask, whole.mask)


def test_clips_are_cached_as_images_are(tmp_path, monkeypatch):
    monkeypatch.setenv("OSTRICH_CACHE", str(tmp_path))
    monkeypatch.setattr("ostrich.data.toyscenes.store.BLOCK", 2)
    clips, labels = toyscenes.render_clips("train", 3, 2, 8)
    assert clips.shape == (3, 2, 8, 8, 3)
    assert [int(k) for k in labels] == [toyscenes.label("train", i) for i in range(3)]
    assert len(list(tmp_path.rglob("*.npy"))) == 2
    assert np.array_equal(clips[2], toyscenes.toybox_clip("train", 2, 2, 8).frames)
    assert np.array_equal(toyscenes.render_clips("train", 3, 2, 8)[0], clips)
    assert np.array_equal(toyscenes.render_clips("train", 3, 2, 8, cache=False)[0], clips)


# Files -----------------------------------------------------------------------------------------


def smooth_clip(count: int = 5, side: int = 33) -> Tensor:
    """A bright disk that crosses a slope of grey: (3, T, H, W)."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    places = torch.linspace(-0.6, 0.6, count)[:, None, None]
    disk = torch.sigmoid(12 * (0.4 - ((x - places) ** 2 + y**2).sqrt()))
    ground = (0.3 + 0.2 * y).expand_as(disk)
    return torch.stack([ground + 0.4 * disk, ground, ground + 0.1 * disk])


def test_gif_and_mp4_read_back(tmp_path):
    written = smooth_clip()
    for suffix, worst in ((".gif", 0.03), (".mp4", 0.02)):
        path = tmp_path / f"clip{suffix}"
        write_clip(path, written, side=66)  # each pixel as 2x2
        pictures = list(video_frames(path))
        assert [p.size for p in pictures] == [(66, 66)] * 5
        back = np.stack([np.asarray(p)[::2, ::2] for p in pictures]) / 255
        assert np.abs(back - written.permute(1, 2, 3, 0).numpy()).mean() < worst, suffix
        assert list(tmp_path.glob(".*")) == []
    with Image.open(tmp_path / "clip.gif") as gif:
        assert [frame.info["duration"] for frame in ImageSequence.Iterator(gif)] == [80] * 5


def test_a_gif_of_few_colours_is_exact(tmp_path):
    flat = (random_clips(1)[0, :1] > 0.5).float().expand(3, -1, -1, -1)
    write_clip(tmp_path / "flat.gif", flat, side=8)
    back = [torch.from_numpy(np.array(p)).movedim(-1, 0) / 255 for p in video_frames(tmp_path / "flat.gif")]
    assert torch.equal(torch.stack(back, 1), flat)


def test_odd_and_grey_clips_become_mp4s(tmp_path):
    write_clip(tmp_path / "odd.mp4", torch.full((1, 3, 7, 5), 0.5), side=1)
    assert [p.size for p in video_frames(tmp_path / "odd.mp4")] == [(6, 8)] * 3


def test_sheets_and_films_lay_out_by_time():
    clips = random_clips(3)
    assert torch.equal(frames(clips)[5], clips[1, :, 1])
    assert torch.equal(stills(clips), clips[:, :, 2])
    assert torch.equal(sheet(clips, 2)[:, 10:18, 20:28], clips[1, :, 2])
    assert sheet(clips, 2).shape == (3, 18, 38)
    assert torch.equal(film(clips, 3)[:, 1, :, 10:18], clips[1, :, 1])


# Folders of videos -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Eleven videos: GIFs of 29 frames, an MP4 of 8 and a folder of 4 PNGs; 8 pixels a side."""
    path = tmp_path_factory.mktemp("videos")
    for i in range(9):
        write_clip(path / f"{i}.gif", random_clips(1, (3, 29, 8, 8), i)[0], side=8)
    write_clip(path / "m.mp4", smooth_clip(8, 8), side=16)
    for t, frame in enumerate(smooth_clip(4, 8).unbind(1)):
        write_png(path / "n" / f"{t:02d}.png", frame)
    (path / "notes.txt").write_text("not a video")
    return path


def test_videos_are_cut_and_divided_whole(folder):
    training = open_split(f"clips:{folder}", "train", SHAPE, seed=3)
    held_out = open_split(f"clips:{folder}", "test", SHAPE, seed=3)
    names = {file.partition("@")[0] for file in training.files}
    assert names.isdisjoint(file.partition("@")[0] for file in held_out.files)
    assert len(training) + len(held_out) == 9 * 7 + 2 + 1  # a last frame is left out
    assert training.tensor().shape[1:] == SHAPE
    assert training.labels is None
    every = [*training.files, *held_out.files]
    assert {"0.gif@0", "0.gif@4", "m.mp4@4", "n@0"} <= set(every)
    pixels = torch.cat([training.tensor(), held_out.tensor()])[every.index("n@0")]
    assert torch.equal(pixels / 255, rounded(smooth_clip(4, 8)))
    assert len(open_split(f"clips:{folder}", "train", SHAPE, limit=3)) == 3
    assert training.sha256 != held_out.sha256


def wrong_folders(path: Path) -> dict[str, str]:
    """Folder of each fault, and words of its sentence."""
    made = {name: path / name for name in ("none", "broken", "empty", "short", "sound", "frame")}
    for one in made.values():
        one.mkdir()
    (made["none"] / "a.txt").write_text("text")
    (made["broken"] / "a.mp4").write_bytes(b"no video at all")
    with av.open(str(made["empty"] / "a.avi"), "w") as container:
        stream = container.add_stream("rawvideo", rate=10)
        stream.width = stream.height = 8
        stream.pix_fmt = "rgb24"
        container.start_encoding()
    with av.open(str(made["sound"] / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    write_clip(made["short"] / "a.gif", random_clips(1, (3, 3, 8, 8))[0], side=8)
    (made["frame"] / "a").mkdir()
    (made["frame"] / "a" / "0.png").write_bytes(b"no image")
    return {
        "none": "holds no videos",
        "broken": "cannot be read as a video",
        "empty": "without frames",
        "sound": "without frames",
        "short": "has 3 frames, the network's clips 4",
        "frame": "cannot be read as an image",
        "absent": "There is no folder",
    }


def test_bad_videos_are_one_sentence_each(tmp_path, capsys):
    for name, words in wrong_folders(tmp_path).items():
        asked = ["generate", "train", "video", "--set", f"architecture={TINY}", "--set", "judge=none"]
        code = ostrich([*asked, "--data", f"clips:{tmp_path / name}", "--out", str(tmp_path / "out")])
        said = capsys.readouterr().err.strip()
        assert code == 2, (name, said)
        assert words in said, (name, said)
        assert len(said.splitlines()) == 1, (name, said)
        assert not (tmp_path / "out" / "checkpoint.pt").exists()


def test_images_are_no_clips_and_clips_no_images(tmp_path, folder, capsys):
    asked = ["generate", "train", "video", "--set", f"architecture={TINY}", "--data"]
    assert ostrich([*asked, f"images:{folder / 'n'}", "--out", str(tmp_path / "a")]) == 2
    assert "clips:PATH" in capsys.readouterr().err
    clips = ["explain", "gradient", "zoo:toybox-resnet20", f"clips:{folder}", "--out", str(tmp_path / "b")]
    assert ostrich(clips) == 2
    assert "generators of clips" in capsys.readouterr().err
    made = ["explain", "gradient", "zoo:toybox-resnet20", "generator:zoo:toybox-video"]
    assert ostrich([*made, "--out", str(tmp_path / "c")]) == 2
    assert "makes clips" in capsys.readouterr().err


def test_without_pyav_the_sentence_names_the_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    (tmp_path / "a.mp4").write_bytes(b"")
    asked = ["generate", "train", "video", "--data", f"clips:{tmp_path}", "--out", str(tmp_path / "a")]
    assert ostrich(asked) == 2
    assert "ostrich-vision[video]" in capsys.readouterr().err


# Commands --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    words = ["generate", "train", "video", "--data", f"clips:{folder}", "--out", str(out)]
    for setting in (
        f"architecture={TINY}",
        "steps=4",
        "watch_every=2",
        "batch_size=4",
        "judge_samples=8",
        "seed=3",
    ):
        words += ["--set", setting]
    assert ostrich(words) == 0
    return out


def test_a_generator_of_clips_is_trained_as_one_of_images(trained):
    card = json.loads((trained / "card.json").read_text())
    assert card["measures"]["distance_features"] == "zoo:toybox-resnet20"
    assert (trained / "sheets/000002.png").exists()
    assert (trained / "training.gif").exists()
    assert load_generator(str(trained)).shape == SHAPE


def test_samples_are_files_and_streams(trained, tmp_path):
    out = tmp_path / "out"
    assert ostrich(["generate", "sample", str(trained), "--count", "3", "--out", str(out)]) == 0
    results = json.loads((out / "run.json").read_text())["results"]
    assert len(results["files"]) == 6
    for file in (*results["files"], "grid.png", "grid.gif", "grid.mp4", "streams.png", "streams.gif"):
        assert (out / file).stat().st_size > 0, file
    generator = load_generator(str(trained))
    clips = generator(torch.from_numpy(np.load(out / "codes.npy")))
    names = ("foreground", "mask", "background")
    parts = (torch.from_numpy(np.load(out / f"streams/{name}.npy")) for name in names)
    torch.testing.assert_close(composed(*parts), clips, rtol=0, atol=1e-6)
    assert len(list(video_frames(out / "samples/0002.mp4"))) == 4
    again = tmp_path / "again"
    assert ostrich(["generate", "sample", str(trained), "--count", "3", "--out", str(again)]) == 0
    for file in ("samples/0001.gif", "samples/0001.mp4", "streams.gif"):
        assert (again / file).read_bytes() == (out / file).read_bytes(), file


def test_interpolations_play(trained, tmp_path):
    out = tmp_path / "out"
    words = ["generate", "interpolate", str(trained), "--rows", "2", "--steps", "3", "--out", str(out)]
    assert ostrich(words) == 0
    results = json.loads((out / "run.json").read_text())["results"]
    assert results["way"] == "great circle"
    with Image.open(out / "sheet.png") as still:
        assert still.size == (3 * 8 + 2 * 2, 2 * 8 + 2)
    assert len(list(video_frames(out / "interpolation.gif"))) == 4


def test_neighbours_and_measures_take_clips(trained, tmp_path):
    out = tmp_path / "near"
    words = ["--count", "8", "--out", str(out)]
    assert ostrich(["generate", "neighbours", str(trained), *words]) == 0
    results = json.loads((out / "run.json").read_text())["results"]
    assert results["training"] == load_generator(str(trained)).card["train_images"]
    assert len(results["pixels"]["copies"]) <= 8
    assert 0 <= results["features of zoo:toybox-resnet20"]["authenticity"] <= 100
    with Image.open(out / "neighbours.png") as still, Image.open(out / "neighbours.gif") as moving:
        assert still.size[0] == 7 * 8 + 6 * 2
        assert moving.n_frames == 4
    assert (
        ostrich(["generate", "evaluate", str(trained), "--count", "8", "--out", str(tmp_path / "far")]) == 0
    )
    results = json.loads((tmp_path / "far" / "run.json").read_text())["results"]
    assert results["mask_0_differs_from_background_by"] == 0
    assert results["motion"]["clips"] == results["samples"] == 8
    assert results["ceiling_still_clips"] > 0
    assert results["frechet_distance_of_frames"]["ceiling_noise"] > 0


def test_measures_of_clips_lie_between_their_controls():
    """Real clips as the generated ones: at the floor, while noise, the mean and stills are farther off."""
    clips = torch.from_numpy(toyscenes.render_clips("train", 32, 4, 24, cache=False)[0])
    real = clips.movedim(-1, 1) / 255
    network = load("zoo:toybox-resnet20", device="cpu")
    held_out = Samples.of_pixels(clips[:16].numpy(), name="real")
    codes = Codes("normal", 6)

    class Real(torch.nn.Module):
        """Answers code i with real clip i."""

        def __init__(self) -> None:
            super().__init__()
            self.place = torch.nn.Parameter(torch.zeros(()))
            self.given = 0

        def forward(self, codes: Tensor, classes: Tensor | None = None) -> Tensor:
            self.given += len(codes)
            return real[16 + self.given - len(codes) : 16 + self.given] * 2 - 1

    made = Generator(
        name="real", network=Real(), codes=codes, shape=(3, 4, 24, 24), class_names=None, card={}
    )
    found = evaluate(made, held_out, network, samples=16)
    singly = found["frechet_distance_of_frames"]
    floor = found["floor_two_halves_of_real"]
    assert found["frechet_distance"] < 1.5 * floor
    for name in ("ceiling_mean_image", "ceiling_noise"):
        assert found[name] > found["frechet_distance"], name
    assert found["ceiling_still_clips"] > floor  # of the same two halves
    assert singly["generated"] < singly["ceiling_mean_image"]
    assert singly["generated"] < singly["ceiling_noise"]
    assert singly["still_clips"] < 2 * singly["floor_two_halves_of_real"]  # blind to motion
    assert "motion" not in found  # these have no streams
