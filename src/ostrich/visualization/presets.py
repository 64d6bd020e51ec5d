"""The ascents that have a name, and how one is read from settings.

plain                     the gradient alone: high values, and noise to look at
yosinski-1 ... yosinski-4 regularised pixels (`yosinski.py`)
lucid                     spectrum, views, Adam (`lucid.py`)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ostrich.errors import UnknownName
from ostrich.runtime.settings import read, readable
from ostrich.visualization.ascent import Ascent
from ostrich.visualization.dgn_am import Prior
from ostrich.visualization.lucid import LUCID
from ostrich.visualization.optimisers import OPTIMISERS
from ostrich.visualization.parametrisations import PARAMETRISATIONS
from ostrich.visualization.yosinski import ROWS, yosinski

PIECES = ("parametrisation", "transformations", "regularisers", "optimiser")
NAMED: dict[str, Mapping[str, type[Any]]] = {"parametrisation": PARAMETRISATIONS, "optimiser": OPTIMISERS}
PRESET = "lucid"  # where none is named
PRESETS = {"plain": Ascent(), **{f"yosinski-{row}": yosinski(row) for row in ROWS}, "lucid": LUCID}


def configure(settings: Mapping[str, Any], preset: str | Ascent = PRESET) -> Ascent:
    """A preset, by name or as it is, with `settings` of any of its pieces: values, or text as typed.

    `parametrisation` and `optimiser` name another piece, with its own settings as they are by default.
    Raises UnknownName, and InputError for a value that is refused.
    """
    given = dict(settings)
    if isinstance(preset, str) and preset not in PRESETS:
        raise UnknownName("preset", preset, PRESETS)
    ascent: Any = PRESETS[preset] if isinstance(preset, str) else preset
    chosen = {piece: getattr(ascent, piece) for piece in PIECES}
    for piece, kinds in NAMED.items():
        if piece in given:
            name = given.pop(piece)
            if name not in kinds:
                raise UnknownName(piece, name, kinds)
            chosen[piece] = chosen[piece] if chosen[piece].name == name else kinds[name]()
    known = {piece: readable(type(chosen[piece])) for piece in PIECES}
    own = {name: text for name, text in given.items() if not any(name in names for names in known.values())}
    others = [name for names in known.values() for name in names]
    values = read(Ascent, own, "visualize", also=[*others, *NAMED, "preset"])
    for piece, names in known.items():
        its = {name: text for name, text in given.items() if name in names}
        chosen[piece] = replace(chosen[piece], **read(type(chosen[piece]), its, "visualize"))
    return replace(ascent, **chosen, **values)


def describe(ascent: Ascent) -> dict[str, Any]:
    """All settings of an `ascent` by name, as `configure` reads them."""
    named = {piece: getattr(ascent, piece).name for piece in NAMED}
    own = {
        name: getattr(piece, name)
        for piece in (getattr(ascent, name) for name in PIECES)
        for name in readable(type(piece))
    }
    if isinstance(ascent.parametrisation, Prior):
        named["prior"] = ascent.parametrisation.prior
    return {"steps": ascent.steps, "keep": ascent.keep, **named, **own}
