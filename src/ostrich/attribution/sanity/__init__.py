"""Checks on attributions: what a map can be trusted to say.

    randomisation   does the map change when the network's parameters are made random
    fading          does the unit follow when the pixels that the map names go, or come
    pointing_game   does the most important pixel lie on the object
    check_sanity    all of them

A method is checked on the user's own network and images; `controls.py` holds what to compare with.
"""

from ostrich.attribution.sanity.deletion import Fading, fading
from ostrich.attribution.sanity.parameter_randomisation import Likeness, Randomisation, randomisation
from ostrich.attribution.sanity.pointing import Pointing, pointing_game
from ostrich.attribution.sanity.report import Sanity, check_sanity
from ostrich.attribution.sanity.similarity import Mean, spearman, structure

__all__ = [
    "Fading",
    "Likeness",
    "Mean",
    "Pointing",
    "Randomisation",
    "Sanity",
    "check_sanity",
    "fading",
    "pointing_game",
    "randomisation",
    "spearman",
    "structure",
]
