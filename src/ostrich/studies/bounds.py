"""How much of a network's robust accuracy is known: what bounds verify, what attacks break, what is between.

Each image that is right is verified by linear bounds (alpha-CROWN, `certification/linear.py`) and attacked by
AutoAttack in its fast form with one budget under Linf. Verified images are a lower bound of robust accuracy,
those that stand an upper one. Networks trained by interval bounds (Gowal et al. 2018) are where both nearly
meet; of others linear bounds alone leave a gap, which branch and bound narrows (Wang et al. 2021,
beta-CROWN, and what followed). `network` names published figures to stand beside: cifar-cnn-a-adv, -adv4,
-mix, -mix4 at 2/255.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ostrich.attacks import AutoAttack, Linf, Untargeted
from ostrich.attacks import attack as run_attack
from ostrich.certification.methods import Linear
from ostrich.errors import UnknownName
from ostrich.figures.chart import Chart
from ostrich.inspection.watching import module_of
from ostrich.models.untouched import untouched
from ostrich.published import published
from ostrich.runtime.ranges import above, check_fields
from ostrich.statistics import interval, spread
from ostrich.studies.networks import NetworkSpec, opened
from ostrich.studies.schema import Done, Findings, Row, Study, Table, Trial, crossed, decided, rows_of

NETWORKS = tuple(f"cifar-cnn-a-{kind}" for kind in ("adv", "adv4", "mix", "mix4"))
MEET = 5.0  # points between both sides, where they nearly meet
HALF = 0.5  # of what stands


@dataclass(frozen=True, kw_only=True)
class Settings(NetworkSpec):
    """`eps` is the Linf budget of images in [0, 1], `steps` those on the slopes of the linear bounds.

    Each seed takes other images, and other random starts.
    """

    images: int = 50
    eps: Annotated[float, above(0)] = 2 / 255
    steps: int = 20
    network: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, "bounds")
        if self.network and self.network not in NETWORKS:
            raise UnknownName("network with published bounds", self.network, NETWORKS)


def trials(spec: Settings) -> list[Trial]:
    return crossed(spec.seeds)


def run(spec: Settings, trial: Trial, folder: Path) -> list[Row]:
    classifier, images, labels = opened(spec, trial["seed"])
    method = Linear(eps=spec.eps, steps=spec.steps)
    with untouched(module_of(classifier)):
        right = (classifier.predict(images).argmax(1).cpu() == labels).nonzero()[:, 0]
        graph = method.prepared(classifier, tuple(images.shape[1:]))
        verified = {
            i: method.verify(graph, images[i], int(labels[i]), i, trial["seed"]).verdict == "verified"
            for i in right.tolist()
        }
        attack = AutoAttack(threat=Linf(spec.eps), preset="fast")
        goal = Untargeted(labels[right].to(images.device))
        found = run_attack(attack, classifier, images[right], goal, seed=trial["seed"])
    broken = dict(zip(right.tolist(), found.success.tolist(), strict=True))
    pairs = [(verified.get(i, False), broken.get(i, False)) for i in range(len(labels))]
    return [
        {"image": i, "right": i in verified, "verified": holds, "broken": fell}
        for i, (holds, fell) in enumerate(pairs)
    ]


def judge(spec: Settings, done: Sequence[Done]) -> Findings:
    rows = rows_of(done)
    draws = [rows_of(done, seed=seed) for seed in sorted({row["seed"] for row in rows})]
    clean, verified, standing = (
        [100 * sum(count(row) for row in draw) / len(draw) for draw in draws]
        for count in (_right, _verified, _standing)
    )
    gaps = [above - below for above, below in zip(standing, verified, strict=True)]
    both = sum(row["verified"] and row["broken"] for row in rows)
    gap, lower, upper = interval(gaps), interval(verified), interval(standing)
    meet = not both and gap[2] <= MEET
    most = not both and lower[0] > HALF * upper[0]
    names = {side: f"{spec.network}/{side}" for side in ("verified", "attacked")} if spec.network else {}
    told = {side: f"{published(name).value:g}" for side, name in names.items()}
    known = f"{both or 'no'} image{'' if both == 1 else 's'} both verified and broken"
    return Findings(
        verdict=decided(meet, most),
        because=f"With {spec.eps:.4g} per value {_ranged(lower)} % are verified and {_ranged(upper)} % stand "
        f"against attacks, {interval(clean)[0]:.1f} % are right without: {_ranged(gap)} points are not "
        f"known; {known} (n = {len(draws[0])} images in each of {len(draws)} draws).",
        tables=[
            Table(
                title=f"Percent of the images, linf {spec.eps:.4g}",
                columns=("right", "verified: at least", "attacked: at most", "not known", "both"),
                rows=[(spread(clean), spread(verified), spread(standing), spread(gaps), both)],
            )
        ],
        charts=[
            Chart(
                title="What is known of each draw of images",
                x_label="draw",
                y_label="% of the images",
                series={
                    "verified: at least": _points(verified),
                    "attacked: at most": _points(standing),
                },
                fraction=False,
                between="not known",
            )
        ],
        compared=[
            ("verified, % (published: by branch and bound)", told.get("verified", "-"), _ranged(lower)),
            ("standing against attacks, %", told.get("attacked", "-"), _ranged(upper)),
        ],
        figures={
            "verified": lower[0],
            "attacked": upper[0],
            "clean": interval(clean)[0],
            "gap": gap[0],
            "both": both,
        },
    )


def _ranged(found: tuple[float, float, float]) -> str:
    """A percentage and its interval, of which no end lies beyond 0 or 100."""
    mean, low, high = found
    return f"{mean:.1f} ({max(low, 0):.1f} to {min(high, 100):.1f})"


def _right(row: Row) -> bool:
    return bool(row["right"])


def _verified(row: Row) -> bool:
    return bool(row["verified"] and not row["broken"])


def _standing(row: Row) -> bool:
    return bool(row["right"] and not row["broken"])


def _points(values: Sequence[float]) -> list[dict[str, object]]:
    return [{"x": i, "y": value, "label": str(i)} for i, value in enumerate(values, 1)]


STUDY = Study(
    name="bounds",
    question="How much of the robust accuracy of this network is known?",
    claim="Nearly all, where a network was trained by interval bounds: what is verified and what stands "
    "against attacks nearly meet.",
    source="Gowal et al. 2018, On the effectiveness of interval bound propagation for training verifiably "
    "robust models; Zhang et al. 2018, CROWN; Xu et al. 2021, alpha-CROWN; the published figures are those "
    "of alpha-beta-CROWN's authors.",
    differs="Any network of the kinds that can be bounded, however it was trained: of one trained otherwise "
    "nothing is claimed, and the verdict says whether as much is known of it. Linear bounds alone, without "
    "branch and bound, and AutoAttack in its fast form on files of 8 bits; a draw of images for each seed, "
    "not all.",
    rule="Reproduced: no image is both verified and broken, and the points by which more stand than are "
    f"verified have a 95 % interval over the draws whose upper end is at most {MEET:g}. Direction only: none "
    f"is both, and more than {HALF:.0%} of what stands is verified. Else not reproduced.",
    specs={
        "smoke": Settings(images=6, steps=2),
        "cpu": Settings(),
        "hours": Settings(images=200),
    },
    trials=trials,
    run=run,
    judge=judge,
    published=[f"{name}/{side}" for name in NETWORKS for side in ("verified", "attacked")],
    takes_model=True,
)
