"""A network as a list of nodes that bounds can walk: affine maps, rectifiers and sums.

`graph.py` finds them. The normalisation of a classifier is the first affine map, so bounds are those of
images in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ostrich.certification.layers import Map


@dataclass
class Node:
    """One step: `apply` of its parents' outputs (by their places), (n, *shape).

    Of an affine map `apply` is W x + b, and `magnitude` |W| x.
    """

    kind: Literal["input", "affine", "relu", "sum"]
    parents: tuple[int, ...]
    shape: tuple[int, ...]
    apply: Map | None = None
    magnitude: Map | None = None
    input_shape: tuple[int, ...] = ()  # of what its first parent gives; filled in
    transposed: dict[int, Map] = field(default_factory=dict, repr=False)  # W^T, by the number of rows

    def transpose(self, rows: Tensor) -> Tensor:
        """Rows (k, *shape) times W, (k, *input_shape): a vector-Jacobian product, whatever the layer."""
        assert self.apply is not None
        if len(rows) not in self.transposed:
            start = rows.new_zeros(len(rows), *self.input_shape)
            self.transposed = {len(rows): torch.func.vjp(self.apply, start)[1]}
        (found,) = self.transposed[len(rows)](rows)
        return found

    def constant(self, like: Tensor) -> Tensor:
        """b, (*shape)."""
        assert self.apply is not None
        return self.apply(like.new_zeros(1, *self.input_shape))[0]


@dataclass
class Graph:
    """The nodes in order: the first is the image, the last the logits (K,).

    `dtype` is the floating type that it computes in, and that images are given in.
    """

    nodes: list[Node]
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        for node in self.nodes[1:]:
            node.input_shape = self.nodes[node.parents[0]].shape

    @property
    def relus(self) -> list[int]:
        """The places of the rectifiers."""
        return [place for place, node in enumerate(self.nodes) if node.kind == "relu"]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Every node's output for images (n, C, H, W)."""
        found = [images]
        for node in self.nodes[1:]:
            given = [found[parent] for parent in node.parents]
            found.append(sum(given[1:], given[0]) if node.kind == "sum" else _of(node, given[0]))
        return found


def _of(node: Node, given: Tensor) -> Tensor:
    assert node.apply is not None
    return node.apply(given)
