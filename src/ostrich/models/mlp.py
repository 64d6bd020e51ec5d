"""A multilayer perceptron with dropout (Srivastava et al. 2014, "Dropout", section 6.1.1).

    fc1 .. fcN  `hidden` units each, ReLU, dropout
    out         K outputs

The paper's networks for MNIST have 2 or 3 hidden layers of 1024 ReLU units; it drops half of the hidden
units and a fifth of the pixels. Its p is the probability to keep a unit, PyTorch's that to drop it:
here, as in PyTorch, `dropout` and `input_dropout` drop.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from ostrich.errors import InputError


def mlp(
    num_classes: int = 10,
    channels: int = 1,
    width: float = 1.0,
    size: tuple[int, int] = (28, 28),
    hidden: int = 1024,
    layers: int = 2,
    dropout: float = 0.0,
    input_dropout: float = 0.0,
) -> nn.Sequential:
    """Normalised images (N, C, H, W) of `size` to logits (N, K). `width` multiplies the units."""
    units = max(1, round(hidden * width))
    if num_classes < 1 or channels < 1 or width <= 0 or hidden < 1 or layers < 1:
        raise InputError("Classes, channels, hidden and layers are at least 1, width above 0.")
    if not (0 <= dropout < 1 and 0 <= input_dropout < 1):
        raise InputError(f"Dropout drops a share from 0 to below 1; got {dropout} and {input_dropout}.")
    parts: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    if input_dropout:
        parts["drop0"] = nn.Dropout(input_dropout)
    features = channels * size[0] * size[1]
    for i in range(1, layers + 1):
        parts |= {f"fc{i}": nn.Linear(features, units), f"relu{i}": nn.ReLU()}
        if dropout:
            parts[f"drop{i}"] = nn.Dropout(dropout)
        features = units
    parts["out"] = nn.Linear(features, num_classes)
    for module in parts.values():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)  # variance 2 / fan_in (He 2015, eq. 10)
            nn.init.zeros_(module.bias)
    return nn.Sequential(parts)
