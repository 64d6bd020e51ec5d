"""`ostrich demo`: crash-test the bundled network on bundled images."""

from __future__ import annotations

from ostrich.cli import options as o
from ostrich.cli.check import show_check

NAME = "demo"


def command(
    seed: o.Seed = 0,
    out: o.Out = None,
    device: o.Device = "auto",
    force: o.Force = False,
    as_json: o.Json = False,
) -> int:
    """Crash-test the bundled network, and see what to type for your own."""
    from ostrich.runtime.runs import NEW, RUNS, check_writable
    from ostrich.verbs.check import demo

    check_writable(out or RUNS)
    return show_check(demo(seed=seed, device=device, out=out or NEW, force=force), as_json)
