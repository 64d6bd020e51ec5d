"""The commands whose results are kept in `tests/golden/`, one file each. `goldens.py` runs and compares them.

They are small on purpose: few images, few steps. Their figures say nothing about a network; they say whether
a change of the code changed a result.
"""

from __future__ import annotations

from dataclasses import dataclass

DIGITS = "zoo:digits-cnn digits"
TOYBOX = "zoo:toybox-plain14 toybox"
EXACT = "--precision exact"


@dataclass(frozen=True, kw_only=True)
class Command:
    """What is typed, `--out` aside, and what has to be done in the same folder before."""

    words: str
    before: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()  # packages of extras; without them it is left out
    out: bool = True  # it writes a run directory; else its answer is what it prints as JSON


def _attack(name: str, what: str, *settings: str, limit: int = 4, needs: tuple[str, ...] = ()) -> Command:
    words = " ".join(f"--set {setting}" for setting in settings)
    return Command(words=f"attack {name} {what} --limit {limit} {EXACT} {words}", needs=needs)


def _explain(name: str, what: str, limit: int = 2) -> Command:
    return Command(words=f"explain {name} {what} --limit {limit}")


_PERCEPTRON = (
    "generate train digits-perceptron --precision exact --set steps=4 --set watch_every=2 --set batch_size=16"
)
_CHECK = (
    f"check {DIGITS} --only clean,noise,robustness --minutes 60 --limit 8 {EXACT} --fail-under linf:1/255=0.5"
)

_EVOLVED = ("confidence=0.9", "generations=4", "population=8")

ATTACKS = {
    "fgsm": _attack("fgsm", TOYBOX, "eps=4/255"),
    "pgd": _attack("pgd", TOYBOX, "eps=1/255", "steps=5"),
    "mim": _attack("mim", TOYBOX, "eps=2/255", "steps=3", "norm=linf"),
    "apgd": _attack("apgd", DIGITS, "norm=l1", "eps=3", "steps=10"),
    "lbfgs": _attack("lbfgs", f"{DIGITS} --target random", "constants=4", "iterations=8"),
    "deepfool": _attack("deepfool", TOYBOX, "steps=4", "candidates=4"),
    "cw": _attack("cw", DIGITS, "constants=3", "iterations=30", "initial_constant=1"),
    "fab": _attack("fab", DIGITS, "iterations=4", "targets=3"),
    "ddn": _attack("ddn", TOYBOX, "steps=8", limit=3),
    "one-pixel": _attack("one-pixel", DIGITS, "eps=3", "population=20", "generations=6", limit=6),
    "square": _attack("square", DIGITS, "eps=56/255", "queries=60", limit=6),
    "boundary": _attack("boundary", DIGITS, "queries=150"),
    "hopskipjump": _attack("hopskipjump", DIGITS, "queries=200"),
    "rays": _attack("rays", DIGITS, "queries=200"),
    "autoattack": _attack("autoattack", DIGITS, "eps=20/255", "iterations=10", "queries=60", limit=6),
    "printed": _attack("printed", DIGITS, "eps=48/255", "iterations=4", "noise=0.1", "rotation=10", limit=6),
    "fooling-ascent": _attack("fooling-ascent", "zoo:digits-cnn", "confidence=0.9", "steps=30", limit=3),
    "fooling-cppn": _attack("fooling-cppn", "zoo:digits-cnn", *_EVOLVED),
    "fooling-direct": _attack("fooling-direct", "zoo:digits-cnn", *_EVOLVED),
    "universal": _attack("universal", DIGITS, "eps=64/255", "epochs=3", limit=24),
    "generator": _attack("generator", DIGITS, "eps=64/255", "epochs=2", "width=4", "blocks=1", limit=24),
    "patch": _attack("patch", f"{DIGITS} --target 3", "eps=0.3", "epochs=8", "print_width=12cm", limit=16),
    "texture": Command(
        words="attack texture zoo:toybox-plain14 'mesh:toybox/coffee mug' --target ostrich --limit 8 "
        f"--set epochs=4 --set batch_size=2 --set eps=128/255 {EXACT}",
        needs=("trimesh", "embreex"),
    ),
    "dazzle": Command(
        words="attack dazzle detector:viola-jones faces --limit 8 --set views=1 --set generations=1 "
        "--set starts=1 --set population=4 --set eps=0.0432",
        needs=("cv2", "cma"),
    ),
}

EXPLAINERS = {
    f"explain-{name}": _explain(name, TOYBOX)
    for name in (
        "gradient",
        "gradient-x-input",
        "deconvnet",
        "guided",
        "integrated-gradients",
        "smoothgrad",
        "gradcam",
        "guided-gradcam",
        "occlusion",
    )
}

PICTURES = {
    **EXPLAINERS,
    "explain-sanity": Command(words=f"explain guided {DIGITS} --limit 3 --sanity"),
    "explain-sheet": Command(
        words=f"explain sheet {DIGITS} --limit 12 --set steps=2 --set top=3 --unit class:3 --unit conv2:1"
    ),
    "visualize-plain": Command(
        words="visualize zoo:toybox-plain14 --preset plain --unit class:ostrich --unit layer2.0.conv1:3 "
        "--set steps=4 --seeds 2"
    ),
    "visualize-lucid": Command(
        words="visualize zoo:toybox-plain14 --unit class:ostrich --unit class:umbrella --set steps=4 "
        "--gif --judges zoo:toybox-resnet20"
    ),
}

RUNS = {
    "train": Command(
        words="train digits-cnn --precision exact --set train_images=200 --set epochs=1 --set batch_size=50"
    ),
    "generate-train": Command(words=_PERCEPTRON),
    "generate-sample": Command(words="generate sample zoo:toybox-conditional --count 4"),
    "generate-sample-clips": Command(words="generate sample zoo:toybox-video --count 2", needs=("av",)),
    "generate-interpolate": Command(words="generate interpolate zoo:toybox-dcgan --rows 2 --steps 3 --gif"),
    "generate-neighbours": Command(
        words="generate neighbours trained --count 8", before=(f"{_PERCEPTRON} --out trained",)
    ),
    "generate-evaluate": Command(
        words="generate evaluate trained --count 60", before=(f"{_PERCEPTRON} --out trained",)
    ),
    "study-gradients": Command(words="study gradients --scale smoke"),
    "study-initialization": Command(words="study initialization --scale smoke"),
    "study-data-size": Command(words="study data-size --scale smoke"),
    "check": Command(words=_CHECK),
    "doctor": Command(words=f"doctor {DIGITS} --limit 24 --minutes 60"),
    "doctor-wrong-mean": Command(words=f"doctor {DIGITS} --limit 24 --minutes 60 --mean 0.9 --std 3"),
    "compare": Command(
        words="compare one two --json",
        before=(f"{_CHECK} --out one", f"{_CHECK} --seed 1 --out two"),
        out=False,
    ),
}

COMMANDS: dict[str, Command] = {**ATTACKS, **PICTURES, **RUNS}

# Figures known to be wrong. Whoever repairs one makes the file anew (`make goldens`) and strikes the line.
EXPECTED_TO_CHANGE: dict[str, str] = {}
