"""Does a universal perturbation of one network fool the others? (Moosavi-Dezfooli 2017, table 2)

    python -m benchmarks.transfer [--data DATA] [--seed N] [MODEL ...]

For every network one perturbation is fitted by `ostrich attack universal` on half of the images, and judged
on the other half, on itself and on the rest (`--also`). The table of fooling rates, the parts of the
predictions that change, is written to benchmarks/transfer.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from datetime import date
from pathlib import Path

from benchmarks.bench import machine
from ostrich.cli.main import run

RESULTS = Path(__file__).with_suffix(".md")
MODELS = tuple(f"zoo:toybox-{name}" for name in ("resnet20", "plain14", "alexnet", "robust"))
LIMIT = 512  # images, half of them to fit on
HEAD = """# Universal perturbations on other networks

Fooling rate in percent on {n} held-out images of {data}, Linf 10/255, fitted on as many others. A row is the
network it was fitted on, a column the one it is shown to. Random signs of the same size change {chance}.

"""


def fooling_rates(model: str, models: list[str], data: str, seed: int, folder: Path) -> tuple[dict, float]:
    """By network, for the perturbation of one; and what random signs change of its own predictions."""
    others = [word for other in models if other != model for word in ("--also", other)]
    words = ["attack", "universal", model, data, "--limit", str(LIMIT), "--seed", str(seed), *others]
    if run([*words, "--out", str(folder)]):
        raise SystemExit(f"ostrich {' '.join(words)} failed.")
    found = json.loads((folder / "run.json").read_text())["results"]
    return {model: found["fooling_rate"], **found["transfer"], "n": found["n"]}, found["by_chance"]


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--data", default="toybox")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    names = [model.removeprefix("zoo:toybox-") for model in asked.models]
    lines = [f"| fitted on | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    chances = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (model, name) in enumerate(zip(asked.models, names)):
            found, chance = fooling_rates(
                model, asked.models, asked.data, asked.seed, Path(folder) / str(number)
            )
            lines.append(f"| {name} | {' | '.join(f'{100 * found[m]:.1f}' for m in asked.models)} |")
            chances.append(f"{100 * chance:.1f} ({name})")
    head = HEAD.format(n=found["n"], data=asked.data, chance=", ".join(chances))
    command = f"python -m benchmarks.transfer --data {asked.data} --seed {asked.seed}"
    foot = f"\n\nMeasured {date.today().isoformat()} by `{command}`. {machine()}\n"
    RESULTS.write_text(head + "\n".join(lines) + foot, encoding="utf-8")


if __name__ == "__main__":
    main()
