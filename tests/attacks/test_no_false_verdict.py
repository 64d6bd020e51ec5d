"""Networks whose answers move nothing that an attack follows, or hide a margin behind an offset."""

from __future__ import annotations

from unittest.mock import patch

import nets
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ostrich
from ostrich.attacks import (
    CW,
    DDN,
    PGD,
    AutoAttack,
    DeepFool,
    Targeted,
    Untargeted,
    attack,
    targets,
)
from ostrich.attacks.decision_based.rays import RayS
from ostrich.attacks.engine.figures import measured
from ostrich.attacks.fitted.held_out import CleanImages, choose_target
from ostrich.attacks.score_based.square import Square
from ostrich.attacks.threats import Linf
from ostrich.attacks.transfer import with_gradients_of
from ostrich.attribution import Gradient
from ostrich.attribution.question import explain
from ostrich.crashtest.outcomes import outcome
from ostrich.errors import InputError
from ostrich.images import fingerprints
from ostrich.models import Classifier


class Reversed(torch.autograd.Function):
    """One-hot, with a backward that leads the wrong way."""

    @staticmethod
    def forward(context, scores):
        return F.one_hot(scores.argmax(1), 3).float()

    @staticmethod
    def backward(context, gradient):
        return -gradient


class Means(nn.Module):
    """Twenty times the mean of each channel, then `after`."""

    def __init__(self, after, before=lambda x: x) -> None:
        super().__init__()
        self.after, self.before = after, before

    def forward(self, x: Tensor) -> Tensor:
        return self.after(20 * self.before(x).mean((2, 3)))


def seen(network: nn.Module) -> Classifier:
    return Classifier(network.eval(), size=(8, 8), channels=3)


def attacked(after, before=lambda x: x, eps=16 / 255, method=PGD, **settings):
    images = torch.full((4, 3, 8, 8), 0.5)
    images[:, 0] = 0.54
    images = (images * 255).round() / 255
    goal = Untargeted(torch.zeros(4, dtype=torch.int64))
    method = method(threat=Linf(eps), **(settings or {"steps": 5}))
    return attack(method, seen(Means(after, before)), images, goal)


@pytest.mark.parametrize(
    "after",
    [lambda z: torch.where(z == z.amax(1, keepdim=True), z, -torch.inf), Reversed.apply],
    ids=["losers switched off", "one-hot with a wrong gradient"],
)
def test_what_stands_because_scores_show_no_way_is_not_known(after):
    result = attacked(after, eps=2 / 255)
    assert not result.success.any()
    assert measured("pgd", result)["bound"] is None


class Cut(nn.Module):
    """The means, without a gradient; of images of which the first value is below a half, a flat vote."""

    def forward(self, x: Tensor) -> Tensor:
        z = 20 * x.detach().mean((2, 3))
        vote = 9.0 * F.one_hot(z.argmax(1), 3)
        return torch.where((x[:, 0, 0, 0] < 0.5)[:, None], vote, z)


def test_what_a_member_without_gradients_could_attack_is_known():
    """AutoAttack's Square has scores that move where the three before it have no gradient at all."""
    images = torch.full((6, 3, 8, 8), 0.5)
    images[:, 0] = torch.tensor([0.62, 0.54, 0.62, 0.62, 0.7, 0.7]).view(6, 1, 1)
    images[::2, 0, 0, 0] = 0.4  # in every second one scores are votes
    images = (images * 255).round() / 255
    classifier = Classifier(Cut().eval(), size=(8, 8), channels=3)
    goal = Untargeted(torch.zeros(6, dtype=torch.int64))
    method = AutoAttack(threat=Linf(8 / 255), iterations=5, queries=200)
    result = attack(method, classifier, images, goal)
    assert result.zero_gradient.tolist() == [True] * 6
    assert result.success.tolist() == [False, True, False, False, False, False]
    assert result.worked.tolist() == [False, True, False, True, False, True]
    figure = measured("autoattack", result)
    assert figure["bound"] is None
    assert figure["reason"].startswith("3 images stand whose gradient was zero or not finite; 3 images stand")
    sloped = attack(method, classifier, images[1::2], goal.rows(torch.arange(3)))
    figure = measured("autoattack", sloped)
    assert (figure["bound"], figure["zero_gradient"]) == ("upper", 3)
    alone = attack(PGD(threat=Linf(8 / 255)), classifier, images[1::2], goal.rows(torch.arange(3)))
    assert measured("pgd", alone)["bound"] is None
    said = outcome(method, torch.arange(6), result)["useless"]
    assert said == [0, 2, 4]


def test_what_each_member_could_do_is_kept_where_a_run_is_cut_off(tmp_path):
    images = torch.full((2, 3, 8, 8), 0.5)
    images[:, 0] = 0.7
    images[0, 0, 0, 0] = 0.4
    classifier = Classifier(Cut().eval(), size=(8, 8), channels=3)
    goal = Untargeted(torch.zeros(2, dtype=torch.int64))
    method = AutoAttack(threat=Linf(8 / 255), iterations=3, queries=40)
    whole = attack(method, classifier, images, goal)
    seen = []

    def cut(step, state):
        seen.append(step)
        if len(seen) == 25:
            raise KeyboardInterrupt

    with patch("ostrich.runtime.resumable.EVERY", 0.0), pytest.raises(KeyboardInterrupt):
        attack(method, classifier, images, goal, shards=tmp_path / "s", watch=cut)
    found = attack(method, classifier, images, goal, shards=tmp_path / "s")
    assert torch.equal(found.forwards, whole.forwards)
    for name in ("worked", "zero_gradient", "flat_scores"):
        assert torch.equal(getattr(found, name), getattr(whole, name))


@pytest.mark.parametrize("kind", [Untargeted, Targeted])
def test_an_image_whose_first_score_is_not_finite_stops_no_other_in_square(kind):
    """The bright image's start leaves one class alone (its margin is infinite) or has no answer."""

    class Bright(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            z = 20 * x.mean((2, 3))
            spoilt = (50 * z).softmax(1).log() if kind is Untargeted else z * torch.nan
            clean = (x[:, 0] == x[:, 0, :1, :1]).all(2).all(1)
            return torch.where(((z.mean(1) > 15) & ~clean)[:, None], spoilt, z)

    images = torch.full((5, 3, 8, 8), 0.5)
    images[:, 0], images[4] = 0.54, 0.8
    images[4, 0] = 0.95
    images = (images * 255).round() / 255
    goal = kind(torch.full((5,), int(kind is Targeted)))
    method = Square(threat=Linf(16 / 255), queries=200)
    together = attack(method, seen(Bright()), images, goal)
    alone = attack(method, seen(Bright()), images[:4], goal.rows(torch.arange(4)))
    assert alone.success.all()
    assert torch.equal(together.images[:4], alone.images)
    assert torch.equal(together.forwards[:4], alone.forwards)


def borrowed(after, method):
    """The attack of images of class 0 by the gradients of a surrogate, whose scores are `after`."""
    images = torch.full((4, 3, 8, 8), 0.5)
    images[:, 0] = 0.54
    images = (images * 255).round() / 255
    classifier = with_gradients_of(seen(Means(after)), seen(Means(lambda z: z)))
    return attack(method, classifier, images, Untargeted(torch.zeros(4, dtype=torch.int64)))


def test_a_surrogate_is_fed_as_it_agrees_with_the_network():
    channels = nn.Sequential(nn.Conv2d(3, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    channels[0].weight.data, channels[0].bias.data = torch.eye(3)[:, :, None, None], torch.zeros(3)
    classifier = ostrich.load(channels, size=8, mean=(0.9, 0.5, 0.1), std=(0.5, 0.5, 0.5))
    itself = ostrich.load(nn.Sequential(nn.Conv2d(3, 3, 1), *channels), size=8)
    itself.network[0].weight.data = 2 * torch.eye(3)[:, :, None, None]
    itself.network[0].bias.data = -2 * torch.tensor([0.9, 0.5, 0.1])
    bare, images = ostrich.load(channels, size=8), nets.random_images(4, (8, 8))
    for other, images_, taken in ((itself, images, False), (bare, images, True), (bare, None, True)):
        lent = with_gradients_of(other, classifier, images_)
        assert lent.surrogate.mean == (classifier.mean if taken else None)
        assert "brings no mean and std" in lent.remarks()["surrogate's input"]
        assert other.mean is None
    assert (
        "on 4 of 4 images as it is"
        in with_gradients_of(itself, classifier, images).remarks()["surrogate's input"]
    )
    assert (
        classifier.remarks()
        == ostrich.load(channels, size=8, mean=classifier.mean, std=classifier.std).remarks()
    )
    found = ostrich.attack("pgd", classifier, images, surrogate=itself, steps=2)
    assert found.question.classifier.surrogate.mean is None


@pytest.mark.parametrize("method", [PGD(threat=Linf(8 / 255), steps=5), DDN(steps=5), DeepFool(steps=5)])
def test_a_surrogate_that_left_the_label_before_has_reached_nothing(method):
    """It has no slope and another class: that the network still stands is not known."""
    result = borrowed(lambda z: 0 * z + F.one_hot(z.argmax(1) + 1, 3), method)
    assert not result.success.any()
    assert result.zero_gradient.all()
    assert measured(method.name, result)["bound"] is None


def test_a_loss_that_ends_where_the_surrogate_left_the_label_is_not_followed():
    result = borrowed(lambda z: z.roll(1, 1), CW(constants=2, iterations=10))
    assert not result.success.any()
    assert measured("cw", result)["bound"] is None


def test_deepfool_ends_where_the_network_under_attack_is_fooled():
    """The surrogate takes class 0 for 1 from the first; its slope, of 1 less 0, is that of the network."""
    result = borrowed(lambda z: z + torch.tensor([0.0, 5.0, 0.0]), DeepFool())
    assert result.success.all()


def test_an_offset_of_all_logits_hides_no_success():
    assert attacked(lambda z: z + 1e6).success.all()


def test_a_network_that_calls_numpy_is_attacked_in_its_own_type(monkeypatch):
    monkeypatch.setattr("ostrich.models.fastpath.gains_by_bf16", lambda _: True)
    result = attacked(
        lambda z: (z @ torch.eye(3)) + 0 * torch.from_numpy((z @ torch.eye(3)).detach().numpy())
    )
    assert result.success.all()


def test_a_network_that_takes_two_images_is_asked_about_two():
    def few(x):
        if len(x) > 2:
            raise RuntimeError("out of memory")
        return x

    assert attacked(lambda z: z, few).success.all()


class WithoutBackward(torch.autograd.Function):
    """A function of one's own whose way back was never written."""

    @staticmethod
    def forward(context, x):
        return 1 * x


def overwritten(x: Tensor) -> Tensor:
    """x, computed from what is overwritten afterwards: the way back misses it."""
    roots = x.sqrt()
    squares = roots * roots
    roots.zero_()
    return squares


def without_a_graph(x: Tensor) -> Tensor:
    if x.requires_grad:
        raise RuntimeError("the derivative of own::op is not implemented")
    return x


BROKEN_BACK = {
    "no backward": (WithoutBackward.apply, "must implement either the backward"),
    "changed in place": (overwritten, "modified by an inplace operation"),
    "no derivative": (without_a_graph, "derivative of own::op is not implemented"),
}


@pytest.mark.parametrize("name", BROKEN_BACK)
def test_a_network_that_fails_on_the_way_back_is_one_of_scores(name):
    before, said = BROKEN_BACK[name]
    network = seen(Means(lambda z: z, before))
    assert network.access == "scores"
    with pytest.raises(InputError, match=f"needs gradients; network gives no gradient .*{said}"):
        attacked(lambda z: z, before)
    assert attacked(lambda z: z, before, method=Square, queries=200).success.all()
    with pytest.raises(InputError, match=said):
        explain(Gradient(), network, torch.rand(1, 3, 8, 8), ["class:0"])


def test_weights_made_in_inference_mode_are_asked_for_scores():
    with torch.inference_mode():
        network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier = seen(network)
    assert classifier.access == "scores"
    assert classifier.predict(torch.rand(2, 3, 8, 8)).shape == (2, 3)


@pytest.mark.filterwarnings("ignore:None of the inputs")
def test_a_reentrant_checkpoint_is_refused_with_the_way_out():
    from torch.utils.checkpoint import checkpoint

    with pytest.raises(InputError, match="use_reentrant=False"):
        attacked(lambda z: z, lambda x: checkpoint(lambda y: y * 1, x, use_reentrant=True))


def test_what_rays_found_no_way_to_begin_with_is_not_known():
    """The class turns by a pattern of single values, which no ray of the first rounds has."""
    pattern = 1.0 - 2.0 * ((torch.arange(16)[:, None] + torch.arange(16)) % 2)

    def turned(images: Tensor) -> Tensor:
        part = (images.detach().double() * pattern).mean((1, 2, 3))
        return torch.stack([torch.full_like(part, 1.5 / 255), part], 1)

    model = Classifier(turned, size=(16, 16), channels=3)
    images = torch.full((3, 3, 16, 16), 128 / 255)
    with torch.no_grad():
        near = (images + 2 / 255 * pattern).clamp(0, 1)
        assert (model(near).argmax(1) == 1).all()  # a change of 2 of 255 is enough
    goal = Untargeted(torch.zeros(3, dtype=torch.int64))
    result = attack(RayS(queries=200), model, images, goal)
    assert not result.success.any()
    assert result.unattacked.all()
    assert measured("rays", result)["bound"] is None


def apart(count: int) -> tuple[Tensor, Tensor]:
    """Images (count, 3, 8, 8), none like another, of which the first channel leads by ten levels; labels."""
    images = (100 + torch.arange(count)).view(-1, 1, 1, 1).expand(-1, 3, 8, 8) / 255
    images = images + torch.tensor([10 / 255, 0, 0]).view(3, 1, 1)
    return (images * 255).round() / 255, torch.zeros(count, dtype=torch.int64)


FITTED = {
    "universal": {"eps": 16 / 255, "epochs": 2},
    "generator": {"eps": 16 / 255, "epochs": 2},
    "patch": {"eps": 0.3, "epochs": 2, "target": 1},
    "deepfool": {"eps": 16 / 255, "epochs": 2, "algorithm": "deepfool"},
}


@pytest.mark.parametrize("name", FITTED)
def test_what_is_fitted_without_a_gradient_is_not_known(name):
    method, (images, labels) = "universal" if name == "deepfool" else name, apart(16)
    votes = seen(Means(lambda z: F.one_hot(z.argmax(1), 3).float()))
    found = ostrich.attack(method, votes, images, labels, **FITTED[name])
    figures = found.figures
    assert (figures["robust_accuracy"], figures["bound"], figures["zero_gradient"]) == (1.0, None, 8)
    assert figures["reason"] == "8 images stand whose gradient was zero or not finite"
    others = seen(Means(lambda z: z))
    again = ostrich.attack(method, others, images, labels, artefact=found.artefact).figures
    assert again["bound"] is None or again["robust_accuracy"] == 0  # it has learned nothing to judge by
    sloped = ostrich.attack(method, others, images, labels, **FITTED[name])
    assert (sloped.figures["bound"], sloped.figures["zero_gradient"]) == ("upper", 0)
    assert "zero_gradient" not in sloped.artefact.facts


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (lambda z: z + 0.1 * torch.randn_like(z), "its answers are random"),
        (lambda z: z - z.mean(0), "the answer to an image depends on the others"),
    ],
    ids=["random", "by neighbours"],
)
def test_an_artefact_is_judged_as_any_attack_is(after, reason):
    images, labels = apart(16)
    found = ostrich.attack("universal", seen(Means(after)), images, labels, eps=1 / 255, epochs=1).figures
    assert found["bound"] is None
    assert found["reason"].startswith(reason)


def test_a_fitting_by_a_wrong_surrogate_without_a_slope_is_not_known():
    images, labels = apart(16)
    wrong = seen(Means(lambda z: F.one_hot(z.argmin(1), 3).float()))
    right = seen(Means(lambda z: z))
    found = ostrich.attack("universal", right, images, labels, surrogate=wrong, eps=16 / 255, epochs=2)
    assert (found.figures["bound"], found.figures["zero_gradient"]) == (None, 8)


def test_a_random_target_is_a_class_that_is_on():
    """Of five classes two are masked: neither the least likely one nor a random one is one of these."""
    images, labels = apart(12)
    masked = seen(Means(lambda z: torch.cat([z, torch.full((len(z), 2), -1e9)], 1)))
    for target in ("least-likely", "random"):
        goal = targets.goal(masked, images, labels, target, 0)
        assert set(goal.classes.tolist()) <= {1, 2}, target
        result = ostrich.attack("pgd", masked, images, labels, target=target, eps=16 / 255)
        assert result.success.all(), target
    assert set(targets.goal(masked, images, labels, "random", 0).classes.tolist()) == {1, 2}


def test_the_one_target_of_all_views_is_a_class_that_is_on():
    images, labels = apart(4)
    masked = seen(Means(lambda z: torch.cat([z, torch.full((len(z), 2), -1e9)], 1)))
    views = CleanImages(ostrich.data.Samples.of(images), images, labels, labels)
    for target in ("least-likely", "random"):
        assert {choose_target(views, masked, target, seed) for seed in range(8)} <= {1, 2}, target


def test_where_nothing_is_masked_a_random_target_is_a_step_from_the_label():
    images, labels = nets.random_images(70), torch.arange(70) % 5
    steps = [key % 4 + 1 for key in fingerprints(images)]
    found = targets.goal(nets.small(), images, labels, "random", 0).classes
    assert torch.equal(found, (labels + torch.tensor(steps)) % 5)


def test_another_class_is_chosen_of_those_that_are_on():
    off = torch.tensor([[False, True, False, False], [False, True, True, True]])
    found = [targets.another(torch.tensor([2, 0]), off, [key, key]).tolist() for key in range(4)]
    assert [first for first, _ in found] == [3, 0, 3, 0]
    assert [second for _, second in found] == [1, 2, 3, 1]  # one class alone: then all are possible
