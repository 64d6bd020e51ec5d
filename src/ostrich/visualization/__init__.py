"""Visualisation: images that a unit prefers, those it responds to, the filters that see the image first."""

from ostrich.visualization.activation_maximization import Preferred, ascend, check_objectives, worth
from ostrich.visualization.ascent import Ascent
from ostrich.visualization.dgn_am import Prior, with_prior
from ostrich.visualization.filters import first_layer_filters
from ostrich.visualization.objectives import (
    Objective,
    as_objective,
    direction,
    diversity,
    parse_objective,
    unit,
)
from ostrich.visualization.optimisers import OPTIMISERS, Adam, Constant, Normalised, Progress
from ostrich.visualization.parametrisations import PARAMETRISATIONS, Fourier, Pixels
from ostrich.visualization.presets import PRESET, PRESETS, configure, describe
from ostrich.visualization.regularisers import Regularisers
from ostrich.visualization.responses import Response, receptive_field, respond
from ostrich.visualization.sheets.unit_sheets import Sheet, unit_sheets
from ostrich.visualization.transformations import Transformations

__all__ = [
    "OPTIMISERS",
    "PARAMETRISATIONS",
    "PRESET",
    "PRESETS",
    "Adam",
    "Ascent",
    "Constant",
    "Fourier",
    "Normalised",
    "Objective",
    "Pixels",
    "Preferred",
    "Prior",
    "Progress",
    "Regularisers",
    "Response",
    "Sheet",
    "Transformations",
    "as_objective",
    "ascend",
    "check_objectives",
    "configure",
    "describe",
    "direction",
    "diversity",
    "first_layer_filters",
    "parse_objective",
    "receptive_field",
    "respond",
    "unit",
    "unit_sheets",
    "with_prior",
    "worth",
]
