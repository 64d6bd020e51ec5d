"""`ostrich demo`: crash-test the bundled network on bundled images."""

from __future__ import annotations

from ostrich.cli import options as o
from ostrich.cli.check import perform

NAME = "demo"
MODEL, DATA, IMAGES, MINUTES = "zoo:toybox-resnet20", "toybox", 128, 2.0


def command(
    seed: o.Seed = 0,
    out: o.Out = None,
    device: o.Device = "auto",
    force: o.Force = False,
    as_json: o.Json = False,
) -> int:
    """Crash-test the bundled network, and see what to type for your own."""
    return perform(
        o.ModelOptions(model=MODEL, device=device),
        [DATA],
        fail_under=[],
        baseline=None,
        only=None,
        minutes=MINUTES,
        limit=IMAGES,
        seed=seed,
        precision="fast",
        out=out,
        skip_bad=False,
        force=force,
        as_json=as_json,
        demo=True,
    )
