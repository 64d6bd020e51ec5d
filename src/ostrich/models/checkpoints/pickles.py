"""A pickle read as data, without importing or calling anything.

The instructions are those of the standard library (`pickletools` documents them), up to protocol 5; what they
do is done by `machine`. Buffers out of band (NEXT_BUFFER) are none of a file's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from ostrich.models.checkpoints.machine import Global, Machine, Makers, Refused, Source

LONGEST = 256  # bytes of a whole number


def read_pickle(
    source: Source, start: int, makers: Makers, stored: Callable[[Any], Any]
) -> tuple[Any, int, set[str]]:
    """The value of the pickle that begins at `start`, where it ends, and the names it mentions.

    `makers` are functions of ours by the names they answer for, `stored` makes something of a persistent id.
    Raises Refused.
    """
    machine = Machine(source, start, makers, stored)
    try:
        value = machine.run(INSTRUCTIONS)
    except Refused:
        raise
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, struct.error) as error:
        raise Refused(f"the pickle is damaged ({type(error).__name__})") from None
    return value, machine.place, machine.names


def _read(width: int, signed: bool = False) -> Callable[[Machine], None]:
    return lambda m: m.push(int.from_bytes(m.take(width), "little", signed=signed))


def _long(width: int) -> Callable[[Machine], None]:
    def run(m: Machine) -> None:
        length = int.from_bytes(m.take(width), "little")
        if length > LONGEST:
            raise Refused("a number is too long")
        m.push(int.from_bytes(m.take(length), "little", signed=True))

    return run


def _text(width: int) -> Callable[[Machine], None]:
    return lambda m: m.push(m.sized(width).decode("utf-8", "surrogatepass"))


def _latin(width: int) -> Callable[[Machine], None]:
    return lambda m: m.push(m.sized(width).decode("latin-1"))


def _bytes(width: int) -> Callable[[Machine], None]:
    return lambda m: m.push(m.sized(width))


def _get(width: int) -> Callable[[Machine], None]:
    return lambda m: m.push(m.memo[int.from_bytes(m.take(width), "little")])


def _put(width: int) -> Callable[[Machine], None]:
    return lambda m: m.remember(int.from_bytes(m.take(width), "little"))


def _push(make: Callable[[], Any]) -> Callable[[Machine], None]:
    return lambda m: m.push(make())


def _tuple(count: int) -> Callable[[Machine], None]:
    def run(m: Machine) -> None:
        if len(m.stack) < count:
            raise Refused("the stack is empty")
        items = tuple(m.stack[-count:])
        del m.stack[-count:]
        m.push(items)

    return run


def _extension(width: int) -> Callable[[Machine], None]:
    """A number in a registry of names, which is not asked."""
    return lambda m: m.push(Global(f"extension.{int.from_bytes(m.take(width), 'little')}"))


def _number(m: Machine) -> None:
    text = m.line().rstrip("L")
    if len(text) > LONGEST:
        raise Refused("a number is too long")
    m.push({"00": False, "01": True}[text] if text in ("00", "01") else int(text))


def _mark(m: Machine) -> None:
    m.marked.append(m.stack)
    m.stack = []


def _pop(m: Machine) -> None:
    if m.stack:
        m.stack.pop()
    else:
        m.marked_items()


def _reduce(m: Machine) -> None:
    arguments = m.stack.pop()
    m.make(m.stack.pop(), arguments)


def _reduce_with_keywords(m: Machine) -> None:
    m.stack.pop()  # keywords: no maker of ours takes any
    _reduce(m)


def _instance(m: Machine) -> None:
    m.global_(m.line(), m.line())
    made_by = m.stack.pop()
    items = tuple(m.marked_items())
    m.make(made_by, items)


def _object(m: Machine) -> None:
    made_by, *items = m.marked_items()
    m.make(made_by, tuple(items))


def _global_from_stack(m: Machine) -> None:
    name = m.stack.pop()
    m.global_(m.stack.pop(), name)


def _pairs(items: list[Any]) -> dict[Any, Any]:
    machine = Machine(b"", 0, {}, lambda _: None)
    found: dict[Any, Any] = {}
    machine.push(found)
    machine.enter(items)
    return found


INSTRUCTIONS: dict[bytes, Callable[[Machine], None]] = {
    b"\x80": lambda m: (m.take(1), None)[1],  # protocol
    b"\x95": lambda m: (m.take(8), None)[1],  # frame
    b"(": _mark,
    b"0": _pop,
    b"1": lambda m: (m.marked_items(), None)[1],
    b"2": lambda m: m.push(m.stack[-1]),
    b"N": _push(lambda: None),
    b"\x88": _push(lambda: True),
    b"\x89": _push(lambda: False),
    b"}": _push(dict),
    b"]": _push(list),
    b")": _push(tuple),
    b"\x8f": _push(list),  # a set, whose items need no hash here
    b"I": _number,
    b"L": _number,
    b"J": _read(4, signed=True),
    b"K": _read(1),
    b"M": _read(2),
    b"\x8a": _long(1),
    b"\x8b": _long(4),
    b"F": lambda m: m.push(float(m.line())),
    b"G": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    b"S": lambda m: m.push(m.line().strip("'\"")),
    b"V": lambda m: m.push(m.line()),
    b"T": _latin(4),
    b"U": _latin(1),
    b"X": _text(4),
    b"\x8c": _text(1),
    b"\x8d": _text(8),
    b"B": _bytes(4),
    b"C": _bytes(1),
    b"\x8e": _bytes(8),
    b"\x96": _bytes(8),
    b"t": lambda m: m.push(tuple(m.marked_items())),
    b"\x85": _tuple(1),
    b"\x86": _tuple(2),
    b"\x87": _tuple(3),
    b"l": lambda m: m.push(m.marked_items()),
    b"\x91": lambda m: m.push(m.marked_items()),  # a frozen set
    b"d": lambda m: m.push(_pairs(m.marked_items())),
    b"a": lambda m: m.extend([m.stack.pop()]),
    b"e": lambda m: m.extend(m.marked_items()),
    b"\x90": lambda m: m.extend(m.marked_items()),
    b"s": lambda m: m.enter([m.stack.pop(-2), m.stack.pop()]),
    b"u": lambda m: m.enter(m.marked_items()),
    b"c": lambda m: m.global_(m.line(), m.line()),
    b"\x93": _global_from_stack,
    b"R": _reduce,
    b"\x81": _reduce,  # NEWOBJ
    b"\x92": _reduce_with_keywords,  # NEWOBJ_EX
    b"i": _instance,
    b"o": _object,
    b"b": Machine.build,
    b"P": lambda m: m.push(m.stored(m.line())),
    b"Q": lambda m: m.push(m.stored(m.stack.pop())),
    b"\x82": _extension(1),
    b"\x83": _extension(2),
    b"\x84": _extension(4),
    b"g": lambda m: m.push(m.memo[int(m.line())]),
    b"h": _get(1),
    b"j": _get(4),
    b"p": lambda m: m.remember(int(m.line())),
    b"q": _put(1),
    b"r": _put(4),
    b"\x94": lambda m: m.remember(len(m.memo)),
}
