"""The training loop: exact resume, augmentation, schedule, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from ostrich.certification.balls import Ball
from ostrich.certification.graph import graph_of
from ostrich.certification.intervals import intervals
from ostrich.errors import InputError
from ostrich.models import Classifier, architectures
from ostrich.models.residual import SmallNet
from ostrich.runtime.randomness import keyed
from ostrich.training.interval_bounds import ramped, worst_logits
from ostrich.training.loop import accuracy, augment, ramp, steps_of, train
from ostrich.training.recipe import RECIPES, Recipe

RECIPE = Recipe(
    name="test",
    architecture="resnet8",
    data="none",
    epochs=4,
    batch_size=16,
    crops=((0.5, 12),),
    precision="exact",
)


class WithDropout(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(SmallNet(8, 16, width=0.5), nn.Dropout(0.3), nn.Linear(16, 4))


def network() -> nn.Module:
    torch.manual_seed(0)
    return WithDropout()


def data(count: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    """Four classes told apart by colour and brightness."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 4
    images = torch.randint(0, 80, (count, 3, 16, 16), generator=generator)
    for k in range(3):
        images[labels == k, k] += 120
    return images.to(torch.uint8), labels


def test_n_plus_n_steps_are_2n_bit_for_bit(tmp_path):
    images, labels = data()
    whole = train(network(), RECIPE, images, labels)
    for stops in ([7], [3, 11, 12]):
        path, told = tmp_path / f"{stops}.pt", list[int]()
        for stop in [*stops, None]:
            torch.rand(5)  # whatever happens to the global generator between the runs
            part = train(
                network(), RECIPE, images, labels, checkpoint=path, stop_after=stop, progress=told.append
            )
        assert told == list(range(1, steps_of(RECIPE, len(images)) + 1))
        for a, b in zip(whole.state_dict().values(), part.state_dict().values(), strict=True):
            assert torch.equal(a, b)


def test_it_learns_and_ends_in_evaluation_mode():
    images, labels = data()
    rows = []
    trained = train(network(), replace(RECIPE, epochs=10), images, labels, held_out=data(32), log=rows.append)
    assert not trained.training
    assert accuracy(trained, RECIPE, images, labels) > 0.9
    assert [row["epoch"] for row in rows] == list(range(1, 11))
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


def test_worst_logits_are_those_of_interval_bounds():
    """The same bounds as of certification, which computes them otherwise: through the traced graph."""
    torch.manual_seed(0)
    network = architectures.build("strided-cnn,size=12")[0].eval().requires_grad_(False)
    image, eps = torch.rand(1, 1, 12, 12), 0.05
    classifier = Classifier(network, name="strided", size=(12, 12), channels=1)
    ball = Ball(image=image[0], eps=eps, norm="linf")
    low, high = intervals(graph_of(classifier, (1, 12, 12)), ball)[-1]
    worst = worst_logits(network, *ball.ends(), torch.tensor([3]))
    expected = torch.cat([high[:, :3], low[:, 3:4], high[:, 4:]], 1)
    torch.testing.assert_close(worst, expected, atol=1e-5, rtol=1e-5)


def test_the_budget_and_the_share_of_bounds_grow_over_half_of_the_run():
    assert ramped(0.2, 0.0) == (0.0, 1.0)
    assert ramped(0.2, 0.25) == (0.1, 0.75)
    assert ramped(0.2, 0.5) == ramped(0.2, 1.0) == (0.2, 0.5)


def test_training_by_interval_bounds_lets_more_be_verified():
    images, labels = data()
    images = images[:, :1].clone()
    images[labels == 0] = 200  # two classes by brightness
    labels = (labels > 0).long()
    recipe = replace(
        RECIPE, mean=(0.0,), std=(1.0,), crops=(), flip=False, shift=0, epochs=20, learning_rate=0.02
    )
    worst = {}
    for eps in (0.0, 0.1):
        torch.manual_seed(0)
        network = architectures.build("strided-cnn,classes=2,size=16,width=0.25")[0]
        train(network, replace(recipe, interval_eps=eps), images, labels)
        pixels = images.float() / 255
        ends = ((pixels - 0.1).clamp(0, 1), (pixels + 0.1).clamp(0, 1))
        with torch.no_grad():
            worst[eps] = (worst_logits(network, *ends, labels).argmax(1) == labels).float().mean()
    assert worst[0.1] > worst[0.0]


def test_what_intervals_cannot_pass_is_refused():
    with pytest.raises(InputError, match=r"takes convolutions.*SmallNet"):
        train(SmallNet(8, 4), replace(RECIPE, interval_eps=0.1), *data(16))
    for changes in ({"interval_eps": -0.1}, {"noise": -1.0}, {"noise": 0.1, "interval_eps": 0.1}):
        with pytest.raises(InputError):
            replace(RECIPE, **changes)


def test_noise_is_the_steps_own():
    images, labels = data(32)
    recipe = replace(RECIPE, epochs=2, noise=0.25)
    trained = [train(network(), one, images, labels).state_dict() for one in (recipe, recipe, RECIPE)]
    first, again, plain = (torch.cat([v.flatten().float() for v in one.values()]) for one in trained)
    assert torch.equal(first, again)
    assert not torch.equal(first, plain)


def test_augmentation_moves_each_image_for_itself():
    images, _ = data(32)
    recipe = replace(RECIPE, shift=2, crops=())
    a, b = (augment(images, recipe, 0.0, keyed(0, 2, 5)) for _ in range(2))
    assert torch.equal(a, b)
    assert a.shape == images.shape
    assert (
        len(
            {
                tuple(x.flatten().tolist())
                for x in augment(images[:1].expand(32, -1, -1, -1), recipe, 0.0, keyed(1))
            }
        )
        > 5
    )
    assert augment(images, RECIPE, 0.1, keyed(0)).shape[-2:] == (12, 12)
    assert augment(images, RECIPE, 0.9, keyed(0)).shape[-2:] == (16, 16)
    crops = augment(images, replace(RECIPE, shift=0, flip=False), 0.1, keyed(0))
    windows = images.unfold(2, 12, 1).unfold(3, 12, 1)  # (N, C, 5, 5, 12, 12)
    assert crops.shape[-2:] == (12, 12)
    assert (windows == crops[:, :, None, None]).all(dim=(1, 4, 5)).any(dim=(1, 2)).all()
    still = replace(RECIPE, shift=0, flip=False, crops=())
    assert torch.equal(augment(images, still, 0.0, keyed(0)), images)


def test_the_schedule():
    assert ramp(0.1, 0.2) == 0.5
    assert ramp(0.2, 0.2) == 1
    assert ramp(0.6, 0.2) == pytest.approx(0.5)
    assert ramp(1.0, 0.2) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        *({"epochs": 0}, {"batch_size": -1}, {"warmup": 1.0}, {"precision": "double"}, {"std": (0, 1, 1)}),
        *({"shift": -1}, {"crops": ((0.4, 0),)}, {"crops": ((0.8, 12), (0.4, 8))}, {"crops": ((40, 12),)}),
        *({"label_smoothing": 1.5}, {"weight_decay": -1.0}, {"clip_norm": 0.0}, {"train_images": 0}),
    ],
)
def test_nonsense_in_a_recipe_is_refused(wrong):
    with pytest.raises(InputError):
        replace(RECIPE, **wrong)


def test_recipes_build_their_networks():
    from ostrich.models.architectures import build

    for recipe in RECIPES.values():
        build(recipe.architecture)
