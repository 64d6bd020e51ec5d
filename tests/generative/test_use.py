"""What is asked of generators: measures, neighbours and memorisation, samples, interpolation, DATA."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import linear_generator
import numpy as np
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import ostrich as package
from ostrich import data as datasets
from ostrich.cli.main import run as ostrich
from ostrich.data.dataset import Samples
from ostrich.data.training_data import open_split
from ostrich.errors import InputError, MissingExtra
from ostrich.figures.clips import is_clip
from ostrich.generative.architectures import build_gan
from ostrich.generative.codes import Codes
from ostrich.generative.collapse import collapse, diversity
from ostrich.generative.directions import principal_directions
from ostrich.generative.evaluation import evaluate
from ostrich.generative.features import features
from ostrich.generative.frechet import (
    classifier_score,
    doubts,
    frechet,
    frechet_distance,
    kernel_distance,
    moments,
    precision_recall,
)
from ostrich.generative.generator import CARD, WEIGHTS, ZOO, load_generator
from ostrich.generative.inception import inception
from ostrich.generative.memorisation import check_memorisation
from ostrich.generative.neighbours import memorisation, nearest, neighbours, sentence
from ostrich.generative.recipe import INVERSION, RECIPES, GeneratorRecipe
from ostrich.generative.training import train_gan
from ostrich.images import read_image, read_png, rounded, to_bytes
from ostrich.models.bundled import zoo_cards
from ostrich.training.run import save

NAMES = ("school bus", "ostrich", "umbrella")


def normal(count: int, width: int, seed: int) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stored(folder: Path, architecture: str, **facts: object) -> str:
    """An untrained generator, as `ostrich generate train` leaves one."""
    torch.manual_seed(0)
    save(build_gan(architecture).generator, folder / WEIGHTS)
    card = {"architecture": architecture, "class_names": NAMES, "data": "digits", "seed": 0, "limit": None}
    (folder / CARD).write_text(json.dumps({**card, "judge": "zoo:digits-cnn", **facts}))
    return str(folder)


@pytest.fixture
def plain(tmp_path: Path) -> str:
    (tmp_path / "plain").mkdir()
    return stored(tmp_path / "plain", "dcgan,size=8,channels=1,width=0.1,code=6")


@pytest.fixture
def conditional(tmp_path: Path) -> str:
    (tmp_path / "conditional").mkdir()
    spec = "conditional,size=32,classes=3,channels=2,code=16,embedding=4"
    return stored(tmp_path / "conditional", spec, data="toybox", judge="zoo:toybox-plain14")


# The bundled ones ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", zoo_cards(ZOO))
def test_bundled_generators_are_what_their_cards_say(name):
    generator = load_generator(f"zoo:{name}", torch.device("cpu"))
    card, recipe = generator.card, RECIPES[name]
    assert (ZOO / f"{name}.safetensors").stat().st_size <= 4_000_000
    for field in ("objective", "steps", "batch_size", "seed", "precision", "train_images", "judge"):
        assert card[field] == getattr(recipe, field)
    completed = ",code=32,cells=8" if recipe.encoder else ""  # the shape of the encoder's layer
    assert card["architecture"] == recipe.architecture + completed
    assert all(card[field] == getattr(recipe, field) for field in INVERSION if recipe.encoder)
    assert card["recipe"] == f"ostrich generate train {name} --data {recipe.data} --seed {recipe.seed}"
    assert card["measures"]["distance_features"] == recipe.judge
    count = 64 if is_clip(generator.shape) else 128
    samples, _ = generator.sample(range(count))
    real = open_split("toybox", "test", generator.shape, limit=count).images()
    assert collapse(0.5, diversity(samples, real), recipe.objective) == []


# Measures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [200, 12])  # 12 points in 20 dimensions: singular covariances
def test_frechet_distance_is_the_matrix_root_s(count):
    a, b = normal(count, 20, 0) * torch.linspace(0.5, 2, 20), normal(count, 20, 1) + 0.3
    (mean_a, cov_a), (mean_b, cov_b) = moments(a), moments(b)
    assert np.allclose(cov_a.numpy(), np.cov(a.numpy(), rowvar=False))
    if count > 20:
        root = np.trace(scipy.linalg.sqrtm(cov_a.numpy() @ cov_b.numpy()).real)
    else:  # sqrtm fails on singular matrices: the nuclear norm of the product of the data's own roots
        centred = [(x - x.mean(0)).numpy() / np.sqrt(count - 1) for x in (a, b)]
        root = np.linalg.norm(centred[0] @ centred[1].T, "nuc")
    expected = ((mean_a - mean_b) ** 2).sum() + cov_a.trace() + cov_b.trace() - 2 * root
    assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_diagonal_normals_has_a_closed_form():
    s, t = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([4.0, 1.0, 0.0]).double()
    zero = torch.zeros(3, dtype=torch.float64)
    expected = (s.sqrt() - t.sqrt()).square().sum() + 3 * 0.25
    assert frechet(zero, s.diag(), zero + 0.5, t.diag()) == pytest.approx(expected.item(), rel=1e-12)


def test_kernel_distance_by_its_definition():
    a, b = normal(6, 4, 0), normal(5, 4, 1) + 0.5

    def mean(x: Tensor, y: Tensor, same: bool) -> float:
        pairs = [(i, j) for i in range(len(x)) for j in range(len(y)) if not (same and i == j)]
        return sum(((x[i] @ y[j]).item() / 4 + 1) ** 3 for i, j in pairs) / len(pairs)

    expected = mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False)
    assert kernel_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_precision_and_recall_by_their_definition_and_the_right_way_round():
    a, b = normal(40, 3, 0), 1.5 * normal(50, 3, 1)

    def covered(points: Tensor, others: Tensor) -> float:
        between = torch.cdist(others, others)
        radius = between.sort(1).values[:, 3]  # its own zero comes first
        return (torch.cdist(points, others) <= radius).any(1).double().mean().item()

    assert precision_recall(a, b) == (covered(a, b), covered(b, a))
    collapsed = 0.01 * normal(200, 3, 2)  # all samples alike, and inside the real ones
    precision, recall = precision_recall(collapsed, normal(200, 3, 3))
    assert precision > 0.8
    assert recall < 0.3
    with pytest.raises(InputError, match="more than 3"):
        precision_recall(a[:3], b)


def test_classifier_score_by_its_definition():
    logits = 2 * normal(30, 4, 0)
    p = torch.softmax(logits, 1)
    parts = []
    for part in (p[:15], p[15:]):
        divergence = [(row * (row / part.mean(0)).log()).sum() for row in part]
        parts.append(torch.stack(divergence).mean().exp())
    mean, deviation = classifier_score(logits, 2)
    assert mean == pytest.approx(((parts[0] + parts[1]) / 2).item())
    assert deviation == pytest.approx(((parts[0] - parts[1]).abs() / 2).item())
    sure = 100 * torch.eye(4).repeat(5, 1)  # every class, and certain of each
    assert classifier_score(sure, 1)[0] == pytest.approx(4)
    assert classifier_score(sure[:1].expand(8, -1), 2)[0] == pytest.approx(1)
    off = torch.cat([logits, torch.full((30, 1), -torch.inf)], 1)  # a class that is switched off
    assert classifier_score(off, 2) == pytest.approx((mean, deviation))


def test_a_score_is_never_of_one_image():
    logits = normal(11, 4, 0)
    for splits in (0, 6, 11):
        with pytest.raises(InputError, match="parts of at least two"):
            classifier_score(logits, splits)
    p = torch.softmax(logits, 1).double()
    parts = [p[:3], *(p[i : i + 2] for i in (3, 5, 7, 9))]  # 11 in 5 parts, none of them of one
    scores = [(part * (part / part.mean(0)).log()).sum(1).mean().exp() for part in parts]
    assert classifier_score(logits, 5)[0] == pytest.approx(torch.stack(scores).mean().item())


@pytest.mark.parametrize(
    ("samples", "real", "features", "parts", "classes", "said"),
    [
        (2000, 2000, 64, 10, 10, []),
        (64, 2000, 64, 2, 10, ["64 samples and 2000 real images in 64 features"]),
        (65, 65, 64, 2, 10, []),
        (2000, 50, 64, 10, 10, ["singular with 50"]),
        (90, 2000, 64, 10, 10, ["9 samples a part, with 10 classes: it cannot exceed 9"]),
        (8, 8, 64, 1, 10, ["singular with 8", "cannot exceed 8"]),
    ],
)
def test_too_few_images_are_said(samples, real, features, parts, classes, said):
    found = doubts(samples, real, features, parts, classes)
    assert len(found) == len(said)
    assert all(words in sentence for words, sentence in zip(said, found))
    if real == samples <= features:  # as it is: two samples of one distribution, far apart
        few, many = (
            frechet_distance(normal(n, features, 0), normal(n, features, 1)) for n in (samples, 4000)
        )
        assert few > 10 * many


def test_features_are_what_the_last_layer_takes():
    model = package.load("zoo:digits-cnn", device="cpu")
    images = torch.rand(5, 1, 8, 8)
    seen, logits = features(model, images)
    head = [m for m in model.network.modules() if isinstance(m, torch.nn.Linear)][-1]
    with torch.no_grad():
        assert torch.allclose(head(seen), logits, atol=1e-5)
        assert torch.allclose(model(images), logits, atol=1e-5)
    assert not any(m._forward_pre_hooks for m in model.network.modules())
    larger, _ = features(package.load("zoo:toybox-plain14", device="cpu"), images)  # 1x8x8 to 3x64x64
    assert len(larger) == 5
    with pytest.raises(InputError, match="1 channels"):
        features(model, torch.rand(2, 3, 8, 8))


class Looked(nn.Module):
    """A convolution, its spatial mean, and what becomes of that."""

    def __init__(self, ending: str = "", most: int = 1000, batch: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.c, self.l, self.idle = nn.Conv2d(3, 4, 3), nn.Linear(4, 5), nn.Linear(4, 5)
        self.ending, self.most, self.batch = ending, most, batch

    def mean(self, x: Tensor) -> Tensor:
        return self.c(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.most or (self.batch and len(x) != self.batch):
            raise RuntimeError(f"not {len(x)}, but {self.batch or self.most}")
        seen = self.mean(x)
        if self.ending == "nan":
            seen = torch.where(x.mean((1, 2, 3))[:, None] > 0.505, torch.nan, seen)
        scores = self.l(input=seen)
        return scores.softmax(1) if self.ending == "softmax" else scores


@pytest.mark.parametrize(
    ("network", "size"),
    [
        (Looked("softmax"), None),  # how the first answer is read takes several forwards
        (Looked("softmax"), 16),
        (Looked(batch=3), None),  # whose last batch is filled up
        (Looked(most=8), 16),  # which is found out on the way
    ],
)
def test_features_are_a_row_for_each_image_whatever_is_asked_on_the_way(network, size):
    images = torch.rand(300, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    model = package.load(network.eval(), size=size)
    for _ in range(2):
        seen, logits = features(model, images)
        with torch.no_grad():
            torch.testing.assert_close(seen, network.mean(images))
            torch.testing.assert_close(logits, model(images))
    assert model.size == (None if size is None else (16, 16))
    assert features(model, images[:0])[0].shape == (0, 4)


def test_features_need_a_linear_layer_that_is_called_once_for_an_image():
    network = Looked().eval()
    network.forward = lambda x: F.linear(network.mean(x), network.l.weight)  # type: ignore[method-assign]
    with pytest.raises(InputError, match="calls none of its linear layers"):
        features(package.load(network, size=16), torch.rand(2, 3, 16, 16))
    network.forward = lambda x: network.l(network.mean(x).repeat(2, 1))[: len(x)]  # type: ignore[method-assign]
    with pytest.raises(InputError, match=r"l, is given \(4, 4\) of 2 images"):
        features(package.load(network, size=16), torch.rand(2, 3, 16, 16))


def test_what_has_no_features_is_no_honest_sample():
    """NaN is far from everything and near to nothing: no measure may be made of it."""
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(40, 3, 16, 16, generator=draw)
    missing = int((images.mean((1, 2, 3)) > 0.505).sum())
    assert 0 < missing < 40
    model = package.load(Looked("nan").eval(), size=16)
    with pytest.raises(InputError, match=f"no finite features of {missing} of 40 images"):
        features(model, images)
    with pytest.raises(InputError, match="no finite features"):
        check_memorisation(images[:20], Samples.of(images), Samples.of(images.flip(2)), model)


class Conditional:
    """Forty real images of the toybox, made as one asks for the classes of their labels."""

    def __init__(self) -> None:
        self.real = open_split("toybox", "test", (3, 64, 64), limit=40)
        self.class_names = self.real.class_names
        self.codes = Codes("normal", 4)

    def sample(self, numbers: range, **_: object) -> tuple[Tensor, Tensor]:
        return self.real.images()[: len(numbers)], self.real.labels[: len(numbers)]


class Other(nn.Module):
    """A network whose classes stand the other way round; it has no answer to its dark images."""

    def __init__(self, network: nn.Module, dark: float) -> None:
        super().__init__()
        self.network, self.dark = network, dark

    def forward(self, x: Tensor) -> Tensor:
        scores = self.network(x).flip(1)
        return torch.where(x.mean((1, 2, 3))[:, None] < self.dark, torch.nan, scores)


def test_a_judge_knows_classes_by_their_names_and_no_answer_is_wrong():
    judge = package.load("zoo:toybox-resnet20", device="cpu")
    made, facts = Conditional(), {"size": judge.size, "mean": judge.mean, "std": judge.std}
    turned = {**facts, "classes": tuple(reversed(judge.class_names))}

    def asked(judged_by: object) -> dict:
        found = evaluate(made, made.real, judge, judge=judged_by, samples=40)
        assert found["as_asked"]["classes"] == found["as_labelled_real"]["classes"] == "by name"
        assert found["as_asked"]["share"] == found["as_labelled_real"]["share"]
        return found["as_asked"]

    expected = asked(judge)["share"]
    assert expected > 0.9
    assert asked(package.load(Other(judge.network, -99.0), **turned))["share"] == expected
    assert asked(package.load(Other(judge.network, 99.0), **turned))["share"] == 0
    striped = package.load(judge.network, **facts, classes=(*judge.class_names[:9], "zebra"))
    with pytest.raises(InputError, match="match the classifier's by name"):
        asked(striped)


# Neighbours ------------------------------------------------------------------------------------


def test_neighbours_are_those_of_every_pair():
    queries, reference = normal(17, 5, 0), normal(103, 5, 1)
    distance, index = nearest(queries, reference, 4, chunk=10)
    expected = torch.cdist(queries, reference, compute_mode="donot_use_mm_for_euclid_dist").topk(
        4, largest=False
    )
    assert torch.equal(index, expected.indices)
    assert torch.allclose(distance, expected.values, rtol=1e-12)
    every = nearest(reference, reference, chunk=10)  # 103 % 10: the last chunk is a part
    assert torch.equal(every[1][:, 0], torch.arange(103))
    assert every[0].max() == 0
    others = nearest(reference, reference, chunk=10, leave_out=torch.arange(103)[:, None])[1][:, 0]
    between = torch.cdist(reference, reference).fill_diagonal_(float("inf"))
    assert torch.equal(others, between.argmin(1))
    twice = torch.cat([reference[5:6], reference[5:6], reference])
    assert nearest(reference[5:6], twice, 3, chunk=2)[1].tolist() == [[0, 1, 7]]


def test_neighbours_of_nothing_are_refused():
    with pytest.raises(InputError, match="one length"):
        nearest(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(InputError, match="outside 1"):
        nearest(torch.zeros(2, 3), torch.zeros(2, 3), 3)


def test_authenticity_by_its_definition():
    training, samples = normal(60, 4, 0), normal(40, 4, 1)
    authentic = 0
    for sample in samples:
        j = (training - sample).norm(dim=1).argmin()
        others = [(training[j] - training[k]).norm().item() for k in range(60) if k != j]
        authentic += (sample - training[j]).norm().item() > min(others)
    assert neighbours(samples, training).authenticity == pytest.approx(100 * authentic / 40, abs=1e-12)


def test_copies_are_caught_and_honest_samples_are_not():
    training, held_out, honest = normal(400, 10, 0), normal(200, 10, 1), normal(100, 10, 2)
    real = neighbours(held_out, training)
    verdict = memorisation(neighbours(honest, training), real)
    assert not verdict.memorised
    assert verdict.copies == []
    assert 0.4 < verdict.nearer < 0.6
    assert "not memorised" in sentence("pixels", verdict)
    planted = honest.clone()
    planted[[7, 30, 31, 99, 50, 51]] = training[[3, 3, 399, 0, 12, 13]]
    planted[50] += 0.01
    found = neighbours(planted, training)
    assert found.index[[7, 30, 31, 99]].tolist() == [3, 3, 399, 0]
    assert found.distance[[7, 30, 31, 99]].tolist() == [0, 0, 0, 0]
    caught = memorisation(found, real)
    assert caught.memorised
    assert caught.copies == [7, 30, 31, 50, 51, 99]
    single = memorisation(neighbours(torch.cat([honest, training[:1]]), training), real)
    assert not single.memorised
    assert single.copies == [100]
    assert "single copies" in sentence("pixels", single)
    doubled = torch.cat([training, training[:1]])  # a training image that is there twice
    assert memorisation(neighbours(training[:1], doubled), neighbours(held_out, doubled)).copies == [0]


def memorised(training: Tensor, held_out: Tensor, samples: Tensor, **options: bool):
    """The figures of a check of images (N, 1, 8, 8) in [0, 1]."""

    def given(images: Tensor) -> Samples:
        return Samples.of(rounded(images))

    judge = package.load("zoo:digits-cnn", device="cpu")
    return check_memorisation(samples, given(training), given(held_out), judge, **options)


def test_images_that_are_there_twice_hide_no_copies():
    draw = torch.Generator().manual_seed(0)
    training, held_out, noise = (torch.rand(200, 1, 8, 8, generator=draw) for _ in range(3))
    copies = (training + 0.01 * (noise - 0.5)).clamp(0, 1)
    once = memorised(training, held_out, copies)
    assert once.figures["pixels"]["memorised"]
    assert len(once.figures["pixels"]["copies"]) == 200
    twice = memorised(torch.cat([training, training]), held_out, copies)
    assert twice.figures["pixels"] == once.figures["pixels"]
    assert (twice.figures["training"], twice.figures["training_twice"]) == (200, 200)
    leaked = memorised(training, torch.cat([held_out[4:], training[:4]]), copies)
    assert len(leaked.figures["pixels"]["copies"]) == 200
    assert (leaked.figures["held_out"], leaked.figures["held_out_in_training"]) == (196, 4)


def test_a_mirrored_copy_is_a_copy_where_training_mirrored():
    draw = torch.Generator().manual_seed(0)
    training, held_out, noise = (torch.rand(100, 1, 8, 8, generator=draw) for _ in range(3))
    copies = (training.flip(-1) + 0.01 * (noise - 0.5)).clamp(0, 1)
    assert not memorised(training, held_out, copies).figures["pixels"]["copies"]
    check = memorised(training, held_out, copies, mirrored=True)
    assert len(check.figures["pixels"]["copies"]) == 100
    assert check.neighbours["pixels"].index.tolist() == list(range(100))
    assert (check.shown[:, 1] - check.shown[:, 0]).abs().max() < 0.02  # the mirror image is shown
    honest = memorised(training, held_out, noise, mirrored=True)
    assert not honest.figures["memorised"]


def test_images_that_are_there_mirrored_hide_no_copies():
    draw = torch.Generator().manual_seed(0)
    training, held_out, noise = (torch.rand(100, 1, 8, 8, generator=draw) for _ in range(3))
    held_out = torch.cat([held_out[6:], training[:6].flip(-1)])
    for near in (0.0, 0.02):
        copies = (training + near * (noise - 0.5)).clamp(0, 1)
        leaked = memorised(training, held_out, copies, mirrored=True)
        assert len(leaked.figures["pixels"]["copies"]) == 100
        assert (leaked.figures["held_out"], leaked.figures["held_out_in_training"]) == (94, 6)
        assert memorised(training, held_out, copies).figures["held_out"] == 100
        both = memorised(torch.cat([training, training.flip(-1)]), held_out, copies, mirrored=True)
        assert both.figures["pixels"] == leaked.figures["pixels"]
        assert both.figures["training_twice"] == 100


def test_an_overfitted_generator_is_caught():
    """A game against four images: the generator learns them by heart."""
    draw = torch.Generator().manual_seed(0)
    training = (torch.rand(4, 1, 8, 8, generator=draw) > 0.5).mul(255).byte()
    recipe = GeneratorRecipe(
        name="overfitted",
        architecture="dcgan,size=8,channels=1,width=0.4,code=4,norm=false",
        data="none",
        objective="least-squares",
        steps=600,
        batch_size=4,
        flip=False,
        generator_rate=1e-3,
        discriminator_rate=1e-3,
        precision="exact",
        watch_every=1000,
    )
    torch.manual_seed(0)
    game = build_gan(recipe.architecture)
    network = train_gan(game, recipe, training)
    with torch.no_grad():
        samples = (network(game.codes.numbered(range(100), 0)) + 1) / 2
    held_out = (torch.rand(100, 64, generator=draw) > 0.5).float()  # the same distribution
    rows = training.flatten(1) / 255
    verdict = memorisation(neighbours(samples.flatten(1), rows), neighbours(held_out, rows))
    assert verdict.memorised
    assert len(verdict.copies) > 10
    assert verdict.authenticity < verdict.authenticity_held_out


# Use -------------------------------------------------------------------------------------------


def test_a_sample_does_not_depend_on_the_others(plain, conditional):
    for name in (plain, conditional):
        generator = load_generator(name)
        images, classes = generator.sample(range(6), seed=1)
        again, its = generator.sample(range(3, 5), seed=1)
        assert torch.allclose(images[3:5], again, atol=1e-6)
        assert (its is None) == (classes is None) == (generator.class_names is None)
        assert 0 <= images.min() < images.max() <= 1
        if classes is not None:
            assert classes.tolist() == [0, 1, 2, 0, 1, 2]
            assert torch.equal(its, classes[3:5])


def test_the_command_sample(tmp_path, capsys, conditional):
    out = tmp_path / "out"
    words = ["generate", "sample", conditional, "--count", "5", "--class", "ostrich", "--truncation", "0.5"]
    assert ostrich([*words, "--json", "--out", str(out)]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["classes"] == [0, 5, 0]
    codes = np.load(out / "codes.npy")
    assert codes.shape == (5, 16)
    assert np.abs(codes).max() <= 0.5
    assert read_png(out / "grid.png").shape[0] == 3
    again = ["generate", "sample", conditional, "--codes", str(out / "codes.npy"), "--class", "ostrich"]
    assert ostrich([*again, "--out", str(tmp_path / "again")]) == 0
    for name in results["files"]:
        assert (out / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert json.loads((out / "run.json").read_text())["finished"]


def test_the_command_interpolate(tmp_path, plain, conditional):
    words = ["--rows", "2", "--steps", "3", "--gif", "--seed", "4"]
    assert ostrich(["generate", "interpolate", plain, *words, "--out", str(tmp_path / "a")]) == 0
    sheet = read_png(tmp_path / "a" / "sheet.png")
    assert sheet.shape[-2:] == (2 * 8 + 2, 3 * 8 + 2 * 2)
    generator = load_generator(plain)
    codes = generator.codes.numbered(range(4), 4)
    middle = generator((codes[:2] + codes[2:]) / 2)
    assert np.array_equal(to_bytes(sheet[:, :8, 10:18]), to_bytes(middle[0]))
    with Image.open(tmp_path / "a" / "interpolation.gif") as film:
        assert film.n_frames == 4  # there and back: 0 1 2 1
    classes = ["--from", "umbrella", "--to", "ostrich"]
    assert (
        ostrich(["generate", "interpolate", conditional, *words, *classes, "--out", str(tmp_path / "b")]) == 0
    )
    sheet = read_png(tmp_path / "b" / "sheet.png")
    generator = load_generator(conditional)
    codes = generator.codes.numbered(range(2), 4)
    for place, k in ((0, 2), (68, 1)):
        ends = generator(codes, torch.tensor([k, k]))
        assert np.abs(to_bytes(sheet[:, :32, place : place + 32]) - to_bytes(ends[0]).astype(int)).max() <= 1
    # Between classes the embedding is in the middle, which no class has.
    halfway = generator.between_classes(codes, 2, 1, [0.5])[0]
    network = generator.network
    embedding = (network.embedding.weight[1] + network.embedding.weight[2]) / 2
    with torch.no_grad():
        expected = (network.from_embedding(codes, embedding.expand(2, -1)) + 1) / 2
    assert torch.allclose(halfway, expected, atol=1e-6)


def test_the_command_neighbours(tmp_path, capsys, plain):
    out = tmp_path / "out"
    assert ostrich(["generate", "neighbours", plain, "--count", "20", "--json", "--out", str(out)]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["memorised"] is False
    assert {"pixels", "features of zoo:digits-cnn"} <= results.keys()
    assert results["training"] == 1437
    lines = (out / "neighbours.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 20
    columns, rows = 7, 12
    assert read_png(out / "neighbours.png").shape[-2:] == (rows * 10 - 2, columns * 10 - 2)


def test_the_command_evaluate(tmp_path, capsys, plain, conditional):
    out = tmp_path / "out"
    assert ostrich(["generate", "evaluate", plain, "--count", "200", "--json", "--out", str(out)]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["features"] == "zoo:digits-cnn"
    assert "fid" not in json.dumps(results).lower()
    assert results["floor_two_halves_of_real"] < results["ceiling_mean_image"]
    assert results["frechet_distance"] > results["floor_two_halves_of_real"]
    judged = [
        "generate",
        "evaluate",
        conditional,
        "--judge",
        "zoo:toybox-resnet20",
        "--count",
        "30",
        "--json",
    ]
    assert ostrich([*judged, "--out", str(tmp_path / "judged")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["as_asked"]["n"] == found["as_asked_truncated_0.5"]["n"] == 30
    assert found["as_labelled_real"]["n"] == 512
    assert found["as_labelled_real"]["share"] > 0.3  # of 32-pixel images, enlarged


def test_real_images_measured_as_samples_reach_the_floor():
    """The measure itself: a generator that makes real images is as near as halves are."""
    held_out = open_split("digits", "test", (1, 8, 8))
    half = torch.randperm(360, generator=torch.Generator().manual_seed(0))[:180]

    class Real:
        class_names = None

        def sample(self, numbers: range, **_: object) -> tuple[Tensor, None]:
            return held_out.images()[half], None

    rest = held_out.take([i for i in range(360) if i not in half.tolist()])
    model = package.load("zoo:digits-cnn", device="cpu")
    found = evaluate(Real(), rest, model, samples=180)
    assert found["frechet_distance"] < 2 * found["floor_two_halves_of_real"]
    assert found["frechet_distance_at_floor_n"] == pytest.approx(found["floor_two_halves_of_real"], rel=0.5)
    assert found["floor_n"] == 90  # half of what is left
    assert found["share_of_mean_image"] < 0.3
    few = evaluate(Few(), held_out, model, samples=20)  # the floor falls to the samples' own number
    some = torch.randperm(360, generator=torch.Generator().manual_seed(0)).chunk(2)
    of_real = features(model, held_out.images())[0]
    expected = frechet_distance(of_real[some[0][:20]], of_real[some[1][:20]])
    assert few["floor_two_halves_of_real"] == pytest.approx(expected)
    assert few["floor_n"] == 20
    assert few["classifier_score_parts"] == 2  # of ten classes
    assert "20 samples and 360 real images" in few["warnings"][0]


class Few:
    """Twenty real images, as if they were made."""

    class_names = None

    def sample(self, numbers: range, **_: object) -> tuple[Tensor, None]:
        return open_split("digits", "test", (1, 8, 8)).images()[: len(numbers)], None


class FakeExtractor(nn.Module):
    """What torch-fidelity's extractor is from outside, small: pooled features, and a last layer `fc`."""

    def __init__(self, name: str, wanted: list[str], feature_extractor_weights_path: str | None = None):
        super().__init__()
        if feature_extractor_weights_path is None:
            raise OSError("no network")
        self.fc = nn.Linear(256, 1008)
        self.asked: list[torch.dtype] = []

    def forward(self, x: Tensor) -> tuple[Tensor]:
        self.asked.append(x.dtype)
        return (F.adaptive_avg_pool2d(x.float(), (1, 1)).flatten(1).repeat(1, 86)[:, :256],)


@pytest.mark.slow
def test_only_in_the_features_of_inception_is_it_fid(tmp_path, capsys, monkeypatch, plain):
    torch.save({}, tmp_path / "weights.pt")
    library = "torch_fidelity.feature_extractor_inceptionv3"
    monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, library, types.ModuleType(library))
    monkeypatch.setattr(sys.modules[library], "FeatureExtractorInceptionV3", FakeExtractor, raising=False)
    network = inception(str(tmp_path / "weights.pt"))
    rows, logits = features(network, torch.rand(3, 1, 8, 8))  # grey ones in three channels
    assert rows.shape == (3, 256)  # the library's has 2048
    assert torch.allclose(logits, rows @ network.network.last.weight.T, atol=1e-3)  # "unbiased"
    assert set(network.network.extractor.asked) == {torch.uint8}
    words = ["generate", "evaluate", plain, "--count", "20", "--features", f"inception:{tmp_path}/weights.pt"]
    assert ostrich([*words, "--json", "--out", str(tmp_path / "out")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fid"] == found["frechet_distance"] > 0
    assert found["kid"] == found["kernel_distance"]
    assert ostrich(["generate", "evaluate", plain, "--features", "inception"]) == 2
    assert "inception:FILE" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=r"\[fidelity\]"):
        inception()


def test_samples_are_data(tmp_path, plain, conditional):
    data = datasets.open_data(f"generator:{conditional}")
    samples = datasets.load(data, size=(32, 32), limit=6, class_names=NAMES)
    assert samples.pixels.shape == (6, 32, 32, 3)
    assert sorted(samples.labels.tolist()) == [0, 0, 1, 1, 2, 2]
    first = samples.index[0]
    expected, asked = load_generator(conditional).sample(range(first, first + 1), seed=2)
    assert np.abs(samples.pixels[0].astype(int) - to_bytes(expected[0])).max() <= 1
    assert asked.item() == samples.labels[0]
    words = ["attack", "fgsm", "zoo:digits-cnn", f"generator:{plain}", "--limit", "3", "--json"]
    assert ostrich([*words, "--out", str(tmp_path / "out")]) == 0


def test_a_folder_holds_a_tenth_out_and_leaves_an_image_on_its_side(tmp_path):
    def colour(name: str, i: int, path: str) -> None:
        (tmp_path / name).mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (i, i, 100 if name == "a" else 0)).save(tmp_path / name / path)

    def split() -> tuple[Samples, Samples]:
        train, test = (open_split(f"folder:{tmp_path}", part, (3, 8, 8)) for part in ("train", "test"))
        return train, test

    for name in ("a", "b"):
        for i in range(150):
            colour(name, i, f"{i}.png")
    train, test = split()
    assert len(train) + len(test) == 300
    assert 15 <= len(test) <= 45  # 30 in the mean, 5.2 its deviation
    assert train.class_names == ("a", "b")
    assert not set(train.keys) & set(test.keys)
    for name in ("a", "b"):
        for i in range(0, 150, 2):
            (tmp_path / name / f"{i}.png").rename(tmp_path / name / f"z{i}.png")
        for i in range(150, 250):
            colour(name, i, f"0{i}.png")
    later, held_out = split()
    assert len(later) + len(held_out) == 500
    assert set(train.keys) <= set(later.keys)
    assert set(test.keys) <= set(held_out.keys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sample", "zoo:nothing"], "Unknown generator"),
        (["sample", "EMPTY"], "no finished generator"),
        (["sample", "PLAIN", "--codes", "CODES"], "A code has 6 numbers"),
        (["sample", "PLAIN", "--codes", "NONE"], "cannot be read as .npy"),
        (["sample", "PLAIN", "--class", "ostrich"], "not conditional"),
        (["sample", "PLAIN", "--truncation", "0.5"], "no tails"),
        (["sample", "PLAIN", "--count", "0"], "at least 1"),
        (["sample", "CONDITIONAL", "--class", "ostrisch"], "ostrich"),
        (["sample", "PLAIN", "--codes", "EMPTY_FILE"], "cannot be read as .npy"),
        (["sample", "PLAIN", "--codes", "NO_CODES"], "at least one"),
        (["sample", "PLAIN", "--codes", "COMPLEX"], "of real numbers"),
        (["sample", "CONDITIONAL", "--class", "3"], "Numbers 0 to 2"),
        (["interpolate", "CONDITIONAL", "--from", "ostrich"], "both ends"),
        (["interpolate", "PLAIN", "--from", "0", "--to", "1"], "not conditional"),
        (["interpolate", "PLAIN", "--steps", "1"], "2 steps"),
        (["neighbours", "PLAIN", "--data", "images:ONE"], "too few"),
        (["evaluate", "PLAIN", "--judge", "zoo:digits-cnn"], "no --judge"),
        (["evaluate", "PLAIN", "--count", "2"], "at least 8"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, capsys, plain, conditional, words, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "one").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "one" / "one.png")
    np.save(tmp_path / "codes.npy", np.zeros((2, 5), np.float32))
    places = {"PLAIN": plain, "CONDITIONAL": conditional, "EMPTY": tmp_path / "empty"}
    places |= {"CODES": tmp_path / "codes.npy", "NONE": tmp_path / "none.npy", "ONE": tmp_path / "one"}
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "no-codes.npy", np.zeros((0, 8), np.float32))
    np.save(tmp_path / "complex.npy", np.zeros((2, 8), np.complex64))
    places |= {"EMPTY_FILE": tmp_path / "empty.npy", "NO_CODES": tmp_path / "no-codes.npy"}
    places |= {"COMPLEX": tmp_path / "complex.npy"}
    spoken = [word if word not in places else str(places[word]) for word in words]
    spoken = [word.replace("images:ONE", f"images:{tmp_path / 'one'}") for word in spoken]
    assert ostrich(["generate", *spoken, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_samples_are_files_of_all_their_channels(tmp_path, channels):
    drawn = linear_generator.generator((channels, 4, 4), dtype=torch.float32)
    found = package.generate.sample(drawn, 3, out=tmp_path / "run")
    files = [read_image(tmp_path / "run" / name) for name in found.figures["files"]]
    assert torch.equal(torch.stack(files), rounded(found.images))


def test_clips_of_a_generator_of_ones_own_have_no_streams(tmp_path):
    drawn = linear_generator.generator((3, 4, 8, 8), dtype=torch.float32)
    found = package.generate.sample(drawn, 2)
    found.save(tmp_path / "run")
    assert "streams" not in found.figures
    assert all((tmp_path / "run" / name).is_file() for name in [*found.figures["files"], "grid.gif"])


def test_principal_directions_are_the_matrix_s_and_always_the_same():
    drawn = linear_generator.generator((1, 16, 16), kind="normal", dtype=torch.float32)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    found = principal_directions(drawn, 3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    assert torch.equal(principal_directions(drawn, 3), found)
    codes = drawn.codes.numbered(range(512), 0)
    looks = drawn(codes).flatten(1).double().numpy()
    looks -= looks.mean(0)
    _, _, components = np.linalg.svd(looks, full_matrices=False)
    expected = components[:3] @ looks.T @ (codes - codes.mean(0)).double().numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    cosines = (expected * found.numpy()).sum(1)
    assert np.abs(cosines) == pytest.approx([1, 1, 1], abs=1e-6)
    assert (found.gather(1, found.abs().argmax(1, keepdim=True)) > 0).all()
    with pytest.raises(InputError, match="1 to 5 directions"):
        principal_directions(drawn, 6)


def test_codes_and_classes_of_the_wrong_kind(conditional, plain):
    generator = load_generator(conditional)
    codes = generator.codes.numbered(range(2), 0)
    for given in ([codes[:, :-1], torch.tensor([0, 1])], [codes, None], [codes, torch.tensor([0])]):
        with pytest.raises(InputError):
            generator(*given)
    with pytest.raises(InputError, match="0 to 2"):
        generator(codes, torch.tensor([0, 3]))
    with pytest.raises(InputError, match="no classes"):
        load_generator(plain)(torch.zeros(1, 6), torch.tensor([0]))
