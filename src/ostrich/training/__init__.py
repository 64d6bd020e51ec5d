"""Training: recipes and the loop that follows them."""

from ostrich.training.loop import train
from ostrich.training.recipe import RECIPES, Recipe

__all__ = ["RECIPES", "Recipe", "train"]
