"""Yosinski's four ways: pixels, decay, blur, and small pixels set to zero, row by row of their table 1.

Yosinski, Clune, Nguyen, Fuchs, Lipson 2015, "Understanding neural networks through deep visualization",
section 3 and table 1, as published. Their rates were chosen for CaffeNet, whose class scores reach 70
for images of 227 pixels; another network may need `optimiser=normalised` (benchmarks/recognised.md).
"""

from __future__ import annotations

from ostrich.published import published
from ostrich.visualization.ascent import Ascent
from ostrich.visualization.optimisers import Constant, Progress
from ostrich.visualization.parametrisations import Pixels
from ostrich.visualization.regularisers import Regularisers

ROWS = (1, 2, 3, 4)  # of table 1


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
