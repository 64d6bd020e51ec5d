"""The doctor: each constructed fault is found by its own code, and sound networks are left in peace."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

import ostrich
from ostrich import data as datasets
from ostrich.cli.main import run
from ostrich.diagnosis import CHECKS, ModelUnderTest, batchnorm, classes, examine
from ostrich.diagnosis.gradients import masked, useless
from ostrich.diagnosis.model_under_test import NotApplicable
from ostrich.diagnosis.significance import agreement_test, clearly_better, sign_test

# The subject: a good network for small digits, and what can be made wrong about it ------------------

DIGITS = ostrich.load("zoo:digits-cnn", device="cpu")
OWN = {"mean": DIGITS.mean, "std": DIGITS.std}


def digits(limit: int = 120) -> tuple[Tensor, Tensor]:
    samples = datasets.load(
        datasets.open_data("digits"), size=(8, 8), channels=1, class_names=DIGITS.class_names, limit=limit
    )
    assert samples.labels is not None
    return samples.images(), samples.labels


IMAGES, LABELS = digits()


class Wrapped(nn.Module):
    """The good network with something before and something after it."""

    def __init__(self, before=lambda x: x, after=lambda z: z, inner: nn.Module = DIGITS.network) -> None:
        super().__init__()
        self.inner, self.before, self.after = inner, before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.inner(self.before(x)))


def classifier(network, size=(8, 8), channels: int = 1, **options) -> ostrich.Classifier:
    return ostrich.Classifier(network, name="subject", size=size, channels=channels, **options)


def subject(before=lambda x: x, after=lambda z: z, **options) -> ostrich.Classifier:
    return classifier(Wrapped(before, after).eval(), **(OWN | options))


def codes(
    model: ostrich.Classifier, images: Tensor = IMAGES, labels: Tensor | None = LABELS, **options
) -> set[str]:
    found = examine(ModelUnderTest(classifier=model, images=images, labels=labels, **options))
    return {finding.code for finding in found.findings}


# Of the outputs -------------------------------------------------------------------------------------


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.05 * torch.randn_like(x)


def with_batch_norm(norm: nn.BatchNorm2d) -> ostrich.Classifier:
    """Batch norm after the second convolution, set so that with its running statistics it changes nothing."""
    norm.weight.data, norm.bias.data = (norm.running_var + norm.eps).sqrt(), norm.running_mean.clone()
    return classifier(nn.Sequential(*DIGITS.network[:3], norm, *DIGITS.network[3:]).eval(), **OWN)


def measured_norm() -> nn.BatchNorm2d:
    """Batch norm that has seen the images."""
    norm = nn.BatchNorm2d(32, momentum=None)
    with torch.no_grad():
        norm(DIGITS.network[:3](DIGITS.normalised(IMAGES)))
    return norm


class Always(nn.BatchNorm2d):
    """Cannot be taken out of training."""

    def train(self, mode: bool = True):
        return super().train(True)


def always_training() -> ostrich.Classifier:
    norm = Always(32, momentum=0.0)
    norm.load_state_dict(measured_norm().state_dict())
    return with_batch_norm(norm)


def foreign_statistics() -> ostrich.Classifier:
    """As if measured on images of five times the contrast."""
    model = with_batch_norm(measured_norm())
    model.network[3].running_var *= 25
    return model


def undefined(z: Tensor) -> Tensor:
    """NaN for the images that are seen as a one."""
    return torch.where((z.argmax(1) == 1)[:, None], torch.nan, z)


def dead(z: Tensor) -> Tensor:
    return torch.cat([z, torch.full_like(z[:, :1], -5.0)], 1)


OUTPUTS = {
    "not-finite-output": lambda: subject(after=undefined),
    "constant-output": lambda: subject(before=lambda x: x * 0 + 0.5),
    "dead-output": lambda: subject(after=dead),
    "softmax-as-logits": lambda: subject(after=lambda z: z.softmax(1)),
    "sigmoid-as-logits": lambda: subject(after=torch.sigmoid, output="logits"),
    "saturated-logits": lambda: subject(after=lambda z: 5 * z),
    "stochastic-output": lambda: classifier(nn.Sequential(Noisy(), DIGITS.network), **OWN),
    "batch-dependent-output": lambda: subject(before=lambda x: x - 0.3 * x.mean(0, keepdim=True)),
    "batch-norm-statistics": foreign_statistics,
}


@pytest.mark.parametrize("code", list(OUTPUTS))
def test_faults_of_the_outputs(code):
    assert codes(OUTPUTS[code]()) == {code}


def test_statistics_that_are_wrong_without_being_far():
    model = ostrich.load("zoo:toybox-resnet20", device="cpu")
    images, labels = ostrich.data.toybox("test", limit=128)

    def found(labels: Tensor | None) -> list:
        tested = ModelUnderTest(classifier=model, images=images, labels=labels)
        return examine(tested, only=["batch-norm statistics"]).findings

    assert found(labels) == []
    norms = [module for module in model.network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms[-4:]:  # of 19: the median of the layers is as it was
        norm.running_mean += 3 * norm.running_var.sqrt()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    (one,) = found(labels)
    assert one.code == "batch-norm-statistics"
    assert "batches of 32" in one.evidence
    assert all(torch.equal(before[k], v) for k, v in model.network.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.network.modules())
    assert found(None) == []  # nothing tells what is right


class Activated(nn.BatchNorm2d):
    """Batch norm, dropout and an activation in one layer, as timm's BatchNormAct2d."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(super().forward(x)).relu()


def test_layers_that_do_more_than_normalise_do_it_by_the_batch_too():
    torch.manual_seed(0)
    plain = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)
    )
    fused = nn.Sequential(plain[0], Activated(4), plain[3], plain[4]).eval()
    norms, x = [fused[1], fused[3]], torch.rand(8, 1, 8, 8)
    before = {name: value.clone() for name, value in fused.state_dict().items()}
    with torch.no_grad(), batchnorm.by_batch(norms):
        found = fused(x)
    assert all(torch.equal(before[name], value) for name, value in fused.state_dict().items())
    assert not any(module._forward_pre_hooks for module in fused.modules())
    torch.testing.assert_close(found, plain.train()(x))


def test_training_mode_left_on():
    dropping = subject(before=lambda x: F.dropout(x, 0.2))
    assert codes(dropping) == {"training-mode", "stochastic-output"}
    assert codes(always_training()) == {"training-mode", "batch-dependent-output"}
    assert codes(with_batch_norm(measured_norm())) == set()


def test_log_probabilities_are_harmless():
    assert codes(subject(after=lambda z: z.log_softmax(1))) == set()


# Of the input ---------------------------------------------------------------------------------------


class Red(nn.Module):
    """The good network reads the first of three channels."""

    def forward(self, x: Tensor) -> Tensor:
        return DIGITS.network(x[:, :1])


COLOURED = torch.cat([IMAGES, 0 * IMAGES + 0.25, IMAGES.flip(0)], 1)  # blue: the digit of another image


def in_colour(before=lambda x: x, **options) -> ostrich.Classifier:
    return classifier(Wrapped(before, inner=Red()).eval(), channels=3, **(OWN | options))


def normalise(x: Tensor) -> Tensor:
    return (x - OWN["mean"][0]) / OWN["std"][0]


def twice_inside() -> ostrich.Classifier:
    """Normalises its input twice by itself."""
    plain = ostrich.load("zoo:toybox-plain14", device="cpu")
    inside = Wrapped(lambda x: plain.normalised(plain.normalised(x)), inner=plain.network)
    return classifier(inside.eval(), (64, 64), 3)


NOTHING = {"mean": None, "std": None}
SCENES = ostrich.data.toybox("test", limit=48)
INPUT = [
    ("wrong-channel-order", lambda: in_colour(lambda x: x.flip(1)), COLOURED),
    ("missing-normalization", lambda: in_colour(**NOTHING), COLOURED),
    ("missing-normalization", lambda: classifier(DIGITS.network), IMAGES),
    ("wrong-normalization", lambda: in_colour(mean=(0.9,), std=(2.0,)), COLOURED),
    ("double-normalization", lambda: subject(normalise), IMAGES),
    ("double-normalization", twice_inside, SCENES),
    ("wrong-input-range", lambda: in_colour(lambda x: normalise(x / 255), **NOTHING), COLOURED),
]


@pytest.mark.parametrize(
    ("code", "make", "images"), INPUT, ids=[f"{i}-{row[0]}" for i, row in enumerate(INPUT)]
)
def test_faults_of_the_input(code, make, images):
    images, labels = images if images is SCENES else (images, LABELS)
    assert codes(make(), images, labels) == {code}


def test_the_same_input_networks_are_sound_when_fed_right():
    assert codes(in_colour(), COLOURED) == set()
    assert codes(in_colour(normalise, **NOTHING), COLOURED) == set()
    assert codes(subject(normalise, **NOTHING)) == set()
    # (x - 0.5) / 0.5 from what was normalised for ImageNet, as torchvision's inception does: no second time
    again = subject(lambda x: x * (0.226 / 0.5) + (0.449 - 0.5) / 0.5, mean=(0.449,), std=(0.226,))
    assert codes(again) == set()


def test_without_labels_confidence_speaks():
    assert codes(subject(mean=(0.0,), std=(4.0,)), labels=None) == {"wrong-normalization"}
    assert codes(subject(), labels=None) == set()
    wide = in_colour(lambda x: normalise(x / 255), mean=(0.0,), std=(1 / 255,))  # right for 0..255
    assert codes(wide, COLOURED, None) == set()
    assert codes(reordered([3, 7, 1, 9, 0, 2, 8, 5, 6, 4]), labels=None) == set()


# Of the classes -------------------------------------------------------------------------------------


def reordered(order: list[int]) -> ostrich.Classifier:
    return subject(after=lambda z: z[:, order])


@pytest.mark.parametrize(
    "order",
    [[*range(1, 10), 0], [*range(9, -1, -1)], [3, 7, 1, 9, 0, 2, 8, 5, 6, 4], [1, 0, 3, 2, *range(4, 10)]],
)
def test_a_wrong_order_of_the_classes(order):
    assert codes(reordered(order)) == {"wrong-class-order"}


def test_an_order_that_is_right_by_chance_is_none():
    """An untrained network is better than chance under some order; the doctor does not take it for one."""
    torch.manual_seed(0)
    untrained = classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval(), **OWN)
    assert codes(untrained) == {"wrong-head"}


UNEQUAL = torch.tensor([0] * 12 + [1] * 48)


def of_two(answer) -> ostrich.Classifier:
    """A network of two classes: `answer` of the mean (N,) of the images is the score of the second."""
    return classifier(Wrapped(lambda x: x.mean((1, 2, 3)), answer, nn.Identity()).eval())


def second(z: Tensor) -> Tensor:
    return torch.stack([-z, z], 1)


@pytest.mark.parametrize(
    "answer",
    [
        lambda z: second(1e-3 * z - 1),
        lambda z: second(z - 0.99),
        lambda z: second(torch.where(z > 1, 1.0, -1.0) + 1e-3 * z),  # one that 0..255 turns
    ],
)
def test_an_untrained_head_on_unequal_classes_has_no_better_order_or_input(answer):
    """It says the rarer class of everything: 20 % right, and 80 % under whatever makes it say the other."""
    images = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255
    tested = ModelUnderTest(classifier=of_two(answer), images=images, labels=UNEQUAL)
    found = examine(tested, only=["class order", "other inputs", "other preprocessing", "the head"]).findings
    assert [one.code for one in found] == ["wrong-head"]
    assert (
        "20.0% right; the same answers dealt out by chance reach 20.0% (n = 60, p = 1)" in found[0].evidence
    )


def test_a_head_that_tells_a_rare_class_is_no_wrong_one():
    """11 of 12 and 225 of 244: right less often than to say the frequent class of everything."""
    labels = torch.tensor([0] * 12 + [1] * 244)
    level = torch.where(labels == 1, 0.7, 0.3)
    level[0], level[12:31] = 0.7, 0.3
    images = level.view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
    model = of_two(lambda z: second(z - 0.5))
    assert (model(images).argmax(1) == labels).float().mean() < 244 / 256
    names = ["class order", "other inputs", "other preprocessing", "the head"]
    tested = ModelUnderTest(classifier=model, images=images, labels=labels)
    assert examine(tested, only=names).findings == []
    reversed_ = ModelUnderTest(classifier=of_two(lambda z: second(0.5 - z)), images=images, labels=labels)
    assert [one.code for one in examine(reversed_, only=names).findings] == ["wrong-class-order"]
    one_class = ModelUnderTest(classifier=model, images=images[12:], labels=labels[12:])
    (skipped,) = examine(one_class, only=["the head"]).skipped
    assert "Nearly all images are of one class" in skipped["reason"]


def test_few_classes_and_a_linear_network():
    """A linear network has a constant gradient by right; two classes are a matter of the DLR loss alone."""
    torch.manual_seed(0)
    for count in (2, 3, 4):
        network = classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, count)).eval())
        found = ostrich.doctor(network, IMAGES)
        assert found.passed
        assert found.findings == []
        assert [one.code for one in found.remarks] == (["too-few-classes-for-dlr"] if count < 4 else [])
        assert ("remarks" in found.figures) == (count < 4)


# Of the gradients -----------------------------------------------------------------------------------


class Derivative(torch.autograd.Function):
    """The image itself, with a derivative of one's own."""

    @staticmethod
    def forward(ctx, x, change):
        ctx.change = change
        return x.clone()

    @staticmethod
    def backward(ctx, above):
        return ctx.change(above), None


def derivative(change):
    return lambda x: Derivative.apply(x, change)


def rounded(steps: int):
    """Normalised images in so many steps."""
    return lambda x: normalise(((x * OWN["std"][0] + OWN["mean"][0]) * steps).round() / steps)


def straight_through(steps: int):
    return lambda x: x + (rounded(steps)(x) - x).detach()


def distance_to_itself(x: Tensor) -> Tensor:
    return x + (x - x).pow(2).sum((1, 2, 3), keepdim=True).sqrt()


GRADIENTS = [
    (lambda: subject(lambda x: x.detach()), {"zero-gradient"}),
    (lambda: subject(lambda x: x.detach() + 0 * x), {"zero-gradient"}),
    (lambda: subject(distance_to_itself), {"nan-gradient"}),
    (lambda: subject(derivative(torch.ones_like)), {"constant-gradient"}),
    (lambda: subject(derivative(torch.neg)), {"masked-gradient", "unbounded-attack-fails"}),
    (lambda: subject(rounded(15)), {"quantized-input", "zero-gradient"}),
    (lambda: subject(rounded(255)), {"quantized-input", "zero-gradient"}),
    (lambda: subject(straight_through(15)), {"quantized-input"}),
    (lambda: subject(straight_through(255)), set()),  # steps of a file, and a gradient through them
]


@pytest.mark.parametrize(("make", "expected"), GRADIENTS)
def test_faults_of_the_gradients(make, expected):
    assert codes(make()) == expected


@pytest.mark.parametrize("kind", ["bfloat16", "noisy"])
def test_a_linear_network_bends_by_rounding_or_noise_alone(kind):
    """So its gradient, the same for every image, is no fault."""
    means = nn.Linear(64, 4, bias=False)
    with torch.no_grad():
        means.weight.copy_(torch.eye(4).repeat_interleave(16, 1) * 20 / 16)
    linear = nn.Sequential(nn.Flatten(), means)
    network = linear.bfloat16() if kind == "bfloat16" else nn.Sequential(Noisy(), linear)
    model = ModelUnderTest(classifier=classifier(network.eval()), images=IMAGES[:16])
    assert not list(useless(model))


class Means(nn.Module):
    """20 times each pixel, and the mean of every two rows of them."""

    def __init__(self, lies: bool) -> None:
        super().__init__()
        self.weight, self.lies = nn.Parameter(torch.tensor(20.0)), lies

    def forward(self, x: Tensor) -> Tensor:
        means = (self.weight * x).view(len(x), 4, 16).mean(2)
        return Backwards.apply(means) if self.lies else means


class Backwards(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return x.clone()

    @staticmethod
    def backward(_, given):
        return -given


@pytest.mark.parametrize(
    ("kind", "level"), [("bfloat16", 120 / 255), ("float16", 120 / 255), ("float16", 0.05)]
)
def test_half_precision_is_no_masked_gradient_and_hides_none(kind, level):
    """A score of half precision moves by steps that may be larger than what a gradient tells."""
    flat = torch.full((16, 1, 8, 8), level)
    flat[range(16), 0, torch.arange(16) % 4 * 2] += 12 / 255
    network, lying = (Means(lies).to(getattr(torch, kind)).eval() for lies in (False, True))
    under_test = [ModelUnderTest(classifier=classifier(one), images=flat) for one in (network, lying)]
    try:
        assert not list(masked(under_test[0]))
        assert [one.code for one in masked(under_test[1])] == ["masked-gradient"]
    except NotApplicable:
        assert kind == "bfloat16"


def test_a_function_is_looked_at_without_gradients():
    exact = subject().network
    for before, expected in ((lambda x: x, set()), (rounded(15), {"quantized-input"}), (rounded(255), set())):
        model = classifier(lambda x, before=before: exact(before(x)).numpy(), **OWN)
        assert codes(model) == expected
    by_labels = classifier(lambda x: exact(x).argmax(1).numpy(), class_names=DIGITS.class_names, **OWN)
    assert codes(by_labels) == set()
    lost = classifier(by_labels.network, class_names=DIGITS.class_names, mean=(0.9,), std=(2.0,))
    assert codes(lost) == {"wrong-normalization"}


# Of a robustness figure -----------------------------------------------------------------------------

LARGE = IMAGES.repeat_interleave(2, 2).repeat_interleave(2, 3)  # (n, 1, 16, 16), each pixel four times


class Fragile(nn.Module):
    """The good network on blocks of four pixels, and a pull towards class 0 by what differs inside them.

    `change` is a derivative of its own; `limit` a size of that difference above which it is smoothed away;
    `patience` the gradients after which it points the other way, until it sees undisturbed images again.
    """

    def __init__(self, pull: float = 30.0, change=None, limit=None, patience=None) -> None:
        super().__init__()
        self.inner, self.pull, self.asked = DIGITS.network, pull, 0
        self.change, self.limit, self.patience = change, limit, patience
        self.pattern = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)).sign()

    def forward(self, x: Tensor) -> Tensor:
        if self.change is not None:
            x = Derivative.apply(x, self.change)
        if self.patience is not None and x.requires_grad:
            self.asked += 1
            x = Derivative.apply(x, torch.neg) if self.asked > self.patience else x
        coarse = F.avg_pool2d(x, 2)
        fine = x - F.interpolate(coarse, scale_factor=2)
        if fine.abs().amax() < 1e-6:
            self.asked = 0
        pull = self.pull * (self.pattern * fine).sum((1, 2, 3))
        if self.limit is not None:
            pull = torch.where(fine.abs().amax((1, 2, 3)) > self.limit, 0 * pull, pull)
        return torch.cat([pull[:, None], 0 * pull[:, None].expand(-1, 9)], 1) + 0.3 * self.inner(
            normalise(coarse)
        )


def fragile(**options) -> ostrich.Classifier:
    return classifier(Fragile(**options).eval(), (16, 16))


def test_figures_that_cannot_be_believed():
    assert codes(fragile(), LARGE, surrogate=fragile()) == set()
    backwards = codes(fragile(change=torch.neg), LARGE, surrogate=fragile())
    assert backwards == {
        "masked-gradient",
        "noise-beats-gradient",
        "unbounded-attack-fails",
        "black-box-beats-white-box",
        "transfer-beats-white-box",
    }


def test_more_steps_or_a_larger_budget_that_break_less():
    assert codes(fragile(limit=5 / 255), LARGE) == {"larger-budget-weaker"}
    assert codes(fragile(pull=2.0, patience=4), LARGE) == {"more-steps-weaker"}


def test_a_prediction_that_nothing_moves():
    bounded = subject(after=lambda z: 3 * torch.tanh(z / 3) + 8 * F.one_hot(torch.tensor(0), 10))
    assert codes(bounded) == {"unbounded-attack-fails", "wrong-head"}  # it says one class of everything


# The examination ------------------------------------------------------------------------------------


def test_every_code_of_the_table_is_found_here():
    from ostrich import diagnosis as doctor

    table = {line.split()[0] for line in (doctor.__doc__ or "").splitlines() if line.startswith("    ")}
    here = "".join(
        Path(__file__).with_name(name).read_text()
        for name in ("test_doctor.py", "test_first_aid.py", "test_classes_switched_off.py")
    )
    assert len(table) >= 25
    assert [code for code in table if f'"{code}"' not in here] == []
    named = set()
    for path in Path(doctor.__file__).parent.glob("*.py"):
        named |= {
            line.split('"')[1] for line in path.read_text().splitlines() if line.strip().startswith('code="')
        }
    assert named <= table


def test_the_network_is_left_as_it_was():
    model = fragile(change=torch.neg)
    model.network.train()
    model.network.inner[0].weight.requires_grad_(False)
    before = {k: v.clone() for k, v in model.network.state_dict().items()}
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    codes(model, LARGE)
    assert torch.equal(torch.rand(2), expected)
    assert all(module.training for module in model.network.modules())
    assert [p.requires_grad for p in model.network.parameters()] == [False] + [True] * 7
    assert all(p.grad is None for p in model.network.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.network.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.network.modules())
    model.network.inner[0].weight.requires_grad_(True)


def test_one_image_no_time_and_nothing_finite():
    assert codes(subject(), IMAGES[:1], LABELS[:1]) == set()
    model = ModelUnderTest(classifier=subject(), images=IMAGES, labels=LABELS)
    assert len(examine(model, minutes=0).skipped) == len(CHECKS)
    assert codes(subject(after=lambda z: z * torch.nan)) == {"not-finite-output"}


def test_the_sign_test():
    assert sign_test(0, 0) == 1
    assert sign_test(10, 0) == pytest.approx(2**-10)
    assert sign_test(3, 2) == pytest.approx((10 + 5 + 1) / 32)
    assert sign_test(1, 4) > 0.9


# The command and the report -------------------------------------------------------------------------


def test_agreement_is_that_of_fixed_margins():
    """Beside the hypergeometric distribution of two classes: 20 of 60 are 1, of which 12 of 25 are said."""
    labels = (torch.arange(60) < 20).long()
    said = ((torch.arange(60) < 12) | (torch.arange(60) >= 47)).long()
    exact = float(stats.hypergeom.sf(11, 60, 20, 25))
    assert agreement_test(said, labels) == pytest.approx(exact, abs=0.003)
    assert agreement_test(torch.ones(60), labels) == 1
    assert agreement_test(labels, labels) == 1e-4
    constant, wrong = torch.ones(60), torch.zeros(60)
    assert clearly_better(constant, wrong, 1 - labels) is None  # though it is right on 40 instead of 20
    assert clearly_better(labels, wrong, labels) == sign_test(20, 0)


def test_the_command(tmp_path, capsys):
    words = ["doctor", "zoo:digits-cnn", "digits", "--limit", "60", "--out"]
    assert run([*words, str(tmp_path / "sound"), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["findings"] == []
    content = json.loads((tmp_path / "sound/run.json").read_text())
    assert content["results"] == results
    assert content["finished"]
    assert run([*words, str(tmp_path / "faulty"), "--mean", "0.9", "--std", "3"]) == 0
    shown = capsys.readouterr().out
    (finding,) = json.loads((tmp_path / "faulty/run.json").read_text())["results"]["findings"]
    assert finding.keys() == {"code", "sentence", "evidence", "fix"}
    assert finding["code"] in shown
    assert all(isinstance(text, str) and text for text in finding.values())


def test_what_the_command_refuses(tmp_path, capsys):
    words = ["doctor", "zoo:digits-cnn", "digits", "--out", str(tmp_path / "out")]
    for more, message in (
        (["--surrogate", "zoo:toybox-plain14"], "3 channels and 10 classes"),
        (["--surrogate", "arch:digits-cnn,classes=3"], "3 classes"),
        (["--surrogate", "zoo:nothing"], "Unknown model"),
        (["--minutes", "0"], "above 0"),
    ):
        assert run([*words, *more]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_the_probe_of_the_report(tmp_path, capsys):
    words = ["zoo:digits-cnn", "digits", "--only", "doctor", "--limit", "60", "--json"]
    assert run(["check", *words, "--out", str(tmp_path / "sound")]) == 0
    assert json.loads(capsys.readouterr().out)["probes"]["doctor"]["findings"] == []
    assert run(["check", *words, "--mean", "0.9", "--std", "3", "--out", str(tmp_path / "faulty")]) == 0
    (finding,) = json.loads(capsys.readouterr().out)["probes"]["doctor"]["findings"]
    page = (tmp_path / "faulty/index.html").read_text()
    assert finding["code"] in page
    assert "--mean" in page


def test_a_check_in_the_middle_of_which_the_time_ends_is_left_out():
    def slow(logits):
        time.sleep(0.02)
        return logits

    model = ModelUnderTest(classifier=subject(after=slow), images=IMAGES, labels=LABELS)
    found = examine(model, minutes=0.5 / 60)
    assert found.done
    assert {one["reason"] for one in found.skipped if one["check"] == "an attack without bounds"} == {
        "The time was up."
    }
    assert found.seconds < 1.5


def test_trials_of_the_input_leave_time_for_the_gradients(monkeypatch):
    def slow(logits):
        time.sleep(0.005)
        return logits

    def endless(model):
        while True:
            model.scores(model.images[:1])

    (trials,) = [check for check in CHECKS if check.name == "other inputs"]
    monkeypatch.setattr("ostrich.diagnosis.checks.CHECKS", (replace(trials, run=endless), *CHECKS[2:3]))
    model = ModelUnderTest(classifier=subject(after=slow), images=IMAGES, labels=LABELS)
    found = examine(model, minutes=4 / 60)
    assert [one["check"] for one in found.skipped] == ["other inputs"]
    assert found.done == ["the same answer twice"]


@pytest.mark.parametrize("made", [True, False])
def test_a_score_that_stands_still_and_is_the_answer_is_not_dead(made):
    def two(z: Tensor) -> Tensor:
        one = z[:, :1] - z[:, 1:2]
        return one if made else torch.cat([torch.zeros_like(one), one], 1)

    assert "dead-output" not in codes(subject(after=two), labels=None)


class Head(nn.Module):
    """Batch norm that sees one value of each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = (
            nn.Conv2d(1, 8, 3),
            nn.BatchNorm1d(8, momentum=None),
            nn.Linear(8, 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x).mean((2, 3))))


@pytest.mark.parametrize("count", [33, 65])
def test_no_batch_of_one_is_asked_for_its_statistics(count):
    torch.manual_seed(0)
    images = torch.rand(count, 1, 8, 8) * torch.rand(count, 1, 1, 1)
    network = Head()
    network(images)
    tested = ModelUnderTest(
        classifier=classifier(network.eval()), images=images, labels=torch.arange(count) % 4
    )
    assert examine(tested, only=["batch-norm statistics"]).done == ["batch-norm statistics"]


def test_the_best_order_of_many_classes_is_that_of_those_that_occur(monkeypatch):
    sizes = []

    def watched(counts, **options):
        sizes.append(counts.shape)
        return linear_sum_assignment(counts, **options)

    monkeypatch.setattr("scipy.optimize.linear_sum_assignment", watched)
    labels = torch.arange(60) % 3 + 2000
    predictions = torch.where(labels == 2000, 2999, labels)
    meant = classes._assignment(labels, predictions, 3000)
    assert (meant[2999], meant[2000]) == (2000, 2999)
    assert (meant == torch.arange(3000)).sum() == 3000 - 2
    assert sizes == [(4, 4)]
