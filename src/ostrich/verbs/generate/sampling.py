"""`ostrich.generate.sample` and `interpolate`: images, or clips, of a trained generator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from ostrich.errors import InputError
from ostrich.generative import interpolation, sampling
from ostrich.generative.generator import Generator
from ostrich.runtime.runs import Run
from ostrich.verbs.generate.asking import Answer, Question, as_codes, as_generator, chosen_classes
from ostrich.verbs.outcome import Where, answer


class SampleResult(Answer):
    """Samples `images` (N, C, H, W) in [0, 1], or clips (N, C, T, H, W), their `codes` (N, Z) and `classes`.

    `classes` (N,) are None where the generator is not conditional.
    """

    def __init__(self, question: Question, drawn: sampling.Sample) -> None:
        super().__init__(question, drawn.figures)
        self.images, self.codes, self.classes = drawn.images, drawn.codes, drawn.classes
        self._drawn = drawn

    def write(self, run: Run) -> None:
        self._drawn.write(run.folder)

    @property
    def shown(self) -> Tensor:
        return self._drawn.grid


class InterpolationResult(Answer):
    """`images` (S, R, C, H, W) in [0, 1], or clips: S steps on each of R ways."""

    def __init__(self, question: Question, ways: interpolation.Interpolation) -> None:
        super().__init__(question, ways.figures)
        self.images = ways.images
        self._ways = ways

    def write(self, run: Run) -> None:
        self._ways.write(run.folder)

    @property
    def shown(self) -> Tensor:
        return self._ways.sheet


def sample(
    generator: str | Path | Generator,
    count: int = 64,
    *,
    classes: Sequence[str | int] | str | int | None = None,
    truncation: float | None = None,
    codes: Tensor | str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    out: Where = None,
    force: bool = False,
) -> SampleResult:
    """Draw samples of a generator: a name, the folder of its run, or a `Generator`.

    A sample depends on the seed and its own number alone. `classes`, by name or number, are taken in turn, by
    default all. `truncation` redraws every number of a normal code beyond it (Brock 2019, section 3.1; 0.5:
    typical samples). `codes` (N, Z) of your own, a tensor or a .npy file, take the place of `count`. Raises
    InputError, UnknownName.
    """
    if codes is None and count < 1:
        raise InputError(f"--count is at least 1; got {count}.")
    if codes is not None and truncation is not None:
        raise InputError("--truncation is for codes that are drawn; --codes are taken as they are.")
    made_by = as_generator(generator, device)
    chosen = chosen_classes(made_by, classes)
    if codes is None:
        drawn = made_by.codes.numbered(range(count), seed, truncation)
    else:
        drawn = as_codes(sampling.read_codes(Path(codes)) if isinstance(codes, str | Path) else codes)
        made_by.codes.check(drawn)
    typed = list(classes) if isinstance(classes, list | tuple) else chosen
    asked = {"n": len(drawn), "classes": typed, "truncation": truncation}
    asked |= {"codes": drawn.tolist() if codes is not None else None}

    def compute(question: Question) -> SampleResult:
        return SampleResult(question, sampling.sample(made_by, drawn, chosen, truncation))

    found: SampleResult = answer(Question("sample", made_by, asked, seed, compute), out, force)
    return found


def interpolate(
    generator: str | Path | Generator,
    rows: int = 6,
    steps: int = 9,
    *,
    start: str | int | None = None,
    end: str | int | None = None,
    truncation: float | None = None,
    gif: bool = False,
    seed: int = 0,
    device: str = "auto",
    out: Where = None,
    force: bool = False,
) -> InterpolationResult:
    """Walk between codes of `generator`, or between two of its classes.

    Between uniform codes the way is straight, between normal ones on the great circle. `rows` is the number
    of ways, `steps` that of the images of each, its ends included. `start` and `end` are classes by name or
    number, between whose embeddings the way goes at a fixed code. `gif` writes the ways there and back as a
    film. `truncation` is that of `sample`. Raises InputError, UnknownName.
    """
    if rows < 1 or steps < 2:
        raise InputError(f"There is at least 1 row and 2 steps; got {rows} and {steps}.")
    if (start is None) != (end is None):
        raise InputError("A way between classes has both ends: --from CLASS --to CLASS, start= and end=.")
    made_by = as_generator(generator, device)
    ends = None
    if start is not None and end is not None:
        ends = (made_by.class_index(str(start)), made_by.class_index(str(end)))
    codes = made_by.codes.numbered(range(2 * rows), seed, truncation)
    asked = {"rows": rows, "steps": steps, "from": start, "to": end, "truncation": truncation, "gif": gif}

    def compute(question: Question) -> InterpolationResult:
        ways = interpolation.interpolate(made_by, codes, steps, classes=ends, gif=gif)
        return InterpolationResult(question, ways)

    found: InterpolationResult = answer(Question("interpolate", made_by, asked, seed, compute), out, force)
    return found
