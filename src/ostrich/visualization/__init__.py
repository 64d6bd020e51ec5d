"""Visualisation: images that a unit prefers, and the filters that see the image first."""

from ostrich.visualization.activation_maximization import PRESETS, Ascent, Preferred, ascend
from ostrich.visualization.filters import first_layer_filters

__all__ = ["PRESETS", "Ascent", "Preferred", "ascend", "first_layer_filters"]
