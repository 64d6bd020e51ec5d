"""Lucid's way: a Fourier spectrum in decorrelated colours, random views, Adam.

Olah, Mordvintsev, Schubert 2017, "Feature visualization". Lucid itself has deviation 0.01, decay_power 1,
step_size 0.05, steps 512; these were chosen on the toybox, where near grey a class can be all but flat.
"""

from ostrich.visualization.ascent import Ascent
from ostrich.visualization.optimisers import Adam
from ostrich.visualization.parametrisations import Fourier
from ostrich.visualization.transformations import Transformations

VIEWS = Transformations(jitter=0.05, rotate=10, scale=0.1, pad=0.1)
LUCID = Ascent(
    steps=256,
    keep="last",  # a value is that of one random view
    parametrisation=Fourier(deviation=0.1, decay_power=1.5),
    transformations=VIEWS,
    optimiser=Adam(step_size=0.02),
)
