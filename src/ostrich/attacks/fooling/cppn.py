"""Fooling images drawn by evolved networks: the CPPN encoding.

Nguyen, Yosinski, Clune 2015, "Deep neural networks are easily fooled", section 2.4, after Stanley 2007,
"Compositional pattern producing networks". A genome is a network without cycles from a pixel's place (x,
y, distance from the centre, and a constant) to its hue, lightness and saturation, or to its one grey
value; its nodes are sines, sigmoids, Gaussians or linear. Structure, weights and functions mutate; their
published rates are the constants below.

A population is a table of padded networks, so that it is varied and drawn in a few tensor operations.
A connection goes from an earlier node to a later one of an order, which every mutation keeps. Where the
sources are silent: weights lie in [-RANGE, RANGE]; the first networks connect every input with every
output; a new node takes the place of a connection (weight 1 in, the old one out); a function is drawn
anew at the rate of a weight's mutation; a full table takes no further node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ostrich.attacks.fooling.cppn_drawing import FUNCTIONS, INPUTS, drawn
from ostrich.attacks.fooling.map_elites import EvolutionAttack
from ostrich.attacks.fooling.operators import polynomial

ADD_LINK, DELETE_LINK, MOVE_LINK = 0.5, 0.3, 0.5  # probabilities of each mutation of a child
ADD_NODE, DELETE_NODE = 0.5, 0.2
RATE, ETA = 0.1, 15.0  # of a weight's polynomial mutation
RANGE = 3.0
HIDDEN = 24  # most inner nodes


@dataclass(frozen=True, kw_only=True)
class FoolingCPPN(EvolutionAttack):
    """Images drawn by evolved networks: `population` forwards a generation, together.

    Nguyen, Yosinski, Clune 2015, "Deep neural networks are easily fooled", section 2.4; the networks after
    Stanley 2007, "Compositional pattern producing networks".
    """

    name: ClassVar[str] = "fooling-cppn"

    def random(self, count: int, shape: tuple[int, ...], generator: torch.Generator) -> Networks:
        return simple(count, 3 if shape[0] == 3 else 1, generator)

    def children(self, elites: Networks, count: int, generation: int, generator: torch.Generator) -> Networks:
        parents = torch.randint(len(elites), (count,), generator=generator)
        return mutated(elites.take(parents), generator)

    def drawn(self, genomes: Networks, shape: tuple[int, ...]) -> Tensor:
        images = drawn(genomes, shape[1], shape[2])
        return images if len(images[0]) == shape[0] else images.expand(-1, shape[0], -1, -1)


@dataclass(frozen=True)
class Networks:
    """p genomes of m nodes: the inputs, then the outputs, then inner nodes."""

    order: Tensor  # (p, m): inputs 0, outputs 2, inner nodes between 0 and 1, nan where there is none
    function: Tensor  # (p, m) int64
    linked: Tensor  # (p, m, m) bool: [q, j, i] is the connection from node i to node j
    weight: Tensor  # (p, m, m), 0 where there is no connection
    outputs: int

    def __len__(self) -> int:
        return len(self.order)

    def take(self, rows: Tensor) -> Networks:
        return self._with(lambda table, _: table[rows])

    def put(self, rows: Tensor, others: Networks) -> Networks:
        return self._with(lambda table, name: table.index_copy(0, rows, others.tables[name]))

    def to(self, device: torch.device) -> Networks:
        return self._with(lambda table, _: table.to(device))

    @property
    def tables(self) -> dict[str, Tensor]:
        """Its tensors by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def _with(self, change: Callable[[Tensor, str], Tensor]) -> Networks:
        changed: dict[str, Any] = {name: change(table, name) for name, table in self.tables.items()}
        return replace(self, **changed)


def simple(count: int, outputs: int, generator: torch.Generator) -> Networks:
    """Networks without inner nodes, each input connected with each output."""
    nodes = INPUTS + outputs + HIDDEN
    order = torch.full((count, nodes), torch.nan)
    order[:, :INPUTS], order[:, INPUTS : INPUTS + outputs] = 0, 2
    linked = torch.zeros(count, nodes, nodes, dtype=torch.bool)
    linked[:, INPUTS : INPUTS + outputs, :INPUTS] = True
    weight = RANGE * (2 * torch.rand(linked.shape, generator=generator) - 1)
    function = torch.randint(len(FUNCTIONS), order.shape, generator=generator)
    return Networks(order, function, linked, weight * linked, outputs)


# Mutation ---------------------------------------------------------------------------------------


def mutated(parents: Networks, generator: torch.Generator) -> Networks:
    """A child of each: its structure changed by chance, then its weights and functions."""
    chance = torch.rand(5, len(parents), generator=generator)
    child = _add_link(parents, chance[0] < ADD_LINK, generator)
    child = _delete_link(child, chance[1] < DELETE_LINK, generator)
    child = _move_link(child, chance[2] < MOVE_LINK, generator)
    child = _add_node(child, chance[3] < ADD_NODE, generator)
    child = _delete_node(child, chance[4] < DELETE_NODE, generator)
    weight = polynomial(child.weight, RATE, ETA, -RANGE, RANGE, generator)
    fresh = torch.randint(len(FUNCTIONS), child.function.shape, generator=generator)
    anew = torch.rand(child.function.shape, generator=generator) < RATE
    return replace(child, weight=weight * child.linked, function=torch.where(anew, fresh, child.function))


def _add_link(nets: Networks, mask: Tensor, generator: torch.Generator) -> Networks:
    free = (nets.order[:, None, :] < nets.order[:, :, None]) & ~nets.linked
    row, to, origin = _one_of(free, mask, generator)
    linked, weight = nets.linked.clone(), nets.weight.clone()
    linked[row, to, origin] = True
    weight[row, to, origin] = RANGE * (2 * torch.rand(len(row), generator=generator) - 1)
    return replace(nets, linked=linked, weight=weight)


def _delete_link(nets: Networks, mask: Tensor, generator: torch.Generator) -> Networks:
    row, to, origin = _one_of(nets.linked, mask, generator)
    linked = nets.linked.clone()
    linked[row, to, origin] = False
    return replace(nets, linked=linked, weight=nets.weight * linked)


def _move_link(nets: Networks, mask: Tensor, generator: torch.Generator) -> Networks:
    """One end of a connection goes to another node; the weight stays."""
    row, to, origin = _one_of(nets.linked, mask, generator)
    free = (nets.order[row][:, None, :] < nets.order[row][:, :, None]) & ~nets.linked[row]
    place = torch.arange(len(row))
    keeps_origin = torch.rand(len(row), generator=generator) < 0.5
    allowed = torch.zeros_like(free)
    allowed[place, :, origin] = keeps_origin[:, None]
    allowed[place, to, :] |= ~keeps_origin[:, None]
    at, new_to, new_origin = _one_of(free & allowed, torch.ones_like(keeps_origin), generator)
    linked, weight = nets.linked.clone(), nets.weight.clone()
    moved = row[at]
    linked[moved, to[at], origin[at]] = False
    linked[moved, new_to, new_origin] = True
    weight[moved, new_to, new_origin] = nets.weight[moved, to[at], origin[at]]
    return replace(nets, linked=linked, weight=weight * linked)


def _add_node(nets: Networks, mask: Tensor, generator: torch.Generator) -> Networks:
    """A node in the place of a connection, between its ends in the order."""
    unused = nets.order.isnan()
    row, to, origin = _one_of(nets.linked, mask & unused.any(1), generator)
    node = unused[row].to(torch.uint8).argmax(1)
    order, function = nets.order.clone(), nets.function.clone()
    linked, weight = nets.linked.clone(), nets.weight.clone()
    order[row, node] = (order[row, origin] + order[row, to].clamp_max(1)) / 2
    function[row, node] = torch.randint(len(FUNCTIONS), node.shape, generator=generator)
    linked[row, to, origin] = False
    linked[row, node, origin] = linked[row, to, node] = True
    weight[row, to, node] = weight[row, to, origin]
    weight[row, node, origin] = 1.0
    return replace(nets, order=_ranked(order), function=function, linked=linked, weight=weight * linked)


def _delete_node(nets: Networks, mask: Tensor, generator: torch.Generator) -> Networks:
    inner = ~nets.order.isnan()
    inner[:, : INPUTS + nets.outputs] = False
    row, _, node = _one_of(inner[:, None], mask, generator)
    order, linked = nets.order.clone(), nets.linked.clone()
    order[row, node] = torch.nan
    linked[row, node], linked[row, :, node] = False, False
    return replace(nets, order=order, linked=linked, weight=nets.weight * linked)


def _one_of(allowed: Tensor, mask: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """For each row of `mask` (p,) with an allowed place (p, a, b), one of them: row, a, b (q,)."""
    flat = allowed.flatten(1)
    number = torch.rand(flat.shape, generator=generator).masked_fill(~flat, -1)
    row = (mask & flat.any(1)).nonzero()[:, 0]
    place = number[row].argmax(1)
    return row, place // allowed.shape[2], place % allowed.shape[2]


def _ranked(order: Tensor) -> Tensor:
    """The same order of inner nodes, evenly spaced: halving it often would exhaust the numbers."""
    inner = (order > 0) & (order < 2)
    rank = order.masked_fill(~inner, torch.inf).argsort(1).argsort(1)
    return torch.where(inner, (rank + 1) / (order.shape[1] + 1), order)
