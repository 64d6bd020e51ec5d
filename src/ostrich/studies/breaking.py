"""How easily does a real network break: attacks of the lecture, with published numbers beside them.

One network and its images a run. A row is an attack with its settings, in shares: each seed takes other
images that the network gets right, the next block of them in an order that is always the same. A share that
is done stays done, so the study grows row by row over days, and a row is judged once all of its shares are
there. What is run stands in `breaking_runs.py`; every success is a file that was read back. Here are the
rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Annotated

from ostrich.errors import UnknownName
from ostrich.published import published
from ostrich.runtime.ranges import at_least, check_fields
from ostrich.statistics import interval
from ostrich.studies import breaking_page as page
from ostrich.studies import breaking_runs as runs
from ostrich.studies.breaking_page import Line, share
from ostrich.studies.networks import NetworkSpec
from ostrich.studies.points import percent, ranged
from ostrich.studies.schema import Done, Findings, Row, Study, Trial, Verdict, decided, rows_of

NEARLY = 0.95  # of the images: all but one in twenty
TIMES = 2.0  # a figure is the published one where all of its interval is within this factor of it
FEW = 0.10  # of the images may stand where none does in what is published
TENTH = 0.10  # of the classes
SURE = 99.0  # % of confidence
HUNDREDTH = 0.01
MNIST_ALONE = ("lbfgs", "lbfgs-target")  # what is published of them is of no image like these
SOME = 0.05  # of the images: what one pixel breaks at least

PUBLISHED = {
    "lbfgs": ("szegedy-mnist-fc/distortion-low", "szegedy-mnist-fc/distortion-high"),
    "deepfool": ("deepfool-cifar10-nin/relative-change", "deepfool-cifar10-lenet/relative-change"),
    "deepfool-imagenet": (
        "deepfool-imagenet-googlenet/relative-change",
        "deepfool-imagenet-caffenet/relative-change",
    ),
    "cw": ("cw-cifar10-best/l2",),
    "fgsm": ("fgsm-cifar10/standing",),
    "pgd": ("pgd-cifar10/standing",),
    "pgd-imagenet": ("autoattack-imagenet-resnet50/standing",),
    "fooling-ascent": ("fooling-ascent/confidence",),
    "fooling-cppn": ("fooling-mnist/confidence",),
    "fooling-cppn-imagenet": ("fooling-cppn-imagenet/median-confidence",),
    "fooling-direct": ("fooling-mnist/confidence",),
    "fooling-direct-imagenet": ("fooling-direct-imagenet/median-confidence",),
    "universal": ("universal-vgg19/linf-fooling-rate", "universal-vgg-f/linf-fooling-rate"),
    "one-pixel": ("one-pixel-cifar10-allconv/success", "one-pixel-cifar10-nin/success"),
    "printed": ("printed-fgsm-eps16/top1-error",),
    "patch-10": ("patch-ensemble/success",),
}
BESIDE = (  # told on the page, judged by no rule
    "cw-cifar10-average/l2",
    "cw-cifar10-worst/l2",
    "fooling-shown/confidence",
    "fooling-direct-imagenet/classes",
    "universal-500-images/linf-fooling-rate",
    "one-pixel-cifar10-resnet/success",
    "one-pixel-cifar10-resnet18/success",
)


@dataclass(frozen=True, kw_only=True)
class Settings(NetworkSpec):
    """`images` are those of a share that the network gets right, `one_pixel_images` those of that row.

    `also` are further networks on which a universal perturbation is judged, each MODEL or MODEL@FILE with its
    weights. `target` is the class that L-BFGS aims at, `patch_target` that of the patch; empty, these rows
    are left out. A setting that begins with an attack's name is that attack's.
    """

    images: Annotated[int, at_least(1)] = 16
    one_pixel_images: Annotated[int, at_least(1)] = 10
    attacks: tuple[str, ...] = runs.ROWS
    also: tuple[str, ...] = ()
    target: str = "ostrich"
    patch_target: str = "toaster"
    lbfgs_constants: Annotated[int, at_least(1)] = 12
    cw_constants: Annotated[int, at_least(1)] = 9
    cw_iterations: Annotated[int, at_least(1)] = 1000
    fooling_population: Annotated[int, at_least(1)] = 200
    fooling_generations: Annotated[int, at_least(1)] = 200
    universal_epochs: Annotated[int, at_least(1)] = 30
    patch_epochs: Annotated[int, at_least(1)] = 40
    one_pixel_population: Annotated[int, at_least(4)] = 400
    one_pixel_generations: Annotated[int, at_least(1)] = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, "breaking")
        for name in self.attacks:
            if name not in runs.ROWS:
                raise UnknownName("attack of the study breaking", name, runs.ROWS)

    @property
    def models(self) -> tuple[str, ...]:
        return self.also

    @property
    def planned(self) -> tuple[str, ...]:
        """The rows, cheapest first, less those whose target is empty."""
        without = {"lbfgs-target"} if not self.target else set()
        without |= {name for name in runs.PATCHES if not self.patch_target}
        return tuple(name for name in runs.ROWS if name in self.attacks and name not in without)


def trials(spec: Settings) -> list[Trial]:
    """The shares of a row follow one another: a study that is stopped in the middle has whole rows."""
    return [{"row": name, "seed": seed} for name in spec.planned for seed in range(spec.seeds)]


def decides(trial: Trial) -> set[str]:
    """The settings that decide a row: those of its attack, and how many images a share has."""
    name: str = trial["row"]
    own = {"lbfgs-target": "lbfgs", "fooling-cppn": "fooling", "fooling-direct": "fooling"}.get(name, name)
    own = "patch" if name in runs.PATCHES else own.replace("-", "_")
    found = {f.name for f in fields(Settings) if f.name.startswith(f"{own}_")}
    found |= {"images"} if name not in (*runs.FOLDED, *runs.EVOLVED, "one-pixel") else set()
    found |= {"also"} if name == "universal" else {"target"} if name == "lbfgs-target" else set()
    return found | {"model", "data", "device"}


def run(spec: Settings, trial: Trial, folder: Path) -> list[Row]:
    return runs.run(spec, trial["row"], trial["seed"], folder)


# The rules ---------------------------------------------------------------------------------------


def _numbers(name: str, classes: int) -> list[float]:
    """The published numbers of a row, smallest first; those of ImageNet for a network of ImageNet."""
    own = f"{name}-imagenet"
    if classes == runs.IMAGENET and own in PUBLISHED:
        return sorted(published(one).value for one in PUBLISHED[own])
    if classes == runs.IMAGENET and name in ("fgsm", "cw", "one-pixel"):
        return []  # published for small images alone
    return sorted(published(one).value for one in PUBLISHED.get(name, ()))


def _near(low: float, high: float, numbers: Sequence[float]) -> bool:
    """Whether all of an interval is within the factor of what is published: a wide one is not."""
    return numbers[0] / TIMES <= low and high <= numbers[-1] * TIMES


def _words(numbers: Sequence[float]) -> str:
    return " to ".join(f"{number:g}" for number in dict.fromkeys(numbers)) or "-"


def distance_line(
    name: str, rows: Sequence[Row], numbers: Sequence[float], field: str, what: str, digits: int
) -> Line:
    """A row of smallest changes: the mean distance of the broken ones, and how many are broken."""
    judged = bool(numbers) and name not in MNIST_ALONE
    broken = [row[field] for row in rows if row["broken"]]
    rate, _, _, n = share(rows, "broken")
    if not broken:
        return Line(
            value=0.0,
            low=0.0,
            high=0.0,
            n=n,
            what=what,
            more="none broken",
            verdict="not reproduced" if judged else None,
        )
    mean, low, high = interval(broken)
    filed = [row[f"{field}_of_file"] for row in rows if row["broken"]]
    verdict: Verdict | None = None
    if judged:
        nearly = rate >= 100 * NEARLY
        verdict = decided(nearly and _near(low, high, numbers), nearly)
    more = f"{len(broken)} of {n} broken, median {median(broken):.{digits}f}, of the files "
    more += f"{interval(filed)[0]:.{digits}f}"
    return Line(
        value=mean,
        low=max(low, 0.0),
        high=high,
        n=len(broken),
        what=what,
        verdict=verdict,
        more=more,
        digits=digits,
    )


def _standing(name: str, rows: Sequence[Row], numbers: Sequence[float]) -> Line:
    rate, low, high, n = share([{"stands": not row["broken"]} for row in rows], "stands")
    verdict: Verdict | None = None
    if numbers and name == "fgsm":
        verdict = decided(_near(low, high, numbers), rate <= 50)
    elif numbers:
        verdict = decided(rate == 0, rate <= 100 * FEW)
    return Line(value=rate, low=low, high=high, n=n, what="still right, %", verdict=verdict)


def _ascent(rows: Sequence[Row], numbers: Sequence[float]) -> Line:
    confidences = [100 * row["confidence"] for row in rows]
    low, high = _median_interval(confidences)
    theirs = numbers[0] - HUNDREDTH / 2  # it is published to a hundredth
    reached, sure = (sum(one >= least for one in confidences) / len(rows) for least in (theirs, SURE))
    return Line(
        value=median(confidences),
        low=low,
        high=high,
        n=len(rows),
        what="median confidence, %",
        verdict=decided(reached >= NEARLY, sure >= NEARLY),
        more=f"{reached:.0%} of the images with {numbers[0]:g} % at least, where the ascent ends",
        digits=2,
    )


def _median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of a median by order statistics; of fewer than six values the whole range."""
    ordered, n = sorted(values), len(values)
    skip = max(0, int(n / 2 - 0.98 * n**0.5))
    return ordered[skip], ordered[n - 1 - skip]


def _evolved(rows: Sequence[Row], numbers: Sequence[float]) -> Line:
    medians = [100 * row["median"] for row in rows]
    reached = [row["sure"] for row in rows]
    classes = rows[0]["of_classes"]
    mean, low, high = interval(medians)
    return Line(
        value=mean,
        low=max(low, 0.0),
        high=min(high, 100.0),
        n=len(rows),
        what="median confidence over all classes, %",
        verdict=decided(mean >= numbers[0], min(reached) >= TENTH * classes),
        more=f"{' / '.join(map(str, reached))} of {classes} classes with {SURE:g} % at least, after "
        f"{rows[0]['generations']} generations of {rows[0]['population']}",
        digits=2,
    )


def _above(
    rows: Sequence[Row],
    field: str,
    without: tuple[str, tuple[float, float, float]],
    numbers: Sequence[float],
    what: str,
    more: str = "",
) -> Line:
    """A rate that has to be above what happens `without` the attack: its words, its percent with interval."""
    rate, low, high, n = share(rows, field)
    words, chance = without
    above = low > chance[2]
    verdict = decided(above and rate >= numbers[0], above) if numbers else None
    return Line(
        value=rate,
        low=low,
        high=high,
        n=n,
        what=what,
        verdict=verdict,
        more=f"{words} {ranged(chance)}{more}",
    )


def _one_pixel(rows: Sequence[Row], numbers: Sequence[float]) -> Line:
    rate, low, high, n = share(rows, "broken")
    verdict: Verdict | None = None
    if numbers:
        verdict = decided(_near(low, high, numbers), rate >= 100 * SOME)
    return Line(value=rate, low=low, high=high, n=n, what="broken by one pixel, %", verdict=verdict)


def line(name: str, rows: Sequence[Row]) -> Line | None:
    """What the rows of one row's shares come to; None where there are none. Its verdict is by its rule."""
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        kinds.setdefault(row["kind"], []).append(row)
    if not any(kind in kinds for kind in ("image", "evolution")):
        return None
    about, images = kinds["about"][0], kinds.get("image", [])
    numbers = _numbers("lbfgs" if name == "lbfgs-target" else name, about["classes"])
    if name in ("lbfgs", "lbfgs-target"):
        found = distance_line(name, images, numbers, "rms", "root mean square change of a value, mean", 5)
    elif name == "deepfool":
        found = distance_line(name, images, numbers, "relative", "change by image, L2, mean", 5)
    elif name == "cw":
        found = distance_line(name, images, numbers, "l2", "L2 of the change, mean", 3)
    elif name in ("fgsm", "pgd"):
        found = _standing(name, images, numbers)
    elif name == "fooling-ascent":
        found = _ascent(images, numbers)
    elif name in ("fooling-cppn", "fooling-direct"):
        found = _evolved(kinds["evolution"], numbers)
    elif name == "one-pixel":
        found = _one_pixel(images, numbers)
    elif name == "printed":
        clean = share(images, "clean_photograph_wrong")[:3]
        what = "photographs of adversarial prints that are wrong, %"
        found = _above(images, "photograph_wrong", ("of clean prints", clean), numbers, what)
    else:
        field = "changed" if name == "universal" else "broken"
        what = "predictions changed, %" if name == "universal" else "images that become the target, %"
        rest = [row for row in images if row[field] is not None]
        of = sum(row["of"] for row in kinds["chance"])
        chance = percent(round(sum(row["rate"] * row["of"] for row in kinds["chance"])), of)
        more = f"; fitted on {about['fitted']}, n held out"
        found = _above(rest, field, ("by chance", chance), numbers, what, more)
    return Line(**{**vars(found), "published": _words(numbers)})


def judge(spec: Settings, done: Sequence[Done]) -> Findings:
    lines: dict[str, Line] = {}
    partial: dict[str, int] = {}
    for name in spec.planned:
        shares = [one for one in done if one.trial["row"] == name]
        found = line(name, rows_of(shares))
        if found is None:
            continue
        lines[name] = found
        if len(shares) < spec.seeds:
            partial[name] = len(shares)
            lines[name] = Line(**{**vars(found), "verdict": None})
    verdicts = {name: one.verdict for name, one in lines.items() if one.verdict is not None}
    whole = list(verdicts.values())
    about = next((row for row in rows_of(done) if row["kind"] == "about"), None)
    verdict = decided(
        bool(whole) and all(one == "reproduced" for one in whole),
        bool(whole) and "not reproduced" not in whole,
    )
    return Findings(
        verdict=verdict,
        because=page.because(verdicts, len(lines), partial, about),
        tables=[page.row_by_row(lines, partial, spec.seeds), *page.details(rows_of(done))],
        charts=page.charts(lines),
        compared=[(f"{name}: {one.what}", one.published, one.here) for name, one in lines.items()],
        figures={
            f"{name}{end}": value
            for name, one in lines.items()
            for end, value in (("", one.value), ("_low", one.low), ("_high", one.high), ("_n", one.n))
        },
    )


STUDY = Study(
    name="breaking",
    question="How easily does this network break, beside what is published?",
    claim="A change that nobody sees, a pattern that shows nothing, one picture for all images, one pixel, a "
    "sticker and a print: each makes a network say what is not there.",
    source="Szegedy et al. 2013; Goodfellow et al. 2014; Nguyen et al. 2015; Moosavi-Dezfooli et al. 2016 "
    "(DeepFool) and 2017 (universal perturbations); Carlini & Wagner 2017; Su et al. 2019; Kurakin et al. "
    "2017; Brown et al. 2017.",
    differs="Other networks than the published ones, and fewer images; only those that the network gets "
    "right are attacked, and success is decided on the file, in 8 bits. What is published of ascent, of one "
    "picture for all and of prints is of ImageNet, also beside a network of small images; Szegedy's is of "
    "MNIST, and so is evolution's beside one. Distances are those before rounding, beside "
    "those of the files. The photographs of prints are simulated. Evolution has "
    "fewer generations than published of ImageNet, a patch one network instead of five, a universal "
    "perturbation tens or hundreds of images instead of 10,000: all images but those of a fold, on which it "
    "is judged.",
    rule="A row is judged once all of its shares are there, by its own line here, all shares together; what "
    "has nothing comparable published beside it (L-BFGS has MNIST alone) is judged by none. Reproduced: "
    "every row that is judged is reproduced. Direction only: none of them is not reproduced. Else not "
    "reproduced. Of the rows, with 95 % intervals; a figure is the published one where all of its interval "
    f"is within a factor of {TIMES:g} of what is published. deepfool and cw: reproduced where "
    f"{NEARLY:.0%} at least are broken and the mean distance is the published one; direction only where "
    f"{NEARLY:.0%} are broken. fgsm: reproduced where the share that stands is the published one; direction "
    f"only where at most half stands. pgd: reproduced where none stands; direction only where at most "
    f"{FEW:.0%} do. fooling-ascent: reproduced where {NEARLY:.0%} of the images at least reach the "
    f"published confidence, at which the ascent ends; direction only where {NEARLY:.0%} reach {SURE:g} %. "
    "fooling-cppn and fooling-direct: reproduced where the median over "
    "all classes, mean of the shares, is at least the published one; direction only where each share "
    f"reaches {TENTH:.0%} of the classes with {SURE:g} %. universal and patch-10: direction only "
    "where all of the interval of the rate on held-out images is above that of random changes of the same "
    "size; reproduced where, besides, the rate is the least published one at least. one-pixel: reproduced "
    f"where the rate is the published one; direction only where {SOME:.0%} fall at least. printed: "
    "direction only where all of the interval of what is wrong on photographs of adversarial prints is "
    "above that of clean prints; reproduced where, besides, the share is the published one at least.",
    specs={
        "smoke": Settings(
            images=3,
            one_pixel_images=1,
            attacks=("fgsm", "pgd", "deepfool", "lbfgs", "fooling-ascent", "universal"),
            universal_epochs=1,
            lbfgs_constants=2,
        ),
        "cpu": Settings(attacks=runs.QUICK),
        "hours": Settings(images=34),
    },
    trials=trials,
    run=run,
    judge=judge,
    published=[*dict.fromkeys(name for names in PUBLISHED.values() for name in names), *BESIDE],
    takes_model=True,
    row_by_row=True,
    decides=decides,
)
