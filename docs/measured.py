"""The figures of our own that stand on the lecture's pages: `python docs/measured.py [NAME ...]`.

Each is the result of one command, run here; `lecture/measured.json` keeps the command, the figures and the
versions, and the directive `measured` shows them. Pages repeat no number by hand.
"""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from ostrich.cli.main import run as ostrich
from ostrich.runtime.runs import read_run

FILE = Path(__file__).parent / "lecture" / "measured.json"
NET = "zoo:toybox-resnet20"
REAL = "zoo:imagenet-efficientnet-lite0"
ATTACK = {
    "n": "images",
    "success_rate": "success rate",
    "robust_accuracy": "robust accuracy",
    "distance.norm": "norm",
    "distance.median": "median distance",
    "forwards_per_image": "forwards an image",
}
FITTED = {
    "n": "images held out",
    "fooling_rate": "predictions that change",
    "by_chance": "of a random one",
    "success_rate": "success rate",
}
FOOLING = {
    "n": "classes",
    "success_rate": "reached, of those tried",
    "confidence_median": "median confidence",
}
DISTANCE = {
    "samples": "samples",
    "real": "images held out",
    "features": "features of",
    "frechet_distance": "Frechet distance",
    "floor_two_halves_of_real": "of real images to others",
    "ceiling_mean_image": "of the mean image",
    "precision": "precision",
    "recall": "recall",
}
MEMORISED = {
    "n": "samples",
    "training": "training images",
    "held_out": "images held out",
    "memorised": "memorised",
}
JUDGED = {
    "judges.zoo:toybox-resnet20.recognised": "recognised by the network itself",
    "judges.zoo:toybox-plain14.recognised": "by another",
    "judges.zoo:toybox-plain14.n": "images",
}
COMMANDS: dict[str, tuple[str, dict[str, str]]] = {
    "lbfgs": (f"attack lbfgs {NET} toybox --limit 32 --target ostrich", ATTACK),
    "lbfgs-photographs": (f"attack lbfgs {REAL} photographs --limit 3 --target ostrich", ATTACK),
    "fooling-ascent": (f"attack fooling-ascent {NET}", FOOLING),
    "fooling-cppn": (f"attack fooling-cppn {NET} --set minutes=0.5", FOOLING),
    "fooling-direct": (f"attack fooling-direct {NET} --set minutes=0.5", FOOLING),
    "universal": (f"attack universal {NET} toybox --limit 256 --also zoo:toybox-plain14", FITTED),
    "one-pixel": (f"attack one-pixel {NET} toybox --limit 16 --set generations=30", ATTACK),
    "patch": (f"attack patch {NET} toybox --limit 64 --target ostrich --set epochs=20", FITTED),
    "printed": (f"attack printed {NET} toybox --limit 32", ATTACK),
    "texture": (
        f"attack texture {NET} 'mesh:toybox/school bus' --limit 200 --target ostrich "
        "--set epochs=10 --set eps=48/255",
        {
            "n": "views held out",
            "success_rate": "success rate",
            "seen_after.target": "views seen as the target",
        },
    ),
    "dazzle": (
        "attack dazzle detector:viola-jones faces --limit 16 --set generations=10",
        {
            "faces": "faces held out",
            "detected.untouched": "views found, untouched",
            "detected.camouflaged": "found, camouflaged",
            "detected.random look": "found, random look",
        },
    ),
    "generator": (f"attack generator {NET} toybox --limit 128 --set epochs=20", FITTED),
    "dcgan": ("generate evaluate zoo:toybox-dcgan", DISTANCE),
    "conditional": (
        "generate evaluate zoo:toybox-conditional --judge zoo:toybox-plain14",
        DISTANCE
        | {"as_asked.share": "of the class asked for", "as_labelled_real.share": "real images of theirs"},
    ),
    "video": (
        "generate evaluate zoo:toybox-video --judge zoo:toybox-plain14",
        {
            **DISTANCE,
            "samples": "clips",
            "real": "clips held out",
            "as_asked.share": "frames of the class asked for",
            "as_labelled_real.share": "real frames of theirs",
            "one_object.share": "of clips that show one object all the while",
        },
    ),
    "neighbours": ("generate neighbours zoo:toybox-conditional", MEMORISED),
    "ascent": (
        f"visualize {NET} --unit class:* --preset lucid --seeds 4 --judges zoo:toybox-plain14",
        JUDGED,
    ),
    "ascent-plain": (
        f"visualize {NET} --unit class:* --preset plain --seeds 4 --judges zoo:toybox-plain14",
        JUDGED,
    ),
    "prior": (
        f"visualize {NET} --unit class:* --prior zoo:toybox-prior --seeds 4 --judges zoo:toybox-plain14",
        JUDGED,
    ),
    "game": ("generate train digits-perceptron", {"distance": "Frechet distance", "diversity": "diversity"}),
}


def main(names: list[str]) -> int:
    """Run those named, or all, and keep what came out."""
    kept = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    for name in names or COMMANDS:
        command, wanted = COMMANDS[name]
        with tempfile.TemporaryDirectory() as folder:
            code = ostrich([*shlex.split(command), "--out", f"{folder}/run", "--quiet"])
            if code:
                return code
            run = read_run(f"{folder}/run")
        kept[name] = {
            "command": f"ostrich {command}",
            "figures": {label: found(run["results"], key) for key, label in wanted.items()},
            "versions": {key: run["versions"][key] for key in ("ostrich", "torch")},
        }
        FILE.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n", encoding="utf-8")
    return 0


def found(results: Any, key: str) -> Any:
    """A figure by its names, joined by dots."""
    for word in key.split("."):
        results = results[word]
    return results


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
