"""An ascent is put together from four pieces; a preset is one that has a name.

    plain                     the gradient alone: high values, and noise to look at
    yosinski-1 ... yosinski-4 table 1 of Yosinski 2015, as published; their rates were chosen for
                              CaffeNet, whose class scores reach 70 for images of 227 pixels; another
                              network may need `optimiser=normalised` (benchmarks/recognised.md)
    lucid                     Fourier, decorrelated colours, random views, Adam (Olah 2017). Lucid itself
                              has deviation 0.01, decay_power 1, step_size 0.05, steps 512; these were
                              chosen on the toybox, where near grey a class can be all but flat

`configure` reads NAME=VALUE: one of the pieces' settings, or `parametrisation` or `optimiser` by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ostrich.errors import InputError, UnknownName
from ostrich.published import published
from ostrich.runtime.settings import read, readable
from ostrich.visualization.dgn_am import Prior
from ostrich.visualization.optimisers import OPTIMISERS, Adam, Constant, Normalised, Optimiser, Progress
from ostrich.visualization.parametrisations import PARAMETRISATIONS, Fourier, Parametrisation, Pixels
from ostrich.visualization.regularisers import Regularisers
from ostrich.visualization.transformations import Transformations

VIEWS = Transformations(jitter=0.05, rotate=10, scale=0.1, pad=0.1)
PIECES = ("parametrisation", "transformations", "regularisers", "optimiser")
NAMED: dict[str, Mapping[str, type[Any]]] = {"parametrisation": PARAMETRISATIONS, "optimiser": OPTIMISERS}
PRESET = "lucid"  # where none is named
PRIOR_STEPS = int(published("dgn-am/steps").value)


@dataclass(frozen=True, kw_only=True)
class Ascent:
    """How to climb."""

    steps: int = 256  # forwards; the last image is looked at and not changed any more
    keep: str = "best"  # the image with the highest value met, or the "last" one
    parametrisation: Parametrisation = Pixels()
    transformations: Transformations = Transformations()
    regularisers: Regularisers = Regularisers()
    optimiser: Optimiser = Normalised()

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"steps is at least 1; got {self.steps}.")
        if self.keep not in ("best", "last"):
            raise InputError(f"keep is best or last; got {self.keep!r}.")
        changing = self.regularisers.of_pixels
        if changing and self.parametrisation.name != "pixels":
            raise InputError(
                f"{' and '.join(changing)} changes pixels, which parametrisation={self.parametrisation.name} "
                "has none of. Take parametrisation=pixels, or tv and the transformations instead."
            )


def yosinski(row: int) -> Ascent:
    """A row of table 1, from 1 to 4."""
    number = {
        name: published(f"yosinski-{row}/{name}").value
        for name in ("decay", "blur-sigma", "blur-every", "small-norm", "small-contribution", "steps", "rate")
    }
    desired = published(f"yosinski-{row}/progress").value
    return Ascent(
        steps=int(number["steps"]),
        parametrisation=Pixels(noise=published("yosinski/start").value / 255, draws="numpy"),
        regularisers=Regularisers(
            decay=number["decay"],
            blur_sigma=number["blur-sigma"],
            blur_every=int(number["blur-every"]) or 1,  # the table's 0: no blur
            small_norm=number["small-norm"],
            small_contribution=number["small-contribution"],
        ),
        optimiser=Progress(most=number["rate"], desired=desired)
        if desired
        else Constant(rate=number["rate"]),
    )


PRESETS = {
    "plain": Ascent(),
    **{f"yosinski-{row}": yosinski(row) for row in (1, 2, 3, 4)},
    "lucid": Ascent(
        steps=256,
        keep="last",  # a value is that of one random view
        parametrisation=Fourier(deviation=0.1, decay_power=1.5),
        transformations=VIEWS,
        optimiser=Adam(step_size=0.02),
    ),
}


def under(prior: Prior, steps: int = PRIOR_STEPS) -> Ascent:
    """An ascent with a generator's code: DGN-AM's, with steps for codes of unit size, under random views.

    Its first step, 8, was for fc6 of CaffeNet: in units of a code's deviation it leaps from end to end of
    its range. Its decay of 0.01 was for codes without bounds; on zoo:toybox-dcgan's, which end at -1 and 1,
    it hurt. The views are lucid's and not DGN-AM's; other networks see more in images that bear them.
    """
    return Ascent(
        steps=steps,
        keep="last",
        parametrisation=prior,
        transformations=VIEWS,
        optimiser=Normalised(step_size=0.3, falls=steps),
    )


def configure(settings: Mapping[str, str], preset: str | Ascent = PRESET) -> Ascent:
    """A preset, by name or as it is, with `settings`.

    Raises UnknownName, and InputError for a value that is refused.

    `parametrisation` and `optimiser` name another piece, with its own settings as they are by default.
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
    """All settings by name, as `configure` reads them."""
    named = {piece: getattr(ascent, piece).name for piece in NAMED}
    own = {
        name: getattr(piece, name)
        for piece in (getattr(ascent, name) for name in PIECES)
        for name in readable(type(piece))
    }
    if isinstance(ascent.parametrisation, Prior):
        named["prior"] = ascent.parametrisation.prior
    return {"steps": ascent.steps, "keep": ascent.keep, **named, **own}
