"""`ostrich.generate.train`: a generator from a recipe, resumed exactly where it stopped."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ostrich.errors import InputError
from ostrich.generative.generator import Generator
from ostrich.generative.recipe import GeneratorRecipe
from ostrich.generative.recipe import recipe as find
from ostrich.generative.run import train_run
from ostrich.runtime.settings import changed
from ostrich.verbs.generate.asking import as_generator
from ostrich.verbs.inputs import Images
from ostrich.verbs.outcome import Kept, Where, folder_of
from ostrich.verbs.train import kept_training


class GeneratorResult(Kept):
    """A trained generator: `figures` as run.json has them, `generator`, and `save(folder)`."""

    @cached_property
    def generator(self) -> Generator:
        """The generator as its weights are stored, in half precision."""
        return as_generator(folder_of(self))

    @property
    def picture(self) -> Path | None:
        sheet = self.figures.get("sheet")
        return None if sheet is None else self.folder / sheet


def train(
    recipe: str | GeneratorRecipe,
    data: Images | None = None,
    *,
    device: str = "auto",
    out: Where = None,
    force: bool = False,
    **changes: Any,
) -> GeneratorResult:
    """Train a generator by a recipe; under torchrun data-parallel.

    `recipe` is a name (`ostrich list recipes`) or a `GeneratorRecipe`; `changes` are other values of its
    settings: steps=500, batch_size=32, seed=1. `data` is DATA as on the command line, by default the recipe's
    own; or images (N, C, H, W) in [0, 1] of the generator's size, with labels (N,) where it is conditional,
    of which about a tenth, chosen by the seed and by what they show, is held out. With `out` it is written
    there from the beginning, and an interrupted one goes on. Raises UnknownName, InputError,
    Diverged where a loss is not finite.
    """
    chosen = as_recipe(recipe, changes)
    name = f"generate-train-{chosen.name}"
    run, results = kept_training(name, chosen, data, train_run, device=device, out=out, force=force)
    headline = ("distance", "distance_features", "diversity", "train_images")
    return GeneratorResult(name, run, results, headline=headline)


def as_recipe(recipe: str | GeneratorRecipe, changes: Mapping[str, Any]) -> GeneratorRecipe:
    """The recipe of that name, or this one, with other values in some settings. Raises UnknownName."""
    if not isinstance(recipe, str | GeneratorRecipe):
        raise InputError(f"A recipe is a name (`ostrich list recipes`) or a GeneratorRecipe; got {recipe!r}.")
    return changed(find(recipe) if isinstance(recipe, str) else recipe, changes, "a recipe", hidden=("name",))
