"""AutoAttack: four attacks without parameters to tune, the worst case of each image.

Croce and Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks", section 5. The standard set with its published parameters: APGD on
cross-entropy, APGD on the targeted DLR loss (9 targets), FAB-T (9 targets), each of 100 iterations,
and Square with 5000 queries. Each attacks only what the ones before it left standing; as success is a
verified file, an image is done at the first. `preset=fast` takes half of APGD's iterations, no FAB-T,
and 1000 queries: an upper bound of the robust accuracy that costs a fraction of the standard one.

Ours puts a short APGD first, 20 iterations towards 3 targets: it breaks most of what breaks at all, for
60 gradients an image. An image's result depends on no other image, so what it leaves meets the published set
as before, and no image survives that the published set breaks.

With `surrogate`, a second network is attacked first and what it falls for is tried here (transfer).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from ostrich.attacks.base import InputSpecificAttack
from ostrich.attacks.gradient.apgd import APGD
from ostrich.attacks.minimum_norm.fab import FAB
from ostrich.attacks.score_based.square import Square
from ostrich.attacks.threats import Linf, Threat
from ostrich.attacks.transfer import Transfer
from ostrich.runtime.ranges import at_least

SHORT_ITERATIONS, SHORT_TARGETS = 20, 3  # of the APGD that is run first
AHEAD = 16  # proposals of Square asked about together when few images are left


@dataclass(frozen=True, kw_only=True)
class AutoAttack(InputSpecificAttack):
    """Per image that stands to the end, about 2,000 gradients and 8,000 forwards (standard).

    Croce and Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", section 5.

    preset      "standard": APGD on both losses, FAB-T and Square; "fast": without FAB-T, and shorter
    iterations  of APGD and FAB; None: 100, of the fast preset 50
    queries     of Square; None: 5000, of the fast preset 1000
    surrogate   a second classifier, as MODEL on the command line, that is attacked first
    """

    name: ClassVar[str] = "autoattack"
    needs: ClassVar[str] = "gradient"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    stop: ClassVar[str] = "first"

    threat: Threat = Linf(8 / 255)
    preset: Literal["standard", "fast"] = "standard"
    iterations: Annotated[int | None, at_least(1)] = None
    queries: Annotated[int | None, at_least(1)] = None
    surrogate: str | None = None

    @property
    def members(self) -> tuple[InputSpecificAttack, ...]:
        """The attacks, in the order in which they are run."""
        threat, fast = self.threat, self.preset == "fast"
        iterations = self.iterations or (50 if fast else 100)
        queries = self.queries or (1000 if fast else 5000)
        transfer = () if self.surrogate is None else (Transfer(threat=threat, surrogate=self.surrogate),)
        return (
            *transfer,
            APGD(threat=threat, steps=min(SHORT_ITERATIONS, iterations), loss="dlr", targets=SHORT_TARGETS),
            APGD(threat=threat, steps=iterations, loss="ce"),
            APGD(threat=threat, steps=iterations, loss="dlr"),
            *(() if fast else (FAB(threat=threat, iterations=iterations, stop="first"),)),
            Square(threat=threat, queries=queries, ahead=AHEAD),
        )

    @property
    def steps(self) -> int:
        return sum(member.steps for member in self.members)
