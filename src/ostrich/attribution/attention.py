"""Attention between tokens, seen as the network computes it, in whatever form it is written.

A function mode sees `scaled_dot_product_attention`, of whose weights it computes what is not handed out;
`nn.MultiheadAttention`, which it asks for its weights; and a softmax over the last axis of a square
that is then multiplied with the values. Nothing that the network computes is replaced.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

FUSED, MULTI_HEAD, SOFTMAX = "scaled_dot_product_attention", "multi_head_attention_forward", "softmax"
PRODUCTS = frozenset(("baddbmm", "bmm", "einsum", "matmul"))
PASSING = frozenset(
    ("clone", "contiguous", "dropout", "flatten", "float", "reshape", "to", "type_as", "view")
)


class Attention(TorchFunctionMode):
    """A context that collects the weights (..., T, S) of every attention, and what came of the last one.

    `weights` are as they were computed, of `nn.MultiheadAttention` the mean of its heads (N, T, S);
    `output` is the last attention's result.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Tensor] = []
        self.output: Tensor | None = None
        self._rows_first = False
        self._open: dict[int, tuple[Tensor, Tensor]] = {}  # softmaxes, and what was made of them, by id

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").partition(".")[0].strip("_")
        output = func(*args, **kwargs)
        if name == FUSED:
            self._saw(_fused(*args, **kwargs), output)
        elif name == MULTI_HEAD:
            self._saw(_of_heads(func, args, kwargs), output[0], rows_first=True)
        elif name == SOFTMAX and isinstance(output, Tensor) and _over_last(output, args, kwargs):
            self._open[id(output)] = output, output
        elif name in PASSING and args and id(args[0]) in self._open and isinstance(output, Tensor):
            self._open[id(output)] = output, self._open[id(args[0])][1]
        elif name in PRODUCTS:
            for one in args:
                if id(one) in self._open:
                    self._saw(self._open[id(one)][1], output)
                    self._open.clear()
                    break
        return output

    def __exit__(self, *raised: Any) -> None:
        self._open.clear()
        super().__exit__(*raised)

    def axis(self, count: int) -> int:
        """Which axis of the last result holds its `count` tokens."""
        assert self.output is not None
        if self._rows_first:  # (T, N, D), as multi_head_attention_forward has it
            return 0
        shape = self.output.shape
        return len(shape) - 2 if shape[-2] == count else shape.index(count, 1)

    def _saw(self, weights: Tensor, output: Tensor, *, rows_first: bool = False) -> None:
        self.weights.append(weights.detach())
        self.output, self._rows_first = output, rows_first


def _over_last(output: Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a softmax is one over the last axis of a square, as of tokens by tokens."""
    axis = args[1] if len(args) > 1 else kwargs.get("dim")
    return output.ndim > 2 and axis in (-1, output.ndim - 1) and output.shape[-1] == output.shape[-2]


@torch.no_grad()
def _fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """The weights (..., T, S) of fused attention: softmax(q k^T scale + mask)."""
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
    scores = query @ key.mT * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    return scores.softmax(-1)


@torch.no_grad()
def _of_heads(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """The weights (N, T, S) of `nn.MultiheadAttention`, the mean of its heads."""
    bound = inspect.signature(func).bind(*args, **kwargs)
    bound.arguments |= {"need_weights": True, "average_attn_weights": True}
    weights: Tensor = func(*bound.args, **bound.kwargs)[1]
    return weights
