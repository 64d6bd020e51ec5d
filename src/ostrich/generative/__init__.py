"""Generators: generative adversarial networks, their training, and what samples can be asked."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from ostrich.generative.generator import Generator, load_generator
    from ostrich.generative.objectives import OBJECTIVES
    from ostrich.generative.recipe import RECIPES, GeneratorRecipe
    from ostrich.generative.training import train_gan

__all__ = ["OBJECTIVES", "RECIPES", "Generator", "GeneratorRecipe", "load_generator", "train_gan"]

_load, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "generator": ["Generator", "load_generator"],
        "objectives": ["OBJECTIVES"],
        "recipe": ["RECIPES", "GeneratorRecipe"],
        "training": ["train_gan"],
    },
)
_FORMER = {"train_game": "train_gan"}  # of one version: names that were public, and what they are


def __getattr__(name: str) -> object:
    if name in _FORMER:
        import warnings

        warnings.warn(f"ostrich.generative.{name} is {_FORMER[name]} now.", DeprecationWarning, stacklevel=2)
    return _load(_FORMER.get(name, name))
