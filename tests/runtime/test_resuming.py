"""What is kept on disk is taken up only by the very same computation, whoever keeps it; and interrupts."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, replace

import killing
import nets
import numpy as np
import pytest
import torch

import ostrich
from ostrich.attacks import PGD, Linf, Universal, Untargeted
from ostrich.attacks.camouflage.dazzle import Dazzle, Face
from ostrich.attacks.camouflage.fitting import Recorded, facts_of
from ostrich.attacks.fitted.fitting import fit
from ostrich.cli.main import run
from ostrich.crashtest.check import crash_test
from ostrich.crashtest.context import Context
from ostrich.data.dataset import Samples
from ostrich.errors import OtherComputation
from ostrich.generative.architectures import build_gan
from ostrich.generative.recipe import GeneratorRecipe
from ostrich.generative.training import train_gan
from ostrich.models.detectors import Box
from ostrich.runtime import resumable
from ostrich.runtime.files import read_rows
from ostrich.runtime.resumable import Checkpoint
from ostrich.runtime.runs import Run
from ostrich.studies import find, worker
from ostrich.studies.trials import task
from ostrich.training import Recipe, train

# Whoever keeps: a function of a folder, and of what 1 instead of 0 changes.


def attack(folder, weights=0, labels=0, images=0, settings=0, seed=0):
    goal = Untargeted((torch.arange(4) + labels) % 5)
    method = PGD(threat=Linf(8 / 255), steps=3 + settings)
    pictures = nets.random_images(4) if not images else nets.random_images(5)[1:]
    ostrich.attacks.attack(method, nets.small(weights), pictures, goal, seed=seed, shards=folder)


def attack_cut_in_a_batch(folder, weights=0, settings=0, seed=0):
    """The same, of which only the checkpoint is there: whatever the folder says is taken away."""
    begin = not list(folder.iterdir())
    (folder / "computation.json").unlink(missing_ok=True)

    def cut(step, state):
        if begin and step == 2:
            raise KeyboardInterrupt

    method, pictures = PGD(threat=Linf(1 / 2550), steps=3 + settings), nets.random_images(4)
    goal, network = Untargeted(nets.small()(pictures).argmax(1)), nets.small(weights)
    with pytest.MonkeyPatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(resumable, "EVERY", 0.0)
        ostrich.attacks.attack(method, network, pictures, goal, seed=seed, shards=folder, watch=cut)
    assert not begin or list(folder.glob("*.half.pt"))


def fitting(folder, weights=0, labels=0, images=0, settings=0, seed=0):
    goal = Untargeted((torch.arange(8) + labels) % 5)
    method = Universal(threat=Linf(8 / 255), epochs=1 + settings)
    pictures = nets.random_images(8) if not images else nets.random_images(9)[1:]
    fit(method, nets.small(weights), pictures, goal, seed=seed, checkpoint=folder / "fitting.pt")


def data(labels=0, images=0):
    generator = torch.Generator().manual_seed(images)
    pixels = torch.randint(0, 256, (12, 1, 8, 8), generator=generator).to(torch.uint8)
    return pixels, (torch.arange(12) + labels) % 3


def training(folder, weights=0, labels=0, images=0, settings=0, seed=0):
    torch.manual_seed(weights)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    recipe = Recipe(
        name="r", architecture="-", data="-", mean=(0.5,), std=(0.25,), epochs=1 + settings, seed=seed,
        batch_size=4, precision="exact",
    )  # fmt: skip
    train(network, recipe, *data(labels, images), checkpoint=folder / "checkpoint.pt")


def playing(folder, weights=0, labels=0, images=0, settings=0, seed=0):
    torch.manual_seed(weights)
    game = build_gan("perceptron,size=8,channels=1,width=0.1")
    recipe = GeneratorRecipe(
        name="r", architecture="-", data="-", steps=2 + settings, batch_size=4, seed=seed, precision="exact"
    )
    pixels, classes = data(labels, images)
    train_gan(game, recipe, pixels, classes, checkpoint=folder / "checkpoint.pt")


def probes(folder, weights=0, labels=0, images=0, settings=0, seed=0):
    pixels = np.random.default_rng(images).integers(0, 256, (4, 16, 16, 3)).astype(np.uint8)
    names = tuple(f"{i}.png" for i in range(4))
    classes = (torch.arange(4) + labels) % 5
    samples = Samples.of_pixels(pixels, classes, name="four", files=names)
    context = Context(
        classifier=nets.small(weights), samples=samples, folder=folder, model_words=[], data_words=[],
        seed=seed, precision=("fast", "exact")[settings],
    )  # fmt: skip
    crash_test(context, Run(folder, "-", {}, {"data": None}), names=["clean"], minutes=5)


def camouflage(folder, weights=0, images=0, settings=0, seed=0):
    class Detector:
        name = "d"

        def digest(self):
            return str(weights)

    method = Dazzle(generations=2 + settings)
    face = Face("f", torch.full((1, 20, 20), 0.5 + images / 10), Box(4, 4, 12), 7)
    with Checkpoint(folder / "fitting.pt", facts_of(method, Detector(), [face], seed)) as checkpoint:
        Recorded(checkpoint)
        checkpoint.save({"calls": {}, "shown": 0})


def trial(folder, settings=0, seed=0):
    study = find("depth")
    spec = study.spec("smoke")
    asked = task(study, replace(spec, steps=spec.steps + settings), {**study.trials(spec)[0], "seed": seed})
    if worker.rows(folder, asked) is None:
        worker._kept(folder, asked).save(worker.PIECE, {"rows": []}, 0.0)


def directory(folder, weights=0, images=0, settings=0, seed=0):
    recipe = GeneratorRecipe(name="r", architecture="-", data="-", steps=2 + settings, seed=seed)
    asked = {"network": f"abc{weights}", "sha256": f"def{images}", "recipe": asdict(recipe)}
    with Run.begin("n", "ostrich something", asked, out=folder) as opened:
        opened.describe(seed=seed, device=torch.device("cpu"), data=None)


KEEPERS = {
    attack: {"weights": "weights", "labels": "labels", "images": "images", "settings": r"steps \(3, now 4\)",
             "seed": r"seed \(0, now 1\)"},
    attack_cut_in_a_batch: {"weights": "weights", "settings": r"steps \(3, now 4\)",
                            "seed": r"seed \(0, now 1\)"},
    fitting: {"weights": "weights", "labels": "labels", "images": "images",
              "settings": r"epochs \(1, now 2\)", "seed": r"seed \(0, now 1\)"},
    training: {"weights": "weights", "labels": "labels", "images": "images",
               "settings": r"epochs \(1, now 2\)", "seed": r"seed \(0, now 1\)"},
    playing: {"weights": "weights", "labels": "labels", "images": "images",
              "settings": r"steps \(2, now 3\)", "seed": r"seed \(0, now 1\)"},
    probes: {"weights": "weights", "labels": "labels", "images": "images",
             "settings": r"precision \(fast, now exact\)", "seed": r"seed \(0, now 1\)"},
    camouflage: {"weights": "detector", "images": "faces", "settings": r"generations \(2, now 3\)",
                 "seed": r"seed \(0, now 1\)"},
    trial: {"settings": "spec", "seed": r"trial \(.*"},
    directory: {"weights": "weights", "images": "images", "settings": r"steps of recipe \(2, now 3\)",
                "seed": r"seed of recipe \(0, now 1\)"},
}  # fmt: skip
CASES = [(keep, kind, said) for keep, kinds in KEEPERS.items() for kind, said in kinds.items()]


@pytest.mark.parametrize(
    ("keep", "kind", "said"), CASES, ids=[f"{keep.__name__}-{kind}" for keep, kind, _ in CASES]
)
def test_changed_since_it_was_begun_is_an_error_that_says_what(keep, kind, said, tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    keep(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(OtherComputation, match=rf"was begun with other {said}[.,]"):
        keep(folder, **{kind: 1})
    left = {path: path.read_bytes() for path in folder.rglob("*") if path.name != "computation.json"
            and path.is_file()}  # fmt: skip
    assert left == {path: content for path, content in before.items() if path in left}
    assert len(left) >= len(before) - 1
    keep(folder)  # the same goes on


@pytest.mark.parametrize(
    "fitted", [{"interpolation": "nearest"}, {"resize": 10}, {"resize": (10, 12)}, {"size": (7, 7)}]
)
def test_a_network_that_sees_pictures_fitted_otherwise_is_another(fitted, tmp_path):
    network, images, goal = nets.small().network, nets.random_images(4), Untargeted(torch.arange(4) % 5)
    height_width = {"size": tuple(images.shape[2:])}

    def attacked(**facts):
        classifier = ostrich.Classifier(network, **{**height_width, **facts})
        method = PGD(threat=Linf(8 / 255), steps=2)
        ostrich.attacks.attack(method, classifier, images, goal, shards=tmp_path)

    attacked()
    with pytest.raises(OtherComputation, match=r"was begun with other preprocessing[.,]"):
        attacked(**fitted)
    attacked()


# Commands ----------------------------------------------------------------------------------------

GENERATE = ["generate", "train", "digits-perceptron", "--set", "steps=4000", "--set", "watch_every=4000"]
GENERATE += ["--set", "architecture=perceptron,size=8,channels=1,width=0.1", "--set", "judge_samples=40"]
ATTACK = ["attack", "square", "zoo:digits-cnn", "digits", "--limit", "64", "--set", "queries=4000"]
ATTACK += ["--set", "eps=0.02"]


INSIDE = (
    "import sys, ostrich.runtime.resumable as r\nfrom ostrich.cli.main import main\n"
    "r.EVERY, r.SHARE = 0.2, 1.0\nmain(sys.argv[1:])\n"
)


def checkpoints(out):
    return [*out.glob("checkpoint.pt"), *out.glob("shards/*.half.pt")]


def begun(words, out):
    """A command, when it has written its first checkpoint."""
    process = subprocess.Popen(
        [sys.executable, "-c", INSIDE, *words, "--out", str(out)], stderr=subprocess.PIPE, text=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not checkpoints(out) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None, process.stderr.read()
    return process


@pytest.mark.slow
def test_the_second_command_on_a_folder_is_refused(tmp_path, capsys):
    with begun(GENERATE, tmp_path / "out") as process:
        assert run([*GENERATE, "--out", str(tmp_path / "out")]) == 2
        assert run([*GENERATE, "--force", "--out", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 2
        assert all(f"used by another command (process {process.pid})" in line for line in said)
        process.kill()
        process.stderr.close()
    assert json.loads((tmp_path / "out/run.json").read_text())["finished"] is False


@pytest.mark.slow
@pytest.mark.parametrize("words", [GENERATE, ATTACK], ids=["generate", "attack"])
def test_an_interrupted_command_keeps_where_it_stands_and_says_so(words, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with begun(words, out) as process:
        (kept,) = checkpoints(out)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait() == 130
    assert said == "ostrich: interrupted; the same command goes on from here.\n"
    content, seconds = resumable._parsed(kept)[0], resumable._parsed(kept)[1]["seconds"]
    assert content["step"] > 0
    assert seconds > 0.2
    assert not list(out.rglob("*.partial")) + list(out.rglob(".lock"))
    found = []
    with monkeypatch.context() as patch:  # what goes on is told of the seconds before
        patch.setattr("ostrich.runtime.stopwatch.found", found.append)
        patch.setattr(resumable.interrupts, "pending", lambda: True)  # and leaves at its next step
        assert run([*words, "--out", str(out)]) == 130
    assert found[0] == seconds
    assert resumable._parsed(kept)[0]["step"] == content["step"] + 1
    assert resumable._parsed(kept)[1]["seconds"] > seconds


def test_a_torn_line_of_a_study_costs_that_line(tmp_path):
    from ostrich.studies.fitting import logged, logger

    path = tmp_path / "metrics.jsonl"
    logger(path)({"step": 1})
    with path.open("a") as torn:
        torn.write('{"step": 2, "lo')
    logger(path)({"step": 2})
    assert logged(path) == read_rows(path) == [{"step": 1}, {"step": 2}]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "only"), [("KILL", "fooling,fit,generate"), ("INT", "attack,generate")], ids=["kill", "int"]
)
def test_killed_at_random_moments_it_ends_as_if_it_had_not_been(how, only):
    """One folder each; `python tests/helpers/killing.py` is the whole table."""
    words = [sys.executable, killing.__file__, "--times", "1", "--only", only, "--signal", how]
    done = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["command"] for row in rows] == only.split(","), done.stderr
    assert [row["differing"] for row in rows] == [[] for _ in rows]
    assert done.returncode == 0
