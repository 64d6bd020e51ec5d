"""Which of a file's tensors are a network's, found by the network's own names.

A file is flattened: `state_dict` / `net.conv1.weight` becomes `state_dict.net.conv1.weight`. What stands
in front of the network's names is a prefix, whether a nest, a wrapper or a trainer put it there. The prefix
under which most names are found is taken. Where several hold as many, averaged weights (EMA, SWA) are
preferred.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

from ostrich.models.checkpoints.files import is_network
from ostrich.models.checkpoints.machine import Refused, Stub
from ostrich.models.checkpoints.tensors import Described

Value = TypeVar("Value")
DEEPEST = 32  # dictionaries within dictionaries
LONGEST = 2**26  # characters of all names together
AVERAGED = re.compile(r"(^|[_-])ema|ema($|[_-])|swa|averag", re.IGNORECASE)
NAMED = ("class_names", "classes", "names", "categories", "labels", "idx_to_class", "id2label")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A tensor of a file: where its dictionary stands, and its name there."""

    nest: str
    key: str
    value: Tensor | Described

    @property
    def name(self) -> str:
        return f"{self.nest}.{self.key}" if self.nest else self.key


@dataclass(frozen=True, kw_only=True)
class Match:
    """The file's name for each of the network's names that is found; `prefix` stands in front of it.

    `lender` is the prefix of another set whose buffers are taken, where this one has only parameters.
    """

    prefix: str
    found: Mapping[str, str]
    lender: str | None = None

    @property
    def averaged(self) -> bool:
        """Whether a moving average of weights, as its place is called."""
        return any(AVERAGED.search(part) for part in self.prefix.split("."))

    def own(self, name: str) -> str:
        """A file's name without the prefix."""
        return name.removeprefix(f"{self.prefix}.") if self.prefix else name


def mappings(tree: object, *, with_networks: bool = True) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Every dictionary within dictionaries, and its place, each once; of an object, its attributes.

    Of a pickled network, its tensors and parts by name, where they are wanted. Raises Refused for a tree
    whose names take more memory than those of any network.
    """
    seen: set[int] = set()
    left = LONGEST
    waiting = deque([("", tree, 0)])
    while waiting:
        where, found, level = waiting.popleft()
        value = _attributes(found, with_networks) if isinstance(found, Stub) else found
        if not isinstance(value, dict) or id(found) in seen:
            continue
        seen.add(id(found))  # of what the tree itself holds, so that it is not another's later
        yield where, value
        for key, part in value.items():
            if level < DEEPEST and isinstance(part, dict | Stub) and isinstance(key, str | int):
                waiting.append((f"{where}.{key}" if where else str(key), part, level + 1))
                left -= len(waiting[-1][0])
                if left < 0:
                    raise Refused("its names are too long")


def _attributes(value: Stub, with_networks: bool) -> dict[Any, Any] | None:
    if not is_network(value):
        return value.state if isinstance(value.state, dict) else value.entries
    if not with_networks:
        return None
    parts = [value.state.get(name) for name in ("_parameters", "_buffers", "_modules")]
    return {k: v for part in parts if isinstance(part, dict) for k, v in part.items()}


def entries(tree: object, *, with_networks: bool = True) -> list[Entry]:
    """The tensors of a file. Raises Refused, as `mappings`."""
    found, left = [], LONGEST
    for place, values in mappings(tree, with_networks=with_networks):
        for key, value in values.items():
            if isinstance(value, Tensor | Described) and isinstance(key, str | int):
                found.append(Entry(nest=place, key=str(key), value=value))
                left -= len(place) + len(found[-1].key)
                if left < 0:
                    raise Refused("its names are too long")
    return found


def networks(tree: object) -> list[str]:
    """Where pickled networks stand."""
    return [
        f"{place}.{key}" if place else str(key)
        for place, values in mappings(tree)
        for key, value in values.items()
        if is_network(value)
    ]


def matches(
    names: Mapping[str, Entry], expected: Mapping[str, Tensor], buffers: Collection[str] = ()
) -> list[Match]:
    """The prefixes under which the most of the network's names are found, in the file's order.

    Averages of all parameters count too where `buffers` are all that they lack and one other set has them.
    """
    found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for shared in _shared(list(expected)):
        short = {name.removeprefix(shared): name for name in expected}
        for name in names:
            parts = name.split(".")
            for i in range(len(parts)):
                if (own := short.get(".".join(parts[i:]))) is not None:
                    found[shared, ".".join(parts[:i])][own] = name
    if not found:
        return []
    counted = {key: _without_counters(pairs) for key, pairs in found.items()}
    fitting = {key: (len(pairs), _same_shapes(pairs, names, expected)) for key, pairs in counted.items()}
    most = max(count for count, _ in fitting.values())
    shapes = max(same for count, same in fitting.values() if count == most)
    distinct: dict[frozenset[str], Match] = {}
    for (_, prefix), pairs in found.items():
        if fitting[_, prefix] == (most, shapes):
            distinct.setdefault(frozenset(pairs.values()), Match(prefix=prefix, found=pairs))
    plain = [match for match in distinct.values() if not match.averaged]
    if len(plain) == 1 and is_whole(plain[0], expected):
        for (_, prefix), pairs in found.items():
            match = Match(prefix=prefix, found={**plain[0].found, **pairs}, lender=plain[0].prefix)
            lent = _without_counters(expected).keys() - pairs.keys()
            alike = all(_shape(names[pairs[own]]) == _shape(names[plain[0].found[own]]) for own in pairs)
            if match.averaged and lent and lent <= set(buffers) and alike:
                distinct.setdefault(frozenset(match.found.values()), match)
    return list(distinct.values())


def _shape(entry: Entry) -> tuple[int, ...]:
    return tuple(entry.value.shape)


def patterns(left_out: Iterable[str], kept: Iterable[Entry]) -> list[str]:
    """Patterns of these names that match nothing that is kept: by the shortest prefixes that allow it."""
    held = {
        ".".join(name.split(".")[:depth])
        for entry in kept
        for name in (entry.name, entry.key)
        for depth in range(1, name.count(".") + 2)
    }
    found: dict[str, None] = {}
    for name in left_out:
        parts = name.split(".")
        prefixes = (".".join(parts[:depth]) for depth in range(1, len(parts)))
        own = next((prefix for prefix in prefixes if prefix not in held), None)
        found[f"{own}.*" if own else name] = None
    return list(found)


def is_whole(match: Match, expected: Mapping[str, Tensor]) -> bool:
    """Whether all of the network's names are found."""
    return len(_without_counters(match.found)) == len(_without_counters(expected))


def _without_counters(pairs: Mapping[str, Value]) -> dict[str, Value]:
    """What counts: all but the counters of batch norm, which files may lack."""
    return {own: value for own, value in pairs.items() if not own.endswith("num_batches_tracked")}


def _same_shapes(pairs: Mapping[str, str], names: Mapping[str, Entry], expected: Mapping[str, Tensor]) -> int:
    return sum(_shape(names[theirs]) == tuple(expected[own].shape) for own, theirs in pairs.items())


def _shared(names: list[str]) -> list[str]:
    """The prefixes that all of the network's names share, which a file may lack: "", "model.", ..."""
    shared = [""]
    while names and len({name.partition(".")[0] for name in names}) == 1 and all("." in n for n in names):
        first = names[0].partition(".")[0]
        shared.append(f"{shared[-1]}{first}.")
        names = [name.partition(".")[2] for name in names]
    return shared


def class_names(tree: object, count: int) -> tuple[tuple[str, ...], str] | None:
    """Names of so many classes that a file holds, and where: a list, a dictionary by number or by name."""
    for place, values in mappings(tree):
        for key, value in values.items():
            if not isinstance(key, str) or not isinstance(value, dict | list | tuple) or len(value) != count:
                continue
            found = None
            if key.lower() == "class_to_idx" and isinstance(value, dict):
                found = _by_number({v: k for k, v in value.items() if isinstance(v, int)})
            elif key.lower() in NAMED:
                found = _by_number(value) if isinstance(value, dict) else _listed(value)
            if found is not None and len(found) == count:
                return found, f"{place}.{key}" if place else key
    return None


def _listed(value: object) -> tuple[str, ...] | None:
    whole = isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)
    return tuple(value) if whole and isinstance(value, list | tuple) else None


def _by_number(value: dict[Any, Any]) -> tuple[str, ...] | None:
    numbered = {int(k): v for k, v in value.items() if isinstance(k, int) or str(k).isdigit()}
    if len(numbered) != len(value) or sorted(numbered) != list(range(len(value))):
        return None
    return _listed([numbered[i] for i in range(len(value))])
