"""Generators: games of a generator and a discriminator, their training, and what samples can be asked."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from ostrich.generative.generator import Generator, load_generator
    from ostrich.generative.objectives import OBJECTIVES
    from ostrich.generative.recipe import RECIPES, GeneratorRecipe
    from ostrich.generative.training import train_game

__all__ = ["OBJECTIVES", "RECIPES", "Generator", "GeneratorRecipe", "load_generator", "train_game"]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "generator": ["Generator", "load_generator"],
        "objectives": ["OBJECTIVES"],
        "recipe": ["RECIPES", "GeneratorRecipe"],
        "training": ["train_game"],
    },
)
