"""One forward: any number of images, of any type, through any network, and nothing left behind."""

import pytest
import torch
import torch.nn.functional as F
from nets import CALLS, Counting, small
from torch import Tensor, nn

import ostrich
from ostrich.attribution import Explainer, GradCAM, Gradient, Occlusion, explain
from ostrich.inspection.watching import observe
from ostrich.models.batches import VALUES, exactly, fixed_batch


class Fixed(nn.Module):
    """A network exported with a batch of `size`; each row is computed by itself."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.head = size, nn.Linear(3 * 8 * 8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.reshape(self.size, 3 * 8 * 8))


class Broadcast(nn.Module):
    """A network with a constant of its batch: one image is answered with as many rows."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.head, self.offset = nn.Linear(3 * 8 * 8, 4), nn.Parameter(torch.zeros(size, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1)) + self.offset


def one_by_one(model: ostrich.Classifier, images: Tensor) -> Tensor:
    weight, bias = model.network.head.weight, model.network.head.bias
    return torch.stack([weight @ image.flatten() + bias for image in images])


@pytest.mark.parametrize("build", [Fixed, Broadcast])
@pytest.mark.parametrize("size", [2, 5, 16])
def test_a_fixed_batch_is_found_and_filled_up(build: type, size: int) -> None:
    torch.manual_seed(0)
    model = ostrich.Classifier(build(size), size=(8, 8), channels=3)
    model.probe()
    assert model.batch == size
    for count in (1, size - 1, size, size + 1, 3 * size - 1):
        images = torch.rand(count, 3, 8, 8)
        expected = one_by_one(model, images)
        torch.testing.assert_close(model.predict(images), expected.detach(), atol=1e-6, rtol=1e-5)
        leaf = images.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(model(leaf).sum(), leaf)
        torch.testing.assert_close(
            gradient, model.network.head.weight.sum(0).view(1, 3, 8, 8).expand_as(gradient)
        )
    assert model.predict(torch.rand(0, 3, 8, 8)).shape == (0, 4)
    images = torch.rand(size + 1, 3, 8, 8)
    torch.testing.assert_close(observe(model, images, ["head"]).outputs["head"], model(images))


@pytest.mark.parametrize("method", [Gradient(), Occlusion(window=4, stride=4)])
def test_a_class_is_explained_of_a_network_with_a_fixed_batch(method: Explainer) -> None:
    torch.manual_seed(0)
    fixed = ostrich.Classifier(Fixed(4), size=(8, 8), channels=3)
    free = ostrich.Classifier(nn.Sequential(nn.Flatten(), fixed.network.head), size=(8, 8), channels=3)
    fixed.probe()
    images = torch.rand(5, 3, 8, 8)
    found, expected = (explain(method, one, images, ["class:1", "class:3"]) for one in (fixed, free))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    assert expected.abs().max() > 1e-3


class Reshaped(nn.Module):
    """A convolution of images whose number is written down: `size`, or any."""

    def __init__(self, size: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.size, self.conv, self.head = size, nn.Conv2d(3, 6, 3), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.conv(x.reshape(self.size, 3, 8, 8))).mean((2, 3)))


@pytest.mark.parametrize("batch", [1, 2, 4])
@pytest.mark.parametrize(
    "method", [Gradient(), Occlusion(window=4, stride=4), GradCAM(), GradCAM(layer="conv")]
)
def test_layers_of_a_network_of_a_fixed_batch_are_seen(method: Explainer, batch: int) -> None:
    alone = ostrich.Classifier(Reshaped(batch), size=(8, 8), channels=3, batch=batch)
    free = ostrich.Classifier(Reshaped(-1), size=(8, 8), channels=3)
    images, units = torch.rand(3, 3, 8, 8), ["class:1", "class:3"]
    units += [] if isinstance(method, GradCAM) else ["conv:2@1,1"]
    found, expected = (explain(method, one, images, units) for one in (alone, free))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    assert expected.any()


def test_a_network_that_fails_for_another_reason_has_no_batch() -> None:
    tried: list[int] = []

    class WrongSize(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(5, 4)

        def forward(self, x: Tensor) -> Tensor:
            tried.append(len(x))
            return self.head(x.flatten(1))

    model = ostrich.Classifier(WrongSize(), size=(8, 8), channels=3)
    with pytest.raises(ostrich.errors.InputError, match="fails on an image of 3x8x8"):
        model.probe()
    assert set(tried) == {1}  # its complaint shows the one image: (1x192 and 5x4)
    assert fixed_batch(lambda count: count >= 2, "Expected more than 1 value per channel") is None


def test_images_are_cast_to_the_networks_type() -> None:
    images = torch.rand(6, 3, 16, 16)
    reference = small(dtype=torch.float64)
    expected = reference.network((images.double() - 0.5) / 0.25)
    for dtype, tolerance in ((torch.float64, 1e-6), (torch.bfloat16, 0.3), (torch.float16, 0.05)):
        model = small(dtype=dtype)
        for given in (images, images.double()):
            found = model.predict(given)
            assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
            assert (found - expected).abs().max() < tolerance


def test_forwards_are_of_the_size_asked_for_and_bounded() -> None:
    model = ostrich.Classifier(Counting(), size=(8, 8))
    CALLS.clear()
    model.predict(torch.rand(130, 3, 8, 8))
    assert CALLS == [64, 64, 2]
    CALLS.clear()
    model.predict(torch.rand(130, 3, 8, 8), batch_size=100)
    assert CALLS == [100, 30]
    CALLS.clear()
    model.predict(torch.rand(1, 3, 1, 1).expand(5, 3, 2048, 2731))
    assert CALLS == [1] * 5
    assert VALUES / 2 < 3 * 2048 * 2731


def test_a_network_is_handed_back_in_the_mode_it_was_in() -> None:
    model = small()
    evaluated = model.predict(torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1)))
    model.network.train()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    again = model.predict(torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(evaluated, again)
    assert not again.requires_grad
    assert model.network.training
    assert all(p.requires_grad and p.grad is None for p in model.network.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.network.state_dict().items())


def test_another_number_of_rows_is_refused() -> None:
    class Pooled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.adaptive_avg_pool2d(x, 1).flatten(1).mean(0, keepdim=True)

    with pytest.raises(ostrich.errors.InputError, match="answers 3 images with 1 rows"):
        ostrich.Classifier(Pooled(), size=(8, 8)).predict(torch.rand(3, 3, 8, 8))


def test_exactly_repeats_the_last_image() -> None:
    asked: list[Tensor] = []

    def forward(part: Tensor) -> Tensor:
        asked.append(part)
        return part * 2

    assert torch.equal(exactly(forward, torch.arange(5), 3), torch.arange(5) * 2)
    assert [part.tolist() for part in asked] == [[0, 1, 2], [3, 4, 4]]
