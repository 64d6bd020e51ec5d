"""The question that every explainer answers: which pixels of an image move a unit.

    maps = explain(IntegratedGradients(), classifier, images, ["class:ostrich", "layer3:17"])

has shape (N, U, C, H, W): for each of N images and U units a map of the image's own shape. Where the
images are to be asked about different units, the units are N lists of U.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ostrich import images as pictures
from ostrich.errors import InputError
from ostrich.images import fingerprints
from ostrich.inspection.units import AnyUnit, Sum, Unit, parse_sum
from ostrich.models.batches import filled
from ostrich.models.classifier import Classifier
from ostrich.models.untouched import untouched
from ostrich.runtime.randomness import seed_of, seeded

PURPOSE = 0x4452  # of the random numbers of a network's own
VALUES_PER_BATCH = 4 * 3 * 224 * 224  # pixels times channels that pass through the network together
MOST = 128  # images together; larger batches of small ones leave a processor's caches
ACCELERATED = 16  # times as many on an accelerator
Named = AnyUnit | str
Units = Sequence[Named] | Sequence[Sequence[Named]]  # U units for all images, or N lists of U units
SIZE, SIDES, COLOUR = "size", "sides", "colour"  # ways to read a map: see Explainer.reading


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which pixels of `images` (N, C, H, W) move `units[rows[n, u]]`, rows (N, U)?

    The units are distinct; `seed` is that of everything random.
    """

    classifier: Classifier
    images: Tensor
    units: tuple[AnyUnit, ...]
    rows: Tensor
    seed: int = 0

    def parts(self, copies: int = 1) -> Iterator[Question]:
        """The question in parts: as many images as fit into memory, if each goes `copies` times.

        Where the network takes a number of its own, it is as many.
        """
        return self.split(self.classifier.batch or images_per_batch(self.images, copies))

    def filled(self) -> Question:
        """The question with as many images as the network takes: its layers show one forward of them."""
        if self.classifier.batch is None:
            return self
        ((images, _),) = filled(self.images, self.classifier.batch)
        ((rows, _),) = filled(self.rows, self.classifier.batch)
        return replace(self, images=images, rows=rows)

    def split(self, count: int) -> Iterator[Question]:
        """The question in parts of `count` images."""
        for images, rows in zip(self.images.split(count), self.rows.split(count), strict=True):
            yield replace(self, images=images, rows=rows)

    def only(self, units: Sequence[int], images: Tensor, columns: Tensor) -> Question:
        """Some of the units, for the images (N,) and the columns (U,) of `rows` where these are true.

        Where another unit stands in those rows, the first of the units stands in for it.
        """
        places = torch.zeros(len(self.units), dtype=torch.long, device=self.rows.device)
        places[list(units)] = torch.arange(len(units), device=self.rows.device)
        rows = places[self.rows[images][:, columns]]
        return replace(self, images=self.images[images], units=tuple(self.units[i] for i in units), rows=rows)


@dataclass(frozen=True, kw_only=True)
class Explainer:
    """A method with its settings; one file each. What it must have is `name` and `explain`.

    `needs` is what the network must offer: "gradient", or only "scores". `relus` says whether it is
    a rule for networks of ReLUs, `attention` whether it follows the attention of a transformer, and
    `agnostic` whether its map is the same for every unit. `reading` is how its map is to be read: SIZE, a
    value's size counts and its sign does not; SIDES, values speak for the unit or against it; COLOUR, the
    map looks like a picture.
    """

    name: ClassVar[str]
    needs: ClassVar[str] = "gradient"
    relus: ClassVar[bool] = False
    attention: ClassVar[bool] = False
    agnostic: ClassVar[bool] = False
    reading: ClassVar[str] = SIZE

    def explain(self, question: Question) -> Tensor:
        """The maps (N, U, C, H, W) of a `question`, in a network that is frozen and in evaluation mode.

        Raises InputError for a network, or a unit, that the method does not apply to.
        """
        raise NotImplementedError

    def figures(self, question: Question, maps: Tensor) -> list[list[dict[str, Any]]]:
        """What is to be known of each of the `maps` (N, U, C, H, W) of a `question`; as a rule nothing."""
        return [[{} for _ in own] for own in maps]

    def remarks(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """What the figures come to over many maps; of each `rows` hold `largest` and its `figures`.

        `largest` is None of a map with a value that is not finite.
        """
        zero = sum(row["largest"] == 0 for row in rows)
        nothing = f"{zero} of {len(rows)} maps are zero everywhere: nothing comes back to the image."
        return not_finite(rows) + ([nothing] if zero else [])

    def brief(self) -> Self:
        """The same with the least work: it is refused where the method is, and its maps are rough."""
        return self


def not_finite(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence on the maps that are not known, from `rows` as in `Explainer.remarks`."""
    unknown = sum(row["largest"] is None for row in rows)
    said = f"{unknown} of {len(rows)} maps hold values that are not finite: what moves the unit is not known."
    return [said] if unknown else []


EXPLAINERS: dict[str, type[Explainer]] = {}  # by name; the package, which knows all methods, fills it in


def explain(
    method: Explainer,
    classifier: Classifier,
    images: Tensor,
    units: Units,
    *,
    seed: int = 0,
) -> Tensor:
    """Maps (N, U, C, H, W) of images (N, C, H, W): U units for all of them, or N lists of U units.

    The network is as it was afterwards, also after an exception; an image's maps depend neither on the
    other images nor on the other units. Where answers are random they are means over the classifier's
    `draws`, which `seed` decides. Raises InputError for units that do not exist, for a network
    that the method does not apply to, and for units that the image cannot move.
    """
    if not isinstance(method, Explainer):
        raise InputError(f"{method!r} is no method; give one such as ostrich.attribution.Gradient().")
    pictures.check_images(images)
    images = classifier.beside(images)
    question = _question(classifier, images, units, seed)
    lacking = method.needs == "gradient" and classifier.access != "gradient"
    if lacking and not (method.relus and classifier.way_back):  # a rule of its own may pass where others fail
        raise InputError(_without_gradient(method, classifier))
    if images.numel() == 0:
        return images.new_zeros(len(images), question.rows.shape[1], *images.shape[1:])
    with untouched(classifier.network):
        try:
            return _maps(method, question).detach()
        except RuntimeError as error:
            if not lacking:
                raise
            raise InputError(_without_gradient(method, classifier)) from error


def _maps(method: Explainer, question: Question) -> Tensor:
    """The maps (N, U, C, H, W); where answers are random, of each image alone, the means over draws."""
    classifier = question.classifier
    if classifier.draws == 1:
        return method.explain(question)
    times = classifier.draws if method.needs == "gradient" else 1  # without one `units.values` averages
    found = []
    for one, key in zip(question.split(1), keys(question.images), strict=True):
        with seeded(seed_of(question.seed, PURPOSE, key), classifier.device):
            found.append(torch.stack([method.explain(one).detach() for _ in range(times)]).mean(0))
    return torch.cat(found)


def begun_at(seed: int, classifier: Classifier) -> AbstractContextManager[None]:
    """A context in which the network's own random numbers, if it draws any, begin at `seed`."""
    return seeded(seed, classifier.device) if classifier.draws > 1 else nullcontext()


def _without_gradient(method: Explainer, classifier: Classifier) -> str:
    return (
        f"{classifier.name} {classifier.lacks}: {method.name} needs its gradient. "
        f"{applying(scores_only=True)}"
    )


def figures(
    method: Explainer,
    classifier: Classifier,
    images: Tensor,
    units: Units,
    maps: Tensor,
    *,
    seed: int = 0,
) -> list[list[dict[str, Any]]]:
    """What the method says beside its maps (N, U, C, H, W): figures by name, of N images and U units."""
    images = classifier.beside(images)
    with untouched(classifier.network), begun_at(seed, classifier):
        return method.figures(_question(classifier, images, units, seed), maps)


def _question(
    classifier: Classifier,
    images: Tensor,
    units: Units,
    seed: int,
) -> Question:
    lists = _lists(units, len(images))
    distinct = list(dict.fromkeys(unit for own in lists for unit in own))
    places = {unit: place for place, unit in enumerate(distinct)}
    rows = torch.tensor([[places[unit] for unit in own] for own in lists], device=images.device)
    rows = rows.view(len(images), -1 if lists else len(units)).long()
    return Question(classifier=classifier, images=images, units=tuple(distinct), rows=rows, seed=seed)


def paired(
    method: Explainer,
    classifier: Classifier,
    images: Tensor,
    units: Sequence[AnyUnit | str],
    *,
    seed: int = 0,
) -> Tensor:
    """Maps (N, C, H, W) by `method`: of units[i] for images[i]. Raises InputError as `explain` does."""
    if len(images) != len(units):
        raise InputError(f"{len(images)} images need as many units; got {len(units)}.")
    if not len(images):
        return images.clone()
    return explain(method, classifier, images, [[unit] for unit in units], seed=seed)[:, 0]


def applying(*, scores_only: bool = False) -> str:
    """A sentence that names the methods for a network of any kind, or for one without a gradient."""
    methods = [m for m in EXPLAINERS.values() if not m.relus and not m.attention]
    names = [m.name for m in methods if m.needs == "scores" or not scores_only]
    listed = ", ".join(f"`{name}`" for name in names)
    return f"{listed} appl{'ies' if len(names) == 1 else 'y'} to every network."


def images_per_batch(images: Tensor, copies: int = 1) -> int:
    """How many of images (N, C, H, W) fit into memory together, if each goes `copies` times; at least 1."""
    more = 1 if images.device.type == "cpu" else ACCELERATED
    return max(1, min(MOST * more // copies, more * VALUES_PER_BATCH // max(1, images[:1].numel() * copies)))


def keys(images: Tensor) -> list[int]:
    """A number for each image, of its content: what is random about it is keyed by this."""
    return fingerprints(images)


def _lists(units: Units, count: int) -> list[list[AnyUnit]]:
    """For each of the images its units."""
    if isinstance(units, str | Unit | Sum) or not len(units):
        raise InputError(f"Units are a list, such as ['class:0', 'layer3:17']; got {units!r}.")
    single = [unit for unit in units if isinstance(unit, str | Unit | Sum)]
    if len(single) == len(units):
        return [[_parsed(unit) for unit in single]] * count
    if single:
        raise InputError("Units are one list for all images, or a list for each of them; got both.")
    if len(units) != count:
        raise InputError(f"{count} images need as many lists of units; got {len(units)}.")
    lists = [[_parsed(unit) for unit in own] for own in units if not isinstance(own, str | Unit | Sum)]
    if len({len(own) for own in lists}) > 1 or not lists[0]:
        raise InputError("Every image needs the same number of units, one at least.")
    return lists


def _parsed(unit: Named) -> AnyUnit:
    return parse_sum(unit) if isinstance(unit, str) else unit


def known_explainers() -> list[dict[str, str]]:
    """The rows of `ostrich list explainers`: name, what it needs of a network, what it shows."""
    return [
        {
            "name": name,
            "needs": method.needs,
            "shows": (sys.modules[method.__module__].__doc__ or "").splitlines()[0],
        }
        for name, method in EXPLAINERS.items()
    ]
