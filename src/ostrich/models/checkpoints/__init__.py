"""Weights from a file, as strangers write them, into a network.

`files` reads a file as data, without running anything of it (`pickles`, `tensors`); `names` finds the
network's tensors in it. What was chosen and left out is kept in `Checkpoint.remarks`, to be said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from torch import Tensor, nn

from ostrich.errors import CheckpointMismatch, InputError
from ostrich.models.checkpoints import names
from ostrich.models.checkpoints.files import read_file, whole_network
from ostrich.models.checkpoints.machine import Refused
from ostrich.models.checkpoints.names import Entry, Match
from ostrich.models.checkpoints.tensors import Described

LISTED = 6  # names shown per kind of mismatch


class Checkpoint:
    """The tensors of a weights file by name.

    `rename` are pairs (old, new) of text replaced in the names, in order; `drop` are patterns of names to
    leave out; `ema` whether averaged weights are taken where there are some: None takes them too.
    Raises InputError for a file without weights.
    """

    def __init__(
        self,
        path: str | Path,
        rename: Sequence[tuple[str, str]] = (),
        drop: Sequence[str] = (),
        ema: bool | None = None,
    ) -> None:
        self.path, self.ema = Path(path), ema
        self.tree = read_file(self.path)
        self.remarks: dict[str, str] = {}
        found = self._found()
        for old, new in rename:
            if not any(old in entry.key for entry in found):
                raise InputError(f"--rename {old}={new}: no name in {str(path)!r} contains {old!r}.")
            found = [Entry(nest=e.nest, key=e.key.replace(old, new), value=e.value) for e in found]
        for pattern in drop:
            kept = [e for e in found if not any(fnmatchcase(n, pattern) for n in (e.name, e.key))]
            if len(kept) == len(found):
                listed = ", ".join(e.key for e in found[:LISTED])
                raise InputError(
                    f"--drop {pattern!r}: no name in {str(path)!r} is like that; it has {listed}."
                )
            if not kept:
                raise InputError(f"--drop {pattern!r} leaves none of the tensors in {str(path)!r}.")
            found = kept
        self.entries = {entry.name: entry for entry in found}

    def _found(self) -> list[Entry]:
        """All named tensors. Raises InputError where there are none, or only those of pickled networks."""
        try:
            if names.entries(self.tree, with_networks=False):
                return names.entries(self.tree)
            if whole := names.networks(self.tree):
                raise whole_network(self.path, whole[0])
        except Refused as reason:
            raise InputError(f"{str(self.path)!r} is not read: {reason}.") from None
        raise InputError(f"{str(self.path)!r} holds no named tensors. Save `network.state_dict()`.")

    def other_classes(self, network: nn.Module, classes: int) -> int | None:
        """The classes of the file's head, where that alone sets it apart from a network of `classes`."""
        expected = _tensors(network)
        shapes = {
            own: (tuple(expected[own].shape), tuple(self.entries[theirs].value.shape))
            for own, theirs in self._chosen(network).found.items()
        }
        differing = {own for own, (ours, theirs) in shapes.items() if ours != theirs}
        layers = {own.rpartition(".")[0] for own in differing}
        heads = set()
        for own, (ours, theirs) in shapes.items():
            of_head = ours[:1] == (classes,) and own.rpartition(".")[0] in layers
            if own in differing and not (of_head and theirs[:1] and ours[1:] == theirs[1:]):
                return None
            if of_head:
                heads.add(theirs[0])
        return heads.pop() if len(heads) == 1 else None

    def class_names(self, count: int) -> tuple[str, ...] | None:
        """Names of so many classes that stand in the file."""
        found = names.class_names(self.tree, count)
        if found is None:
            return None
        self.remarks["class names"] = (
            f"{', '.join(found[0][:4])}{', ...' if count > 4 else ''}, from `{found[1]}`"
        )
        return found[0]

    def load_into(self, network: nn.Module) -> None:
        """Copy the weights into `network`, in its own dtype.

        Names that belong to nothing of the network, such as a loss, are left out where all of the network is
        found. Raises CheckpointMismatch that lists missing, unexpected and wrongly shaped names.
        """
        expected = _tensors(network)
        match = self._chosen(network)
        ours = {own: self.entries[theirs] for own, theirs in match.found.items()}
        missing = [n for n in expected if n not in ours and not n.endswith("num_batches_tracked")]
        misshaped = [
            f"{own} {tuple(entry.value.shape)} for {tuple(expected[own].shape)}"
            for own, entry in ours.items()
            if tuple(entry.value.shape) != tuple(expected[own].shape)
        ]
        names_left, strange = self._left_over(match, expected)
        unexpected = [match.own(name) for name in names_left]
        if missing or misshaped:
            unexpected += strange
        if missing or unexpected or misshaped:
            drop = self._drop(names_left, [match, *self._others])
            raise CheckpointMismatch(_mismatch(self.path, missing, unexpected, misshaped, drop))
        if strange:
            self.remarks["left out"] = f"{_counted(strange)}: nothing of the network is called so"
        try:
            tensors = {own: _tensor(entry.value) for own, entry in ours.items()}
        except Refused as reason:
            raise InputError(f"{str(self.path)!r} is not read: {reason}.") from None
        network.load_state_dict({**network.state_dict(), **tensors})

    def _chosen(self, network: nn.Module) -> Match:
        """The set of weights to use, and said where there are others."""
        expected = _tensors(network)
        found = names.matches(self.entries, expected, dict(network.named_buffers(remove_duplicate=False)))
        if not found:
            return Match(prefix=self._nest(), found={})
        averaged = [match for match in found if match.averaged]
        if self.ema and not averaged:
            raise InputError(f"--ema yes: {str(self.path)!r} holds no averaged weights that fit.")
        plain = [match for match in found if not match.averaged]
        choice = (plain or found) if self.ema is False or not averaged else averaged
        if len(choice) > 1 and not names.is_whole(choice[0], expected):
            raise CheckpointMismatch(
                f"{str(self.path)!r} does not fit the network: of its {len(expected)} tensors no part of the "
                f"file holds more than {len(choice[0].found)}. Those of the file, as of another network: "
                f"{', '.join([*self.entries][:LISTED])}, ..."
            )
        if len(choice) > 1:
            places = [match.prefix or "the top" for match in choice]
            drops = [
                self._drop(list(match.found.values()), [other for other in choice if other is not match])
                for match in reversed(choice)
            ]
            raise InputError(
                f"{str(self.path)!r} holds several sets of weights that fit: {', '.join(places)}. Leave all "
                f"but one out: {min(drops, key=len)}."
            )
        if averaged and plain:
            kind, other = ("averaged", "no") if choice[0].averaged else ("plain", "yes")
            held = " and ".join(f"`{match.prefix or 'the top'}`" for match in found)
            lender = choice[0].lender
            lent = "" if lender is None else f" with the buffers of `{lender or 'the top'}`"
            self.remarks["weights"] = (
                f"the file holds {held}: the {kind} ones, `{choice[0].prefix}`, are used{lent}; "
                f"--ema {other} takes the others"
            )
        self._others = [match for match in found if match is not choice[0]]
        return choice[0]

    def _drop(self, left_out: Sequence[str], kept: Sequence[Match]) -> str:
        """The options that leave out these of the file's names, and nothing of the sets that are kept."""
        held = [self.entries[name] for match in kept for name in match.found.values()]
        return " ".join(f"--drop '{pattern}'" for pattern in names.patterns(left_out, held))

    def _nest(self) -> str:
        """The dictionary with the most tensors."""
        return Counter(entry.nest for entry in self.entries.values()).most_common(1)[0][0]

    def _left_over(self, match: Match, expected: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
        """The file's names that look like the network's and are not, and what does not even look so."""
        used = {name for other in (match, *self._others) for name in other.found.values()}
        parts = {match.own(name).partition(".")[0] for name in match.found.values()}
        parts |= {name.partition(".")[0] for name in expected} if not parts else set()
        unexpected, strange = [], []
        for name, entry in self.entries.items():
            if name in used:
                continue
            under = not match.prefix or name.startswith(f"{match.prefix}.")
            if under and (not match.found or match.own(name).partition(".")[0] in parts):
                unexpected.append(name)
            else:
                strange.append(
                    match.own(name) if under else entry.key if entry.nest in match.prefix else name
                )
        return unexpected, strange

    _others: Sequence[Match] = ()


def load_weights(network: nn.Module, path: str | Path, rename: Sequence[tuple[str, str]] = ()) -> None:
    """Copy a weights file into `network`, as `Checkpoint.load_into`."""
    Checkpoint(path, rename).load_into(network)


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in network.state_dict().items() if isinstance(value, Tensor)}


def _tensor(value: Tensor | Described) -> Tensor:
    return value.tensor() if isinstance(value, Described) else value


def _counted(strange: Sequence[str]) -> str:
    """Names as they are, many of one kind by their number."""
    kinds = Counter(name.partition(".")[0] for name in strange)
    return ", ".join(
        next(n for n in strange if n.partition(".")[0] == kind) if count == 1 else f"{count} of {kind}"
        for kind, count in kinds.items()
    )


def _likely_rename(missing: Sequence[str], unexpected: Sequence[str]) -> str:
    """The option for a head in a Sequential, `fc.1.weight` for `fc.weight`; else its form."""
    for name in unexpected:
        layer, _, kind = name.rpartition(".")
        outer, _, number = layer.rpartition(".")
        if number.isdigit() and f"{outer}.{kind}" in missing:
            return f"--rename {layer}.={outer}., where nothing but dropout is beside it"
    return "--rename OLD=NEW"


def _mismatch(
    path: str | Path, missing: list[str], unexpected: list[str], misshaped: list[str], drop: str
) -> str:
    parts = [f"{str(path)!r} does not fit the network."]
    kinds = {"missing": missing, "unexpected": unexpected, "wrongly shaped": misshaped}
    for kind, listed in kinds.items():
        if listed:
            shown = ", ".join(listed[:LISTED]) + (", ..." if len(listed) > LISTED else "")
            parts.append(f"{len(listed)} {kind}: {shown}.")
    if missing and unexpected:
        parts.append(f"Names can be changed: {_likely_rename(missing, unexpected)}.")
    elif misshaped:
        parts.append(
            "Is the number of classes, the width or the number of channels another one (NAME,classes=K; "
            "arch:NAME,width=W; timm:NAME,in_chans=C)?"
        )
    elif unexpected:
        parts.append(f"To leave them out, where the network's answers need none of them: {drop}.")
    return " ".join(parts)
