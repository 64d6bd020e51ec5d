"""How to climb: a parametrisation, transformations, regularisers and an optimiser, put together.

An ascent that has a name is a preset (`presets.py`): `lucid.py`, `yosinski.py`, and one under a generator's
prior, `dgn_am.py`. The loop itself: `activation_maximization.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ostrich.errors import InputError
from ostrich.visualization.optimisers import Normalised, Optimiser
from ostrich.visualization.parametrisations import Parametrisation, Pixels
from ostrich.visualization.regularisers import Regularisers
from ostrich.visualization.transformations import Transformations


@dataclass(frozen=True, kw_only=True)
class Ascent:
    """How to climb. As it is by default, the plain gradient; the four pieces have settings of their own.

    steps            forwards, at least 1; the last image is looked at and not changed any more
    keep             "best", the image with the highest value met, or the "last" one
    parametrisation  what an image is made of: `Pixels`, `Fourier` or a `Prior`
    transformations  the views in which the network is shown it
    regularisers     what keeps it from becoming noise
    optimiser        how a step follows the slope

    Raises InputError for other values, and for pieces that do not go together.
    """

    steps: int = 256
    keep: str = "best"
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
