"""The engine's invariants, over every registered attack. A new attack is covered once registered."""

from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import nets
import pytest
import torch
from attack_cases import CASES, WIDER, made
from torch import nn

import ostrich
from ostrich.attacks import INPUT_SPECIFIC, Confident, Targeted, Untargeted
from ostrich.attacks.engine.runner import Result
from ostrich.attacks.engine.settings import configure
from ostrich.errors import InputError
from ostrich.images import read_png, rounded, write_png
from ostrich.models.untouched import untouched

every_case = pytest.mark.parametrize(("name", "norm"), CASES, ids=[f"{n}-{norm}" for n, norm in CASES])
every_attack = pytest.mark.parametrize("name", list(INPUT_SPECIFIC))


def goal_for(name: str, classifier: ostrich.Classifier, images: torch.Tensor):
    with untouched(classifier.network), torch.no_grad():
        logits = classifier(images)
    labels = logits.argmax(1)
    if name.startswith("fooling"):
        return Confident((labels + 1) % logits.shape[1], 0.6)
    return Untargeted(labels)


def run(name: str, classifier, images, norm=None, **options) -> Result:
    goal = options.pop("goal", None) or goal_for(name, classifier, images)
    return ostrich.attacks.attack(made(name, norm), classifier, images, goal, precision="exact", **options)


def same(a: Result, b: Result, rows=slice(None)) -> None:
    for field in ("success", "images", "float_images", "predictions", "forwards", "backwards"):
        assert torch.equal(getattr(a, field)[rows], getattr(b, field)), field


@every_case
def test_a_result_does_not_depend_on_the_batch_in_float64(name, norm):
    model = nets.small(dtype=torch.float64)
    images = nets.random_images(5, dtype=torch.float64)
    whole = run(name, model, images, norm)
    for rows in ([0, 1, 2, 3, 4], [3], [4, 1]):
        part = run(name, model, images[rows], norm, batch_size=2)
        assert torch.equal(part.success, whole.success[rows])
        assert torch.allclose(part.float_images, whole.float_images[rows], atol=1e-9)
        assert torch.equal(part.images, whole.images[rows])


@every_case
def test_a_result_does_not_depend_on_the_batch_in_float32(name, norm):
    model, images = nets.small(), nets.random_images(6)
    whole, part = run(name, model, images, norm), run(name, model, images[2:4], norm, batch_size=1)
    assert torch.equal(part.success, whole.success[2:4])
    assert torch.allclose(part.distance, whole.distance[2:4], atol=1e-3, rtol=1e-3, equal_nan=True)


@every_attack
def test_active_set_on_and_off_agree(name):
    model = nets.small(dtype=torch.float64)
    images = nets.random_images(5, dtype=torch.float64)
    on, off = run(name, model, images), run(name, model, images, active_set=False)
    assert torch.equal(on.success, off.success)
    assert torch.equal(on.images, off.images)


@every_attack
def test_the_network_is_left_as_it_was(name):
    model, images = nets.small(), nets.random_images(3)
    network = model.network.train()
    network.layer1.eval()
    network.conv1.weight.requires_grad_(False)
    network.linear.weight.grad = torch.ones_like(network.linear.weight)
    before = copy.deepcopy(network.state_dict())
    modes = [m.training for m in network.modules()]
    frozen = [p.requires_grad for p in network.parameters()]
    run(name, model, images, goal=Untargeted(torch.tensor([0, 1, 2])) if "fooling" not in name else None)
    assert [m.training for m in network.modules()] == modes
    assert [p.requires_grad for p in network.parameters()] == frozen
    assert torch.equal(network.linear.weight.grad, torch.ones_like(network.linear.weight))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert not any(m._forward_hooks or m._backward_hooks for m in network.modules())


@every_attack
def test_the_network_is_left_as_it_was_after_an_exception(name):
    class Broken(nn.Module):
        calls = 0

        def __init__(self):
            super().__init__()
            self.inner = nets.small().network

        def forward(self, x):
            Broken.calls += float(x.detach().sum()) > 0  # a tracer stops here: no folded copy
            if Broken.calls > 3:
                raise RuntimeError("out of order")
            return self.inner(x)

    network = Broken().eval()
    model, images = ostrich.Classifier(network, size=(16, 16)), nets.random_images(3)
    goal = goal_for(name, model, images)
    network.train()
    Broken.calls = 0
    with pytest.raises((RuntimeError, InputError), match="out of order"):
        run(name, model, images, goal=goal)
    assert network.training
    assert all(p.requires_grad and p.grad is None for p in network.parameters())


def known(model: ostrich.Classifier) -> None:
    """What is asked once of a network is asked now: it is no attack's forward."""
    model.examine()
    assert model.access == "gradient"


@every_attack
def test_counted_forwards_are_the_real_ones(name):
    torch.manual_seed(0)
    model = ostrich.Classifier(nets.Counting().eval(), size=(12, 12))
    images = nets.random_images(4, (12, 12))
    goal = goal_for(name, model, images)
    known(model)
    nets.CALLS.clear()
    result = run(name, model, images, goal=goal)
    assert int(result.forwards.sum()) + result.checks == sum(nets.CALLS)


def test_one_step_shares_the_clean_forward():
    torch.manual_seed(0)
    model = ostrich.Classifier(nets.Counting().eval(), size=(12, 12))
    images = nets.random_images(4, (12, 12))
    known(model)
    goal = ostrich.Untargeted(model.predict(images).argmax(1))
    nets.CALLS.clear()
    result = ostrich.attacks.attack(ostrich.attacks.FGSM(), model, images, goal, precision="exact")
    assert nets.CALLS == [4, 4]  # clean, whose graph gives the gradient, and the verification
    assert result.forwards.tolist() == [2] * 4
    assert result.backwards.tolist() == [1] * 4
    leaf = images.clone().requires_grad_(True)
    slope = torch.autograd.grad(goal.loss(model(leaf)).sum(), leaf)[0]
    expected = (images - 8 / 255 * slope.sign()).clamp(0, 1)
    torch.testing.assert_close(result.float_images, expected)


@every_case
def test_a_claimed_success_holds_when_its_file_is_read_back(name, norm, tmp_path):
    model, images = nets.small(), nets.random_images(6)
    goal, method = goal_for(name, model, images), made(name, norm, **WIDER.get((name, norm), {}))
    result = ostrich.attacks.attack(method, model, images, goal, precision="exact")
    assert result.success.any(), "where nothing is claimed, nothing is checked"
    for i in result.success.nonzero()[:, 0].tolist():
        write_png(tmp_path / "a.png", result.images[i])
        read = read_png(tmp_path / "a.png")[None]
        assert torch.equal(read[0], result.images[i])
        with torch.no_grad():
            assert goal.rows(torch.tensor([i])).reached(model(read)).item()
        distance = method.threat.distance(read.double(), images[i : i + 1].double()).item()
        assert distance <= method.threat.eps * 1.000001 + 1e-9
    assert torch.equal(result.images, rounded(result.images))


@every_attack
def test_resumed_equals_uninterrupted(name, tmp_path: Path):
    model, images = nets.small(), nets.random_images(5)
    whole = run(name, model, images, batch_size=2)
    calls = 0

    def stop_after_two(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(name, model, images, batch_size=2, shards=tmp_path, progress=stop_after_two)
    assert len(list(tmp_path.glob("*.pt"))) == 2
    same(whole, run(name, model, images, batch_size=2, shards=tmp_path))


@every_attack
@pytest.mark.usefixtures("always_kept")
@pytest.mark.parametrize("steps", [1, 3])
def test_cut_off_between_two_steps_it_goes_on_bit_for_bit(name, steps, tmp_path: Path):
    model, images = nets.small(), nets.random_images(5)
    whole, seen = run(name, model, images), []

    def cut(step: int, state: object) -> None:
        seen.append(step)
        if len(seen) == steps + 1:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):  # or it has fewer steps
        run(name, model, images, shards=tmp_path, watch=cut)
    same(whole, run(name, model, images, shards=tmp_path, watch=cut))
    if seen[:2] == [1, 2] and steps == 1:
        assert seen[2] == 2  # the first step is not done again


class Shaky(nn.Module):
    """A network whose answers are random."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nets.small().network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.network(x)
        return logits + 0.1 * torch.randn_like(logits)


@pytest.mark.usefixtures("always_kept")
def test_the_seed_decides_what_a_network_draws_and_it_goes_on_there(tmp_path: Path):
    model, images, seen = ostrich.load(Shaky(), size=16), nets.random_images(3), []
    method = ostrich.attacks.PGD(eps=8 / 255, steps=4, stop="budget")
    whole = ostrich.attack(method, model, images)
    torch.rand(1)
    again = ostrich.attack(method, model, images)
    same(again, whole)
    assert torch.equal(again.confidence, whole.confidence)
    goal = Untargeted(whole.labels)

    def cut(step: int, state: object) -> None:
        seen.append(step)
        if seen == [1, 2]:
            raise KeyboardInterrupt

    def part(**options) -> Result:
        return ostrich.attacks.attack(method, model, images, goal, labels=whole.labels, **options)

    with pytest.raises(KeyboardInterrupt):
        part(shards=tmp_path, watch=cut)
    resumed = part(shards=tmp_path, watch=cut)
    assert seen == [1, 2, 2, 3, 4]
    same(resumed, part())
    same(resumed, whole)


@every_attack
@pytest.mark.parametrize(
    ("size", "channels", "classes"),
    [((9, 14), 3, 5), ((12, 12), 1, 5), ((12, 12), 3, 2)],
    ids=["non-square", "one channel", "two classes"],
)
def test_unusual_shapes(name, size, channels, classes):
    model = nets.small(num_classes=classes, channels=channels, size=size)
    images = nets.random_images(3, size, channels)
    result = run(name, model, images)
    assert result.images.shape == images.shape
    assert result.success.shape == (3,)


@every_attack
def test_empty_batch_and_extreme_pixels(name):
    model = nets.small()
    empty = run(name, model, nets.random_images(0), goal=Confident(torch.zeros(0, dtype=torch.int64)))
    assert empty.images.shape == (0, 3, 16, 16)
    extreme = nets.random_images(4).round()  # only 0 and 1
    result = run(name, model, extreme)
    assert ((result.images >= 0) & (result.images <= 1)).all()


@every_attack
def test_what_was_wrong_before_is_left_alone(name):
    model, images = nets.small(), nets.random_images(4)
    right = nets.predictions(model, images)
    labels = torch.where(torch.arange(4) < 2, right, (right + 1) % 5)
    goal = goal_for(name, model, images) if name.startswith("fooling") else Untargeted(labels)
    result = run(name, model, images, goal=goal, labels=labels)
    assert result.attacked.tolist()[2:] == [False, False]
    assert not result.success[2:].any()
    assert torch.equal(result.images[2:], images[2:])
    assert result.distance[2:].isnan().all()
    assert result.backwards[2:].sum() == 0


@every_attack
def test_a_nan_gradient_disturbs_no_neighbour(name):
    class NaNBelow(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            dark = x.flatten(1).mean(1) < 0.2
            return torch.where(dark.view(-1, 1, 1, 1), torch.nan, grad)

    inner = nets.small(dtype=torch.float64)

    class Masked(nn.Module):
        def forward(self, x):
            return inner(NaNBelow.apply(x))

    model = ostrich.Classifier(Masked(), size=(16, 16))
    images = nets.random_images(3, dtype=torch.float64)
    images[1] = 13 / 255
    result = run(name, model, images)
    alone = run(name, model, images[[0, 2]])
    assert torch.isfinite(result.images).all()
    assert torch.equal(result.success[[0, 2]], alone.success)
    assert torch.allclose(result.float_images[[0, 2]], alone.float_images, atol=1e-9)


@every_attack
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(2, 3, 16, 16) * 255, "Divide 0..255"),
        (torch.full((2, 3, 16, 16), torch.nan), "lie in"),
        (torch.zeros(2, 3, 16, 16, dtype=torch.uint8), "float tensors"),
        (torch.rand(3, 16, 16), "N, C, H, W"),
        (torch.rand(2, 1, 16, 16), "channels"),
    ],
)
def test_what_is_no_image_is_refused(name, images, message):
    with pytest.raises(ostrich.InputError, match=message):
        ostrich.attacks.attack(made(name), nets.small(), images, Untargeted(torch.tensor([0, 1])))


@every_attack
def test_labels_that_do_not_fit_are_refused(name):
    model, images = nets.small(), nets.random_images(2)
    with pytest.raises(ostrich.InputError, match="goal has 3"):
        ostrich.attacks.attack(made(name), model, images, Untargeted(torch.tensor([0, 1, 2])))
    with pytest.raises(ostrich.InputError, match="classes 0 to 4"):
        ostrich.attacks.attack(made(name), model, images, Untargeted(torch.tensor([0, 5])))
    with pytest.raises(ostrich.InputError, match="int64"):
        Untargeted(torch.tensor([0.0, 1.0]))


@every_attack
def test_every_option_is_refused_or_honoured(name):
    with pytest.raises(ostrich.InputError, match="Unknown setting"):
        configure(INPUT_SPECIFIC[name], {"stepz": "3"})
    if "steps" in {field.name for field in fields(INPUT_SPECIFIC[name])}:
        assert configure(INPUT_SPECIFIC[name], {"steps": "3"}).steps == 3
        for wrong in ("0", "-1", "two", "1.5"):
            with pytest.raises(ostrich.InputError):
                configure(INPUT_SPECIFIC[name], {"steps": wrong})
    with pytest.raises(ostrich.InputError):
        configure(INPUT_SPECIFIC[name], {"eps": "-8/255"})


@every_attack
def test_a_constant_added_to_all_logits_changes_nothing(name):
    model = nets.small(dtype=torch.float64)
    images = nets.random_images(4, dtype=torch.float64)

    class Shifted(nn.Module):
        def forward(self, x):
            return model(x) - 40

    shifted = ostrich.Classifier(Shifted(), size=(16, 16))
    assert torch.equal(run(name, model, images).success, run(name, shifted, images).success)


def test_a_prediction_function_is_refused_by_gradient_attacks():
    model = ostrich.Classifier(lambda x: x.mean((2, 3)), name="function", size=(16, 16))
    with pytest.raises(ostrich.InputError, match="only a prediction function"):
        ostrich.attacks.attack(made("pgd"), model, nets.random_images(2), Untargeted(torch.tensor([0, 1])))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fgsm_finds_the_optimum_of_a_linear_network(dtype):
    """Under Linf the largest change of w.x is eps * |w|_1: FGSM succeeds just where that is enough."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(2, 3 * 8 * 8, generator=generator).to(dtype)
    model = nets.linear(weights, (8, 8), 3)
    images = (96 + nets.random_images(40, (8, 8), dtype=dtype).mul(64).round()) / 255  # far from 0 and 1
    labels = nets.predictions(model, images)
    gap = (weights[1] - weights[0]).double()
    needed = (images.double().flatten(1) @ gap).abs() / gap.abs().sum()  # the smallest Linf change
    eps = 4 / 255
    result = ostrich.attacks.attack(
        ostrich.attacks.FGSM(threat=ostrich.Linf(eps)), model, images, Untargeted(labels), precision="exact"
    )
    clear = (needed - eps).abs() > 1e-4
    assert torch.equal(result.success[clear], (needed < eps)[clear])
    assert 0 < result.success.sum() < 40


def test_pgd_l2_finds_the_optimum_of_a_linear_network():
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(2, 3 * 8 * 8, generator=generator).double()
    model = nets.linear(weights, (8, 8), 3)
    images = (96 + nets.random_images(40, (8, 8), dtype=torch.float64).mul(64).round()) / 255
    labels = nets.predictions(model, images)
    gap = weights[1] - weights[0]
    needed = (images.flatten(1) @ gap).abs() / gap.norm()
    eps = float(needed.median())
    method = ostrich.attacks.PGD(threat=ostrich.L2(eps), steps=20, stop="budget")
    result = ostrich.attacks.attack(method, model, images, Untargeted(labels))
    far = (needed / eps - 1).abs() > 0.05  # rounding to 8 bits costs a little of the budget
    assert torch.equal(result.success[far], (needed < eps)[far])
    assert 0 < result.success.sum() < 40


def test_targeted_reaches_the_class():
    model, images = nets.small(), nets.random_images(6)
    targets = (nets.predictions(model, images) + 1) % 5
    result = ostrich.attacks.attack(
        ostrich.attacks.PGD(threat=ostrich.Linf(0.2), steps=30), model, images, Targeted(targets)
    )
    assert result.success.any()
    assert torch.equal(result.predictions[result.success], targets[result.success])


def test_stop_first_spends_less_and_breaks_as_many():
    model, images = nets.small(), nets.random_images(16)
    goal = Untargeted(nets.predictions(model, images))
    first, budget = (
        ostrich.attacks.attack(ostrich.attacks.PGD(steps=20, stop=stop), model, images, goal)
        for stop in ("first", "budget")
    )
    assert first.success.sum() >= budget.success.sum() > 0
    assert first.backwards.sum() < budget.backwards.sum() == 20 * 16


def test_a_saturated_network_still_has_a_gradient():
    """In float32 the softmax of these logits is exactly one-hot; the loss is taken in float64."""
    model = nets.small()
    model.network.linear.weight.data.mul_(60)
    images = nets.random_images(4)
    result = ostrich.attacks.attack(
        ostrich.attacks.PGD(threat=ostrich.Linf(0.1), steps=20),
        model,
        images,
        Untargeted(nets.predictions(model, images)),
    )
    assert result.success.any()
