"""Generators: games of a generator and a discriminator, their training, and what samples can be asked."""

from typing import TYPE_CHECKING

from ostrich._lazy import lazily

if TYPE_CHECKING:
    from ostrich.generative.generator import Generator, load_generator
    from ostrich.generative.objectives import OBJECTIVES
    from ostrich.generative.recipe import RECIPES, GeneratorRecipe
    from ostrich.generative.training import train_game

__all__ = ["OBJECTIVES", "RECIPES", "Generator", "GeneratorRecipe", "load_generator", "train_game"]

__getattr__ = lazily(
    __name__,
    {
        **dict.fromkeys(("Generator", "load_generator"), "ostrich.generative.generator"),
        **dict.fromkeys(("RECIPES", "GeneratorRecipe"), "ostrich.generative.recipe"),
        "OBJECTIVES": "ostrich.generative.objectives",
        "train_game": "ostrich.generative.training",
    },
)
