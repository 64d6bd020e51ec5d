"""How a network's answer is read as scores (N, K).

    tensor (N, K)                    as it is; axes of length one are left out, as in (N, K, 1, 1)
    tuple, list, dict, object        its tensor `logits`, or the only one of floats (N, K) in it, K = 1 too;
                                     of several, of which as many classes as there are names go first, the
                                     one called `scores`, `output` or `out`, or the only one that is no `aux`;
                                     else refused: --output says which is meant
    one output, (N, 1) or (N,)       two classes: class 1 where a logit is above 0, a sigmoid above 0.5
    probabilities, or per cent       their logarithm, of which the softmax is what the network returned
    whole numbers (N,)               labels, as one-hot scores
    independent sigmoids             refused: several classes can be true at once; argmax where asked for

Whether one output is a logit or a probability is told by what the network computes last, and where that
cannot be seen by its answers to images of very different kinds. A logit that never changes its sign there is
taken for none: as per cent, or the logarithm of a probability, it would be one class whatever is shown. What
a sigmoid or a softmax was given is kept, so that a saturated one has a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ostrich.errors import InputError
from ostrich.models.endings import SIGMOIDS, SOFTMAXES, Ending, inverted, logarithm
from ostrich.models.returned import HOW_TO_WRAP, Path, as_rows, one_hot, other_rows, shapes, tensors

ENDS = (0.05, 0.95)  # what a sigmoid's answers to very different images go beyond, on both sides
PER_CENT = 100.0
SUMS = 1e-2  # how far rows of probabilities may be from a sum of 1
NAMED = ("scores", "output", "out")  # what scores are called beside `logits`
AUXILIARY = "aux"  # in the name of a head that only training needs
WORDS = ("logit", "logits", "sigmoid")  # what --output may say of the form; all else is a place
Ask = Callable[[Tensor], object]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Where in an answer the scores stand, and in which form.

    `form` is "logits", "labels", "probabilities", "one logit", "one sigmoid" or "independent sigmoids";
    `most` is what a probability of one is; `ends` whether the network ends in a sigmoid or softmax that can
    be seen; `sentence` is what is said.
    """

    form: str
    path: Path = ()
    most: float = 1.0
    ends: bool = False
    sentence: str | None = None

    def scores(
        self, name: str, ask: Ask, inputs: Tensor, count: int | None, *, before_softmax: bool
    ) -> Tensor:
        """Scores (N, K) of inputs (N, C, H, W); with `before_softmax`, of what goes into a last softmax."""
        before = self.form == "one sigmoid" or (before_softmax and self.form == "probabilities")
        watched = self.ends and before
        if watched:
            with Ending() as ending:
                output = ask(inputs)
        else:
            output = ask(inputs)
        found = self._at_path(name, output)
        if self.form == "labels":
            return one_hot(name, found, count)
        given = ending.given_for(found) if watched else None
        rows = as_rows(found if given is None else given, len(inputs))
        if rows is None:
            raise other_rows(name, found, len(inputs))
        if self.form == "probabilities" and given is None:
            return logarithm(rows / self.most)
        if not self.of_one:
            return rows
        logit = rows[:, 0]
        if self.form == "one sigmoid" and given is None:
            logit = inverted(logit)
        return torch.stack([torch.zeros_like(logit), logit], 1)

    @property
    def of_one(self) -> bool:
        """Whether two classes are read from one output."""
        return self.form.startswith("one ")

    def _at_path(self, name: str, output: object) -> Tensor:
        if isinstance(output, Tensor) and not self.path:
            return output
        found = dict(tensors(output))
        if self.path not in found:
            raise InputError(
                f"{name} no longer returns {'.'.join(self.path) or 'a tensor'}: {shapes(found)}."
            )
        return found[self.path]


def recognised(
    name: str,
    ask: Ask,
    output: object,
    images: int,
    count: int | None,
    wanted: str | None,
    varied: Sequence[Tensor],
) -> Reading:
    """How to read `output`, the answer to so many images.

    `count` is the number of class names, None where they are not known; `wanted` the option --output;
    `varied` are batches of inputs (M, C, H, W) of very
    different kinds. Raises InputError where it cannot be told.
    """
    place, word = _wanted(wanted, output)
    path, found = _chosen(name, ask, output, images, count, place, varied)
    said = f"`{'.'.join(path)}` of all that is returned" if path else ""
    if not found.dtype.is_floating_point:
        return Reading(form="labels", path=path, sentence=said or None)
    rows = as_rows(found, images)
    if rows is None:
        raise other_rows(name, found, images)
    one = rows.shape[1] == 1
    if one and count not in (None, 2):
        raise InputError(
            f"{name} returns one output, which is read as two classes, but {count} class names are given."
        )
    if not one and word == "sigmoid":
        raise InputError(f"--output sigmoid is for one output; {name} returns {rows.shape[1]}.")
    reading = _form(name, ask, path, rows, one, word, varied)
    if found.ndim > 2:
        said = "; ".join(part for part in (said, "axes of length one are left out") if part)
    told = {
        "one logit": "one logit, read as two classes: class 1 above 0",
        "one sigmoid": "one sigmoid, read as two classes: class 1 above 0.5",
        "probabilities": f"probabilities that sum to {reading.most:g}, not logits; their logarithms are taken"
        + ("; attacks follow what goes into the softmax" if reading.ends else ""),
        "independent sigmoids": "independent sigmoids, of which the largest is taken: several classes can be "
        "true at once",
    }.get(reading.form, "")
    sentence = "; ".join(part for part in (said, told) if part)
    return replace(reading, path=path, sentence=sentence or None)


def _form(
    name: str, ask: Ask, path: Path, rows: Tensor, one: bool, word: str | None, varied: Sequence[Tensor]
) -> Reading:
    """How floats (N, K) are read, wherever they stand."""
    if one and word in ("logit", "logits"):
        return Reading(form="one logit")
    if not one and not _within(rows, PER_CENT):
        return Reading(form="logits")
    answers, last = _answers(ask, path, varied, len(rows))
    most = PER_CENT if not one and _is_per_cent(answers) else 1.0
    answers = answers / most
    if not one and most == 1 and not _within(rows):
        return Reading(form="logits")
    sums = answers.sum(1)
    within, reaches = _within(answers), False
    if len(answers):
        reaches = bool(answers.min() < ENDS[0]) and bool(answers.max() > ENDS[1])
    if one:
        if word == "sigmoid" or last in SIGMOIDS or (within and reaches):
            return Reading(form="one sigmoid", ends=last in SIGMOIDS)
        low, high = _ends(rows, answers)
        if len(answers) and low < 0 < high:
            return Reading(form="one logit")
        raise InputError(
            f"{name} returns one output, and its answers to {len(answers)} images very unlike each other, "
            f"{low:.3g} to {high:.3g}, do not tell whether it is a logit, which is above and below 0, or a "
            "probability between 0 and 1. Say it with --output logit (class 1 above 0) or --output sigmoid "
            "(class 1 above 0.5); what is neither, as per cent, has to be wrapped: `return self.inner(x) / "
            "100`."
        )
    if len(answers) and within and bool(((sums - 1).abs() < SUMS).all()):
        return Reading(form="probabilities", most=most, ends=last in SOFTMAXES)
    if last in SIGMOIDS or (within and reaches):
        if word is None:
            raise InputError(
                f"{name} returns {rows.shape[1]} scores between 0 and 1 that do not sum to 1, as of "
                "independent sigmoids: several classes can be true at once, or none. To judge the largest "
                "as the one answer, say --output logits (in Python: output='logits')."
            )
        return Reading(form="independent sigmoids")
    return Reading(form="logits")


def _answers(ask: Ask, path: Path, varied: Sequence[Tensor], images: int) -> tuple[Tensor, str]:
    """The finite answers (m, K) to inputs, in float64, and the name of what was computed last.

    What the network refuses is left out; it may take only as many `images` at once as it was asked about.
    """
    answers: list[Tensor] = []
    last = ""
    for batch in varied:
        turns = torch.arange(max(images, len(batch)), device=batch.device) % len(batch)
        for parts in ([batch], batch[turns].split(max(1, images))):
            try:
                for part in parts:
                    with Ending() as ending:
                        found = dict(tensors(ask(part)))[path]
                    rows = as_rows(found, len(part))
                    answers += [] if rows is None else [rows.detach().double().cpu()]
                    last = ending.name_for(found)
                break
            except Exception:  # of someone else's network, for images unlike any
                continue
    every = torch.cat(answers) if answers else torch.zeros(0, 1, dtype=torch.double)
    return every[torch.isfinite(every).all(1)], last


def _within(scores: Tensor, most: float = 1.0) -> bool:
    """Whether all that is finite lies in [0, most]; a row that is not finite tells nothing."""
    if torch.isinf(scores).any():
        return False
    finite = scores[torch.isfinite(scores)]
    return not len(finite) or bool(finite.min() >= 0 and finite.max() <= most * (1 + 1e-3))


def _is_per_cent(answers: Tensor) -> bool:
    """Whether answers (m, K) fill [0, 100], and no more: also those to images far outside of [0, 1]."""
    least, most = (PER_CENT * end for end in ENDS)
    filled = len(answers) > 0 and bool(answers.min() < least) and bool(answers.max() > most)
    return filled and _within(answers, PER_CENT)


def _ends(rows: Tensor, answers: Tensor) -> tuple[float, float]:
    """The least and the largest finite answer."""
    every = torch.cat([rows.detach().double().cpu().flatten(), answers.flatten()])
    finite = every[every.isfinite()]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)


def _wanted(wanted: str | None, output: object) -> tuple[str | None, str | None]:
    """--output as a place in what is returned and a word for its form; `logits` may be both."""
    if wanted is None:
        return None, None
    parts = [part.strip() for part in wanted.split(",")]
    names = {".".join(path) for path, _ in tensors(output)}
    word = next((part for part in parts if part in WORDS), None)
    place = next((part for part in parts if part in names or part not in WORDS), None)
    return place, word


def _chosen(
    name: str,
    ask: Ask,
    output: object,
    images: int,
    count: int | None,
    place: str | None,
    varied: Sequence[Tensor],
) -> tuple[Path, Tensor]:
    """The tensor of scores in what is returned, and its path. Raises InputError where it cannot be told."""
    found = dict(tensors(output))
    if place is not None:
        for number, (path, tensor) in enumerate(found.items()):
            if place in (".".join(path), str(number)):
                return path, tensor
        raise InputError(f"--output {place}: {name} returns {shapes(found)}.")
    if () in found:
        tensor = found[()]
        labels = not tensor.dtype.is_floating_point and not tensor.dtype.is_complex and tensor.ndim == 1
        if labels or (tensor.dtype.is_floating_point and tensor.ndim <= 1):
            return (), tensor
        rows = as_rows(tensor, images) if tensor.dtype.is_floating_point else None
        if rows is None:
            if tensor.dtype.is_floating_point and tensor.ndim == 2:
                raise other_rows(name, tensor, images)
            raise InputError(f"{name} returns {shapes(found)}, not scores (N, K). {HOW_TO_WRAP}")
        return (), tensor
    fitting = _fitting(found, images)
    if images == 1 and len(fitting) > 1:
        fitting = _of_each_image(ask, found, fitting, varied)
    wide = [p for p, rows in fitting.items() if count in _classes(rows)] or list(fitting)
    for choice in (
        _nearest([path for path in fitting if path[-1] == "logits"]),
        list(fitting),
        wide,
        *([path for path in wide if path[-1] == word] for word in NAMED),
        [path for path in wide if not any(AUXILIARY in key.lower() for key in path)],
    ):
        if len(choice) == 1:
            return choice[0], found[choice[0]]
    if fitting:
        raise InputError(
            f"{name} returns {shapes(found)}, and which of them are the scores cannot be told. Choose one "
            f"with --output {'|'.join('.'.join(path) for path in fitting)}."
        )
    what = shapes(found) if found else f"a {type(output).__name__}"
    raise InputError(f"{name} returns {what}, not a tensor of scores (N, K). {HOW_TO_WRAP}")


def _fitting(found: Mapping[Path, Tensor], images: int) -> dict[Path, Tensor]:
    """Rows (N, K) of all floats with a row for each of so many images, by where they stand."""
    rows = {path: as_rows(t, images) for path, t in found.items() if t.dtype.is_floating_point}
    return {path: of_one for path, of_one in rows.items() if of_one is not None}


def _of_each_image(
    ask: Ask, found: Mapping[Path, Tensor], fitting: dict[Path, Tensor], varied: Sequence[Tensor]
) -> dict[Path, Tensor]:
    """Of what fits one image, what fits two as well: a loss, which is one number for all images, does not.

    Of a network that answers no two images at once, what has no axis is left out.
    """
    try:
        of_two = _fitting(dict(tensors(ask(varied[0][:2]))), 2)
    except Exception:  # of someone else's network, which may take one image at a time
        of_two = {path: tensor for path, tensor in found.items() if tensor.ndim}
    return {path: rows for path, rows in fitting.items() if path in of_two} or fitting


def _classes(rows: Tensor) -> tuple[int, ...]:
    """How many classes scores (N, K) may be of: one output is of two."""
    return (2,) if rows.shape[1] == 1 else (rows.shape[1],)


def _nearest(paths: list[Path]) -> list[Path]:
    """Those in the fewest containers: the `logits` of an answer stand before those of its parts."""
    least = min(map(len, paths), default=0)
    return [path for path in paths if len(path) == least]
