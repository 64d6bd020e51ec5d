"""A faster network with the same function, for gradients only.

Batch norm in evaluation mode is linear, so it is folded into the convolution before it; layouts
are channels-last; parameters are frozen; with precision "fast", convolutions run in bf16 where the
processor computes in it quicker than in fp32. Success is never decided here: see `attacks/engine/`.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, redirect_stderr
from functools import partial
from itertools import product
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.optimization import fuse

# Channels-last is faster; a network that takes a view of a map, as x.view(len(x), -1), refuses it.
LAYOUTS = (torch.channels_last, torch.contiguous_format)
AGREEMENT = 1e-3  # largest difference of outputs, relative to their scale, after folding in fp32
GRADIENTS = 0.05  # summed difference of gradients, relative: a derivative of the network's own is another one
DERIVATIVES = (torch.autograd.grad, torch.autograd.backward, "backward")  # as nodes of a graph name them

Answers = Callable[[Tensor, nn.Module], Tensor]  # scores (N, K) of inputs by a network
_State = tuple[tuple[Any, ...], tuple[float, ...]]
_copies: WeakKeyDictionary[nn.Module, tuple[_State, nn.Module]] = WeakKeyDictionary()


def faster(
    network: nn.Module, example: Tensor, answers: Answers = lambda inputs, network: network(inputs)
) -> tuple[nn.Module, int]:
    """A frozen copy of `network` (evaluation mode), batch norm folded, and the forwards it cost.

    `example` is a batch of inputs on which the copy's `answers` are compared with the original's: where the
    graph cannot be traced or outputs or gradients differ, the copy is not folded; where the network
    cannot be copied, it is returned itself. Gradients can differ alone: a tracer does not see a
    `torch.autograd.Function` with a backward of its own, nor `no_grad`. A copy is kept as long as the network
    is: asked for again it serves while weights, modes and hooks are what they were, compared as a new one is.
    """
    state = _state(network)
    try:
        candidates = _candidates(network, state)
    except Exception:  # a network may hold anything: locks, open files, non-leaf tensors
        return network, 0
    expected, slope = _answer(network, example, answers)
    forwards = len(example)
    for candidate in candidates:
        try:
            quick = candidate()
            forwards += len(example)
            with redirect_stderr(io.StringIO()):  # a graph that fails prints where
                got, found = _answer(quick, example, answers)
            scale = expected.abs().max().clamp_min(1.0)
            same = torch.isfinite(got).all() and (expected - got).abs().max() <= AGREEMENT * scale
            if same and (slope - found).abs().sum() <= GRADIENTS * slope.abs().sum():
                _copies[network] = (state, quick)
                return quick, forwards
        except Exception:  # tracing and layout changes fail in as many ways as networks are written
            continue
    return network, forwards


def _candidates(network: nn.Module, state: _State) -> list[Callable[[], nn.Module]]:
    """What makes a copy, the quickest first: one that is kept, or folded and not, in each layout."""
    if network in _copies and _copies[network][0] == state:
        return [lambda: _copies[network][1]]
    plain = copy.deepcopy(network)
    return [
        partial(_laid_out, plain, way, layout)
        for layout, way in product(LAYOUTS, (fold_batch_norm, copy.deepcopy))
    ]


def _state(network: nn.Module) -> _State:
    """What a copy depends on: the network's modules with their modes and hooks, and the weights' sums."""
    modules = tuple(
        (type(one), one.training, *one._forward_hooks, *one._forward_pre_hooks, *one._backward_hooks)
        for one in network.modules()
    )
    sums = [one.detach().sum().double().cpu() for one in (*network.parameters(), *network.buffers())]
    return modules, tuple(torch.stack(sums).tolist()) if sums else ()


def _laid_out(
    plain: nn.Module, way: Callable[[nn.Module], nn.Module], layout: torch.memory_format
) -> nn.Module:
    """A frozen copy with its weights in that layout, and what it is given brought to it."""
    network = way(plain).requires_grad_(False).eval()

    def bring(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            one.contiguous(memory_format=layout) if isinstance(one, Tensor) and one.dim() == 4 else one
            for one in given
        )

    network.register_forward_pre_hook(bring)
    return network.to(memory_format=layout)


def _answer(network: nn.Module, example: Tensor, answers: Answers) -> tuple[Tensor, Tensor]:
    """The outputs, and the gradient of a fixed combination of them: zero where it is cut or not finite."""
    with torch.enable_grad():
        leaf = example.detach().clone().requires_grad_(True)
        output = answers(leaf.clone(), network)  # a clone: a network may change its input in place
        weights = torch.arange(output.numel(), device=output.device, dtype=output.dtype).cos()
        total = (output.flatten() * weights).sum()
        found = torch.autograd.grad(total, leaf, allow_unused=True)[0] if total.requires_grad else None
    slope = torch.zeros_like(example) if found is None else found.nan_to_num(0.0, 0.0, 0.0)
    return output.detach(), slope


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """A copy in which each batch norm in evaluation mode is folded into the convolution before it.

    gamma (W x + b - mean) / sqrt(var + eps) + beta is a convolution again. The copy computes the same in
    evaluation mode, up to rounding; what was not folded (no convolution before it, or one that is used
    twice) stays. Raises what torch.fx raises for a network that it cannot trace, and ValueError for one that
    takes gradients in its forward: a graph loses the `enable_grad` around them, and has none under `no_grad`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's remarks concern the copy only
        folded = cast("GraphModule", fuse(network))
    if any(node.target in DERIVATIVES for node in folded.graph.nodes):
        raise ValueError("its forward takes gradients")
    return folded


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """bf16 arithmetic for precision "fast" where the hardware gains by it, else nothing."""
    if rounds(precision, device):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def rounds(precision: str, device: torch.device) -> bool:
    """Whether `autocast` makes this precision bf16 there."""
    return precision == "fast" and gains_by_bf16(device)


def gains_by_bf16(device: torch.device) -> bool:
    """Whether the hardware is known to compute convolutions quicker in bf16 than in fp32.

    By what the processor is, not by a measurement, so that the same machine gives the same result.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and _processor_gains(getattr(torch.cpu, "get_capabilities", dict)())


def _processor_gains(facts: Mapping[str, Any]) -> bool:
    """Tiles (AMX) do, and AMD's bf16 instructions; Intel's do not. Emulated, bf16 is some 20 times slower.

    A Xeon with avx512_bf16 and without amx_bf16 is slower in bf16 than in fp32, a Zen 4 quicker;
    `python -m benchmarks.choices bf16` measures the processor at hand (benchmarks/choices.md: one that
    emulates).
    """
    intel = str(facts.get("cpu_name", "")).startswith("Intel")
    return bool(facts.get("amx_bf16") or (facts.get("avx512_bf16") and not intel))
