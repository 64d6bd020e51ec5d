"""The stack machine that a pickle is a program for: one of our own that imports nothing and calls nothing.

Two of its instructions name functions and call them, and that is how a file runs code. Here a name is only
a name: a `Global`. The few that a checkpoint is made of are answered by functions of ours, by a table; what
is made of any other name is a `Stub`, which keeps what it was given and does nothing. So an
`argparse.Namespace` beside the weights is no reason to refuse them.

Each instruction and each byte of text is counted against `BUDGET`: a file cannot ask for more memory than
that, whatever sizes it names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

BUDGET = 2**29  # bytes that the values of one pickle may take
EACH = 160  # bytes charged for an instruction: an empty dict, its place on the stack and in the memo


class Refused(ValueError):
    """What is no pickle of plain data."""


class Source(Protocol):
    """Bytes, or a mapped file."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...

    def find(self, what: bytes, start: int, /) -> int: ...


@dataclass(frozen=True, eq=False)
class Global:
    """The name of something in a module, which is not looked up."""

    name: str


@dataclass(eq=False)
class Stub:
    """What a pickle would have made by calling `made_by`: the arguments, and what was put in."""

    made_by: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)
    entries: dict[Any, Any] = field(default_factory=dict)


Makers = Mapping[str, Callable[..., Any]]


class Machine:
    """Stack, marks and memo."""

    def __init__(self, source: Source, start: int, makers: Makers, stored: Callable[[Any], Any]) -> None:
        self.source, self.place = source, start
        self.makers, self.stored = makers, stored
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.left = BUDGET
        self.names: set[str] = set()

    def run(self, instructions: Mapping[bytes, Callable[[Machine], None]]) -> Any:
        source = self.source
        while True:
            self.charge(EACH)
            place = self.place
            self.place = place + 1
            code = source[place : place + 1]
            if code == b".":
                return self.stack.pop()
            if code not in instructions:
                raise Refused(f"{code!r} is no instruction of a pickle" if code else "it ends too early")
            instructions[code](self)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def charge(self, cost: int) -> None:
        self.left -= cost
        if self.left < 0:
            raise Refused(f"it holds more than {BUDGET // 2**20} MB beside the tensors")

    def take(self, count: int) -> bytes:
        """The next bytes, as many as there are said to be."""
        if count > len(self.source) - self.place:
            raise Refused("it ends too early, or names a size beyond its end")
        self.place += count
        return self.source[self.place - count : self.place]

    def sized(self, width: int) -> bytes:
        """Bytes after their length, a number of `width` bytes."""
        length = int.from_bytes(self.take(width), "little")
        self.charge(4 * min(length, BUDGET))  # as text, a byte becomes up to four
        return self.take(length)

    def line(self) -> str:
        end = self.source.find(b"\n", self.place)
        if end < 0 or end - self.place > 2**20:
            raise Refused("a line does not end")
        self.charge(4 * (end - self.place))
        found = self.take(end - self.place)
        self.take(1)
        return found.decode("utf-8", "replace")

    def marked_items(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def global_(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Refused("a name is text")
        self.charge(4 * (len(module) + len(name)))
        found = Global(f"{module}.{name}")
        self.names.add(found.name)
        self.stack.append(found)

    def make(self, made_by: object, arguments: object) -> None:
        """What calling `made_by` stands for; nothing but a function of ours is called."""
        if not isinstance(arguments, tuple):
            raise Refused("arguments are a tuple")
        self.charge(EACH * sum(len(a) for a in arguments if isinstance(a, list | tuple | dict)))
        if isinstance(made_by, Global) and made_by.name in self.makers:
            self.stack.append(self.makers[made_by.name](*arguments))
        else:
            name = made_by.name if isinstance(made_by, Global) else type(made_by).__name__
            self.stack.append(Stub(name, arguments))

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Stub):
            target.items += items
        elif isinstance(target, list):
            target += items
        else:
            raise Refused("only a list is appended to")

    def enter(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Stub):
            target = target.entries
        if not isinstance(target, dict):
            raise Refused("only a dictionary has keys")
        for key, value in zip(items[::2], items[1::2], strict=True):
            small = isinstance(key, int) and abs(key) < 2**53  # larger ones can be made to collide
            if small or isinstance(key, str | bytes | Stub | Global | None):
                target[key] = value  # a tuple can be nested deeper than a hash can be taken

    def build(self) -> None:
        state = self.stack.pop()
        if isinstance(target := self.stack[-1], Stub):
            target.state = state  # of anything else, such as a dictionary's `_metadata`, nothing is kept

    def remember(self, place: int) -> None:
        self.memo[place] = self.stack[-1]
