"""Small networks for tests, and a classifier whose every forward is counted."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ostrich
from ostrich.models.residual import SmallNet

CALLS: list[int] = []  # batch sizes of the forwards of every `Counting` network


class Counting(nn.Module):
    """A small network that cannot be traced, so its copies count too."""

    def __init__(self, channels: int = 3, num_classes: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        assert float(x.detach().sum()) == float(x.detach().sum()), "NaN"  # a tracer stops here
        CALLS.append(x.size(0))
        return self.head(F.relu(self.norm(self.conv(x))).mean((2, 3)))


def small(
    seed: int = 0,
    *,
    num_classes: int = 5,
    channels: int = 3,
    size: tuple[int, int] = (16, 16),
    dtype: torch.dtype = torch.float32,
) -> ostrich.Classifier:
    """A random residual network with batch-norm statistics that are not trivial."""
    torch.manual_seed(seed)
    network = SmallNet(8, num_classes=num_classes, channels=channels, width=0.5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    network.linear.weight.data.mul_(4)
    return ostrich.Classifier(network.to(dtype).eval(), name="small", size=size, mean=(0.5,), std=(0.25,))


def linear(
    weights: Tensor, size: tuple[int, int], channels: int, bias: Tensor | None = None
) -> ostrich.Classifier:
    """A linear classifier with given weights (K, C*H*W): its optimum is known."""
    layer = nn.Linear(weights.shape[1], weights.shape[0]).to(weights.dtype)
    layer.weight.data, layer.bias.data = (
        weights.clone(),
        torch.zeros_like(weights[:, 0]) if bias is None else bias,
    )
    network = nn.Sequential(nn.Flatten(), layer)
    return ostrich.Classifier(network, name="linear", size=size, channels=channels)


def random_images(
    count: int,
    size: tuple[int, int] = (16, 16),
    channels: int = 3,
    seed: int = 1,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Images on the 8-bit grid."""
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 256, (count, channels, *size), generator=generator)
    return levels.to(dtype) / 255


def predictions(classifier: ostrich.Classifier, images: Tensor) -> Tensor:
    with torch.no_grad():
        return classifier(images).argmax(1)


def state(network: nn.Module) -> list[object]:
    """All that could be left behind, in the network and in torch."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [
        [(id(module), type(module), module.training) for module in network.modules()],
        [len(getattr(module, hook)) for module in network.modules() for hook in hooks],
        [(id(p), p.data_ptr(), p.requires_grad, p._version, id(p.grad)) for p in network.parameters()],
        [(id(b), b.data_ptr(), b._version) for b in network.buffers()],
        torch.is_grad_enabled(),
        torch._C._len_torch_function_stack(),
        torch.get_rng_state().tolist(),
    ]


def stack(activation: type[nn.Module] = nn.ReLU, size: tuple[int, int] = (24, 32)) -> ostrich.Classifier:
    """Convolution 3x3, convolution 5x5 with stride 2, pooling 2x2, a linear head."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        activation(),
        nn.Conv2d(4, 6, 5, stride=2, padding=2),
        activation(),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )
    return ostrich.Classifier(network.eval(), name="stack", size=size)


class Dropping(nn.Module):
    """Its answers are random: a function of torch's drops half of the channels, also in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 8, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(F.dropout(torch.relu(self.conv(x)), 0.5, training=True).mean((2, 3)))


def random_answers(size: tuple[int, int] = (12, 12)) -> ostrich.Classifier:
    """A network with random answers."""
    torch.manual_seed(0)
    return ostrich.load(Dropping().eval(), size=size)
