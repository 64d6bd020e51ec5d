"""What a page can ask for, by name: what it is given (`asked.py`), and what is done.

One file for each panel of the page. A job answers by `job.emit`, and knows nothing of HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ostrich.serve.jobs import corrupted, explanations, fitted, generators, look, network, touch, turn, want
from ostrich.serve.jobs.asked import Asked
from ostrich.serve.playground import Playground
from ostrich.serve.worker import Job

Do = Callable[[Playground, Any, Job], None]
JOBS: dict[str, tuple[type[Asked], Do]] = {
    "look": (look.Look, look.look),
    "turn": (turn.Turn, turn.turn),
    "budgets": (turn.Budgets, turn.budgets),
    "fit": (fitted.Fit, fitted.fit),
    "lay": (fitted.Lay, fitted.lay),
    "layers": (network.Layers, network.rows),
    "tiles": (network.Tiles, network.tiles),
    "sheet": (network.Sheet, network.sheet),
    "pixel": (touch.Pixel, touch.pixel),
    "brush": (touch.Brush, touch.brush),
    "explain": (explanations.Explain, explanations.maps),
    "corrupt": (corrupted.Corrupt, corrupted.corrupted),
    "want": (want.Want, want.want),
    "sample": (generators.Sample, generators.sample),
    "walk": (generators.Walk, generators.walk),
    "steer": (generators.Steer, generators.steer),
    "nearest": (generators.Nearest, generators.nearest_images),
}
