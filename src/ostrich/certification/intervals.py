"""Interval bounds: how far each value of each layer can go, layer after layer.

Gowal et al. 2018, "On the effectiveness of interval bound propagation for training verifiably robust models",
section 3: an affine layer moves the middle of an interval by W and its radius by |W|. Fast and wide.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ostrich.certification.balls import Ball
from ostrich.certification.nodes import Graph

Interval = tuple[Tensor, Tensor]  # low and high, (1, *shape)


def intervals(graph: Graph, ball: Ball) -> list[Interval]:
    """The interval of every node's output."""
    found = [ball.ends()]
    for node in graph.nodes[1:]:
        low, high = found[node.parents[0]]
        if node.kind == "sum":
            others = [found[parent] for parent in node.parents[1:]]
            low, high = (sum((one[i] for one in others), (low, high)[i]) for i in (0, 1))
        elif node.kind == "relu":
            low, high = low.clamp(min=0), high.clamp(min=0)
        else:
            assert node.apply is not None
            assert node.magnitude is not None
            middle, radius = node.apply((low + high) / 2), node.magnitude((high - low) / 2)
            low, high = middle - radius, middle + radius
        found.append((low, high))
    return found


def margins(graph: Graph, ball: Ball, label: int) -> Tensor:
    """Lower bounds (K - 1,) of the label's logit less each other one.

    The last affine layer and the differences of its outputs are one layer: so no bound is lost between.
    """
    last, rows = len(graph.nodes) - 1, differences(graph, label, ball.image)
    node = graph.nodes[last]
    if node.kind != "affine":
        return _least(rows, *intervals(graph, ball)[last])
    low, high = intervals(Graph(graph.nodes[:-1]), ball)[node.parents[0]]
    constant = (rows * node.constant(rows)).flatten(1).sum(1)
    return _least(node.transpose(rows), low, high) + constant


def differences(graph: Graph, label: int, like: Tensor) -> Tensor:
    """The rows (K - 1, K) that take each other class's logit from the label's."""
    count = graph.nodes[-1].shape[0]
    own = torch.eye(count, dtype=like.dtype, device=like.device)
    return own[label] - torch.cat([own[:label], own[label + 1 :]])


def _least(rows: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return (rows.clamp(min=0) * low + rows.clamp(max=0) * high).flatten(1).sum(1)
