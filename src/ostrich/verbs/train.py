"""`ostrich.train`: a network from a recipe, resumed exactly where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any, TypeVar

import torch

from ostrich.data.dataset import Samples
from ostrich.errors import InputError
from ostrich.generative.recipe import GeneratorRecipe
from ostrich.models.classifier import Classifier
from ostrich.models.loading import pick_device
from ostrich.runtime import distributed
from ostrich.runtime.runs import Run
from ostrich.runtime.settings import changed
from ostrich.runtime.stopwatch import stopwatch
from ostrich.training.recipe import Recipe
from ostrich.training.recipe import recipe as find
from ostrich.training.run import train_run, trained
from ostrich.verbs.inputs import Images, as_training_data
from ostrich.verbs.outcome import Kept, Where, folder_of, kept_in

R = TypeVar("R", Recipe, GeneratorRecipe)


class TrainResult(Kept):
    """A trained network: `figures` as run.json has them, `model`, and `save(folder)`."""

    @cached_property
    def model(self) -> Classifier:
        """The network as its weights are stored, in half precision; its accuracy is `test_accuracy`."""
        return trained(folder_of(self))


def train(
    recipe: str | Recipe,
    data: Images | None = None,
    *,
    device: str = "auto",
    out: Where = None,
    force: bool = False,
    **changes: Any,
) -> TrainResult:
    """Train a network by a recipe; under torchrun data-parallel.

    `recipe` is a name (`ostrich list recipes`) or a `Recipe`; `changes` are other values of its settings:
    epochs=2, batch_size=64, seed=1, architecture="resnet20,classes=3". `data` is DATA as on the command line,
    by default the recipe's own; or images (N, C, H, W) in [0, 1] of the network's size with labels (N,), of
    which about a tenth, chosen by the seed and by what they show, is held out. With `out` it is written there
    from the beginning, and an interrupted one goes on; `force` overwrites a finished one. `device` is "auto",
    "cpu" or one of torch's. Where the architecture does not say how many classes there are, the network has
    as many as are named in the data. Raises UnknownName, InputError (settings, data without labels or with
    other classes than the network), Diverged where the loss of an epoch is not finite.
    """
    chosen = as_recipe(recipe, changes)
    name = f"train-{chosen.name}"
    run, results = kept_training(name, chosen, data, train_run, device=device, out=out, force=force)
    return TrainResult(name, run, results, headline=("test_accuracy", "test_images", "train_images"))


def kept_training(
    name: str,
    recipe: R,
    data: Images | None,
    train_run: Callable[[R, str | Samples, Run, torch.device], dict[str, Any]],
    *,
    device: str,
    out: Where,
    force: bool,
) -> tuple[Run, dict[str, Any]]:
    """The finished run of a training by a recipe, and its results; under torchrun on several processes."""
    where = pick_device(device)
    given = None if data is None else as_training_data(data)
    asked: dict[str, Any] = {"recipe": asdict(recipe), "data": given, "device": str(where)}
    if isinstance(given, Samples):
        asked |= {"data": given.name, "sha256": given.sha256}
    with distributed.process_group():
        if distributed.world() > 1:
            asked["processes"] = distributed.world()
        with kept_in(name, name, asked, out=out, force=force) as run, stopwatch() as spent:
            results = train_run(recipe, recipe.data if given is None else given, run, where)
            results["seconds"] = spent.seconds
            run.finish(results)
    return run, results


def as_recipe(recipe: str | Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The recipe of that name, or this one, with other values in some settings. Raises UnknownName."""
    if not isinstance(recipe, str | Recipe):
        raise InputError(f"A recipe is a name (`ostrich list recipes`) or a Recipe; got {recipe!r}.")
    return changed(find(recipe) if isinstance(recipe, str) else recipe, changes, "a recipe", hidden=("name",))
