"""How a layer's output lies on the image, and which of its axes holds the features.

An output has one of these forms, without the batch; C are its features, which a unit counts:

    (C,)        features alone
    (C, h, w)   channels first: a convolution's map
    (h, w, C)   channels last, as some transformers have between their stages
    (T, C)      tokens: h*w of them, after at most MOST_PREFIX that stand for no place (class, registers)
    (C, T)      a map of h*w places, flattened

The grid of tokens is found where h:w is the image's own H:W, or given. What decides is, in this order:
the module, where it is one that is known to work on a certain axis; the last such module before it that
returned the same shape, since an activation keeps what it is given (`Axes`); the map's proportions; the
modules inside of it; and whether the network has any layer for tokens. What they leave open is refused, and
so is a map of features last where only convolutions are known, so that a token or a row is never taken for
a channel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ostrich.errors import InputError

MOST_PREFIX = 8
ALIKE = math.log(2)  # how far, as a factor, a map's shape may be from the image's for its form to be plain
CLEARLY = math.log(1.5)  # how much nearer to the image's shape one reading is than the other, to be taken
FIRST, LAST = 0, -1  # the axis of the features
MAPS = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.GroupNorm, nn.MaxPool2d, nn.AvgPool2d, nn.Upsample)
POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
LINES = (nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d, nn.AvgPool1d)
ROWS = (nn.Linear, nn.LayerNorm, nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)


@dataclass(frozen=True)
class Grid:
    """How a layer's output lies on the image: `form` is one of those above; `size` (h, w)."""

    form: str
    size: tuple[int, int]

    def lay(self, output: Tensor) -> Tensor:
        """An output (N, ...), or gradients with respect to one, as (N, C, h, w)."""
        if self.form == "tokens":
            output = output[:, output.shape[1] - math.prod(self.size) :].unflatten(1, self.size)
        if self.form == "flattened":
            return output.unflatten(2, self.size)
        return output if self.form == "channels first" else output.movedim(-1, 1)


@dataclass(frozen=True)
class Layout:
    """How many `features` an output has, on which `axis`; its `grid`, where it lies on the image."""

    features: int
    axis: int
    grid: Grid | None = None

    def lay(self, output: Tensor) -> Tensor:
        """An output (N, ...) as (N, C, h, w); where there is no grid (N, C, ...)."""
        return self.grid.lay(output) if self.grid else output.movedim(self.axis, 1) if self.axis else output

    def __str__(self) -> str:
        if self.grid is None:
            return f"{self.features} features"
        name = "channels" if self.axis == FIRST else "features"
        return f"{self.features} {name} at {self.grid.size[0]}x{self.grid.size[1]} places"


class Axes:
    """A context that notes on which axis a forward's modules leave their features, by the output's shape.

    Only those are noted that are known to work on a certain axis. Of a shape that came out both ways nothing
    is known. A linear layer of two axes is left out: some mix tokens, which are its last axis then.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._found: dict[tuple[int, ...], int | None] = {}
        self._handles: list[RemovableHandle] = []

    def of(self, output: Tensor) -> int | None:
        """The axis of an output (N, ...) at this point of the forward; None where it is open."""
        return self._found.get(tuple(output.shape[1:]))

    def _note(self, module: nn.Module, _inputs: object, output: object) -> None:
        if not isinstance(output, Tensor) or not 3 <= output.ndim <= 4:
            return
        axis, own = _known(module, output.ndim - 1), tuple(output.shape[1:])
        if axis is not None and not (isinstance(module, nn.Linear) and output.ndim == 3):
            self._found[own] = axis if self._found.get(own, axis) == axis else None

    def __enter__(self) -> Axes:
        known = [part for part in self.network.modules() if is_known(part)]
        self._handles = [part.register_forward_hook(self._note) for part in known]
        return self

    def __exit__(self, *_raised: object) -> None:
        for handle in self._handles:
            handle.remove()


def layout_of(
    network: nn.Module,
    layer: str,
    shape: Sequence[int],
    images: Sequence[int],
    given: tuple[int, int] | None = None,
    module: nn.Module | None = None,
    axis: int | None = None,
) -> Layout:
    """The layout of a layer's output of `shape` (N, ...) for `images` (N, C, H, W).

    `given` is the grid of its tokens, where it is known; `module` what made the output, where that is not
    the layer itself; `axis` what `Axes` says of it. Raises InputError where the rows are no images,
    or where nothing says which axis holds the features.
    """
    size, own = (images[-2], images[-1]), tuple(shape[1:])
    if not shape or shape[0] != images[0]:
        raise InputError(
            f"Layer {layer!r} returns {shape[0] if shape else 'no'} rows for {images[0]} images, as layers "
            "inside windows of attention do: none of them is an image. Name the layer around it."
        )
    if len(own) < 2:
        return Layout(own[0] if own else 0, FIRST)
    made_by = module or network.get_submodule(layer)
    axis = None if len(own) > 3 else _axis(network, made_by, own, size, given, axis)
    if axis is None:
        raise InputError(
            f"Layer {layer!r} returns {own} for an image, and nothing says which of these are its features: "
            "name a convolution, a linear layer or a normalisation before or after it."
        )
    return Layout(own[axis], axis, _grid(own, axis, size, given))


def _axis(
    network: nn.Module,
    module: nn.Module,
    shape: tuple[int, ...],
    image: tuple[int, int],
    given: tuple[int, int] | None,
    kept: int | None,
) -> int | None:
    """Which axis of an output (A, B) or (A, B, C) holds the features; None where nothing says so."""
    if (known := _known(module, len(shape))) is not None:
        return known
    if kept is not None:
        return kept
    parts = [part for part in network.modules() if not isinstance(part, nn.Linear)]
    tokens = any(_known(part, 2) == LAST for part in parts)
    if len(shape) == 2:
        last, flat = tokens_on(shape[0], image, given) is not None, tokens_on(shape[1], image, given)
        first = flat is not None and math.prod(flat.size) == shape[1]
    elif given is not None:
        first, last = shape[1:] == given, shape[:2] == given
    else:
        away, other = _distance(shape[1:], image), _distance(shape[:2], image)
        first, last = away <= min(ALIKE, other - CLEARLY), other <= min(ALIKE, away - CLEARLY)
        if last and not tokens and any(_known(part, 3) == FIRST for part in parts):
            return None  # a map of channels may have got such a shape by strides that differ by axis
    if first != last:
        return FIRST if first else LAST
    inside = {_known(part, len(shape)) for part in module.modules()} - {None}
    if len(inside) == 1:
        return inside.pop()
    if not tokens:
        return FIRST if len(shape) == 3 else None
    return LAST if len(shape) == 2 else None


def is_known(module: nn.Module) -> bool:
    """Whether a module is one of those that are known to work on a certain axis."""
    return any(_known(module, axes) is not None for axes in (2, 3))


def _known(module: nn.Module, axes: int) -> int | None:
    """The axis that a module works on by what it is, for outputs of so many axes; None where it is open."""
    if isinstance(module, nn.Flatten):
        return FIRST if module.start_dim == 2 else None
    if isinstance(module, (*MAPS, *POOLS) if axes == 3 else LINES):
        return FIRST
    return LAST if any(isinstance(module, kind) and _is_own(module, kind) for kind in ROWS) else None


def _is_own(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module computes what its kind does: some layer normalisations are of maps."""
    return type(module).forward is kind.forward


def _grid(
    shape: tuple[int, ...], axis: int, image: tuple[int, int], given: tuple[int, int] | None
) -> Grid | None:
    """The grid of an output whose features are on `axis`."""
    if len(shape) == 3:
        rest = shape[1:] if axis == FIRST else shape[:2]
        grid = Grid("channels first" if axis == FIRST else "channels last", (rest[0], rest[1]))
        if given is not None:
            return grid if grid.size == given else None
        return grid if axis == FIRST or _distance(grid.size, image) <= ALIKE else None
    grid_of_rows = tokens_on(shape[1 if axis == FIRST else 0], image, given)
    if grid_of_rows is None or axis == LAST:
        return grid_of_rows
    return Grid("flattened", grid_of_rows.size) if math.prod(grid_of_rows.size) == shape[1] else None


def tokens_on(count: int, image: tuple[int, int], given: tuple[int, int] | None = None) -> Grid | None:
    """The grid of so many tokens over an image (H, W), where there is one."""
    for size in [given] if given is not None else _shapes(count, image):
        if 0 <= count - math.prod(size) <= MOST_PREFIX:
            return Grid("tokens", size)
    return None


def _shapes(tokens: int, image: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Grids with the image's proportions, the one that leaves fewest tokens over first."""
    divisor = math.gcd(*image)
    tall, wide = image[0] // divisor, image[1] // divisor
    for over in range(MOST_PREFIX + 1):
        times = math.isqrt(max(0, tokens - over) // (tall * wide))
        if times and times * tall * times * wide == tokens - over and tokens - over > 1:
            yield times * tall, times * wide


def _distance(size: Sequence[int], image: tuple[int, int]) -> float:
    """How far a map's proportions h:w are from the image's, as the logarithm of a factor."""
    return abs(math.log(size[0] * image[1] / (size[1] * image[0])))
