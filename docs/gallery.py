"""docs/gallery.md: one picture and one command for each technique. `make gallery` runs every command.

A command that is done is not run again: its folder under runs/gallery is kept, and is to be deleted where
the technique has changed. `make gallery ARGS="pgd lucid"` runs and draws these alone. Every picture is the
toybox's, one of the photographs that scikit-image and scikit-learn carry, or our own.
"""

from __future__ import annotations

import csv
import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import playground
from drawing import WIDE, above, cells, change, enlarged, film, framed, in_rows, labelled_rows, tile, times
from PIL import Image

from ostrich.cli.main import run as ostrich

HERE = Path(__file__).parent
PICTURES, RUNS = HERE / "gallery", HERE.parent / "runs" / "gallery"
QUALITY = 88  # of a photograph's JPEG
WORDS = "words.txt"  # in a run: what was asked, so that it is run again when that changes
SHOWN = 2  # images of an attack
FACES_GAP = 8  # rows between the pictures of a face without and with make-up
FIRST = ("class:table lamp", "class:sports car")  # of preferred images, those that the lecture names
NET, DATA = "zoo:toybox-resnet20", "toybox"
REAL, PHOTOGRAPHS = "zoo:imagenet-efficientnet-lite0", "photographs"
NEURON = "blocks.2.1:7@14,14"  # of the real network: the middle one of a channel of its third stage
SEEN = (88, 88, 144, 144)  # of 224 pixels: all that moves it, but for a faint rim
Picture = Callable[[Path], Image.Image]


@dataclass(frozen=True)
class Entry:
    """A technique: `said` is a sentence and its source, `words` the command without `ostrich`."""

    name: str
    title: str
    said: str
    words: str
    picture: Picture | str  # a sheet or a film of the run, or drawn from its folder


def triples(folder: Path) -> Image.Image:
    """Images that were broken, their change, and the files that broke them."""
    table = _table(folder / "images.csv")
    broken = [row for row in table if row["success"] == "true" and row["adversarial_file"]][:SHOWN]
    if not broken:
        raise SystemExit(f"{folder}: nothing was broken, so there is no picture.")
    names = _classes(folder)
    tiles = []
    for row in broken:
        before, after = (Image.open(folder / row[f"{kind}_file"]) for kind in ("clean", "adversarial"))
        changed, factor = change(before, after)
        captions = (
            names[int(row["clean_prediction"])],
            f"change, {factor} times" if factor > 1 else "change",
            f"{names[int(row['adversarial_prediction'])]}, {float(row['confidence']):.0%}",
        )
        tiles += [tile(one, text) for one, text in zip((before, changed, after), captions, strict=True)]
    return in_rows(tiles)


def printed(folder: Path) -> Image.Image:
    """Images, the files that fool, and below them simulated photographs of both."""
    photographs = {row["index"]: row for row in _table(folder / "photographs.csv")}
    broken = [row for row in _table(folder / "images.csv") if row["success"] == "true"][:SHOWN]
    names, tiles = _classes(folder), []
    for row in broken:
        seen = photographs[row["index"]]
        for files, kind, said in ((row, "file", "file"), (seen, "photograph_file", "print")):
            for which in ("clean", "adversarial"):
                name = names[int(files[f"{which}_prediction"])]
                tiles.append(tile(Image.open(folder / files[f"{which}_{kind}"]), f"{said}: {name}"))
    return in_rows(tiles, 2)


def made_up(folder: Path) -> Image.Image:
    """A face without and with a look; frames are the detector's."""
    sheet = Image.open(folder / "pictures.png").convert("RGB")
    side = (sheet.height - FACES_GAP) // 2
    halves = sheet.crop((0, 0, sheet.width, side)), sheet.crop((0, sheet.height - side, *sheet.size))
    return in_rows([tile(one, said) for one, said in zip(halves, ("without", "with make-up"), strict=True)])


def certain(folder: Path) -> Image.Image:
    """Fooling images with what the network is how certain of; where it is not, that is said."""
    names, tiles = _classes(folder), []
    for row in _table(folder / "images.csv"):
        if not row["adversarial_file"]:  # not tried: the network is as certain of any noise
            continue
        image = Image.open(folder / row["adversarial_file"])
        failed = "" if row["success"] == "true" else "failed, "
        tiles.append(
            tile(image, f"{names[int(row['target'])]}: {failed}{_percent(float(row['confidence']))}")
        )
    return in_rows(tiles)


def _percent(probability: float) -> str:
    """Rounded down: what is not certain is not shown as 100 %."""
    return f"{int(probability * 1000) / 10:.1f} %"


def _table(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def _results(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))["results"]


def _classes(folder: Path) -> list[str]:
    """The names of the classes of the network that a run asked."""
    return _class_names(shlex.split((folder / WORDS).read_text(encoding="utf-8"))[2])


@cache
def _class_names(network: str) -> list[str]:
    import ostrich as package

    return list(package.load(network).class_names or ())


def attack(name: str, title: str, said: str, more: str = "--limit 10") -> Entry:
    """An attack on toybox images."""
    return Entry(name, title, said, f"attack {name} {NET} {DATA} {more}", triples)


def fooling(name: str, title: str, said: str, more: str = "") -> Entry:
    """A fooling attack, which makes its own images."""
    return Entry(name, title, said, f"attack {name} {NET} {more}".strip(), certain)


def explain(name: str, title: str, said: str) -> Entry:
    """A method of attribution, for the predicted class."""
    return Entry(name, title, said, f"explain {name} {NET} {DATA} --limit 6", maps)


def maps(folder: Path) -> Image.Image:
    """Three images, and below each its map."""
    rows = _results(folder)["explanations"][:3]
    tiles = [tile(Image.open(folder / row["clean_file"]), row["unit"].removeprefix("class:")) for row in rows]
    return in_rows(tiles + [tile(Image.open(folder / row["picture_file"]), "") for row in rows])


def neuron(folder: Path) -> Image.Image:
    """Photographs, framed what the middle neuron sees, and below what a method makes of that."""
    rows = _results(folder)["explanations"]
    tiles = [tile(framed(Image.open(folder / row["clean_file"]), SEEN), row["unit"]) for row in rows]
    return in_rows(tiles + [tile(Image.open(folder / row["picture_file"]).crop(SEEN), "") for row in rows])


def plain_and_guided(folder: Path) -> Image.Image:
    """Photographs, framed what the middle neuron sees; of that the plain gradient, and the guided one."""
    tiles = []
    both = zip(
        *(_results(run)["explanations"] for run in (RUNS / "photo-neuron-gradient", folder)), strict=True
    )
    for plain, guided in both:
        tiles.append(tile(framed(Image.open(folder / guided["clean_file"]), SEEN), guided["unit"]))
        for run, row, said in (
            (RUNS / "photo-neuron-gradient", plain, "gradient"),
            (folder, guided, "guided"),
        ):
            tiles.append(tile(Image.open(run / row["picture_file"]).crop(SEEN), said))
    return in_rows(tiles)


def photographs(name: str, title: str, said: str, words: str, picture: Picture = maps) -> Entry:
    """A technique on photographs, with a network that was trained on ImageNet."""
    kind, method, *more = words.split()
    return Entry(f"photo-{name}", title, said, " ".join((kind, method, REAL, PHOTOGRAPHS, *more)), picture)


def preferred(name: str, title: str, said: str, more: str) -> Entry:
    """Preferred images of the ten classes."""
    return Entry(name, title, said, f"visualize {NET} --unit class:* {more}", units)


def units(folder: Path) -> Image.Image:
    """What each unit prefers."""
    rows = _results(folder)["units"]
    tiles = [tile(Image.open(folder / row["file"]), row["unit"].removeprefix("class:")) for row in rows]
    return in_rows(tiles, 2 if len(tiles) == 4 else 3)


def under_noise(folder: Path) -> Image.Image:
    """What the plain ascent made of each of six classes and, below, this one; the lamp and the car first."""
    pairs = zip(_results(RUNS / "plain")["units"], _results(folder)["units"], strict=True)
    tiles = []
    for plain, drawn in sorted(pairs, key=lambda pair: pair[0]["unit"] not in FIRST)[:6]:
        both = above(Image.open(RUNS / "plain" / plain["file"]), Image.open(folder / drawn["file"]))
        tiles.append(tile(both, plain["unit"].removeprefix("class:")))
    return in_rows(tiles)


def by_class(folder: Path) -> Image.Image:
    """Samples of classes in turn, a row for each class."""
    found = list(cells(Image.open(folder / "grid.png").convert("RGB"), 64))
    names = _class_names(NET)
    return labelled_rows([(name, found[k :: len(names)][:6]) for k, name in enumerate(names)], 2)


SECTIONS: dict[str, list[Entry]] = {
    "A real network": [
        photographs(
            "pgd",
            "What is it now?",
            "EfficientNet-Lite0, trained by others on ImageNet, at 224 pixels, and changes of 2/255 at most.",
            "attack pgd --limit 4 --target ostrich --set eps=2/255 --set steps=20 --set stop=budget",
            triples,
        ),
        photographs(
            "gradcam", "Where it looks", "Grad-CAM of the class it sees.", "explain gradcam --limit 3"
        ),
        photographs(
            "gradient",
            "The gradient of a class",
            "What the smallest change would do.",
            "explain gradient --limit 3",
        ),
        photographs(
            "guided",
            "Guided, of a class",
            "Sharp, and less of the class than it seems.",
            "explain guided --limit 3",
        ),
        photographs(
            "neuron-gradient",
            "The gradient of a neuron",
            "The middle neuron of a channel of the third stage: below what is framed, four times as large. "
            "White is where a pixel moves it most.",
            f"explain gradient --limit 3 --unit {NEURON}",
            neuron,
        ),
        photographs(
            "neuron-guided",
            "Guided, of the same neuron",
            "Photograph; of what is framed the plain gradient, and the guided one (Springenberg 2015).",
            f"explain guided --limit 3 --unit {NEURON}",
            plain_and_guided,
        ),
        photographs(
            "smoothgrad",
            "SmoothGrad, of a class",
            "The mean gradient of fifty noisy copies (Smilkov 2017).",
            "explain smoothgrad --limit 3",
        ),
        photographs(
            "deconvnet",
            "Deconvnet, of the same neuron",
            "Three photographs, one picture: all that a deconvnet sees of an image are the switches of max "
            "pooling, and this network has none.",
            f"explain deconvnet --limit 3 --unit {NEURON}",
            neuron,
        ),
        Entry(
            "photo-fooling-ascent",
            "Fooling by ascent",
            "From noise to at least 99 % in fifteen steps: a tench, a hamster, a submarine.",
            f"attack fooling-ascent {REAL} --limit 6",
            certain,
        ),
        Entry(
            "photo-lucid",
            "Preferred images",
            "What ostrich, goldfish, teapot and school bus look like to it (Olah 2017).",
            f"visualize {REAL} --unit class:ostrich --unit class:goldfish --unit class:teapot "
            "--unit 'class:school bus' --preset lucid",
            units,
        ),
        photographs(
            "printed",
            "Printed, and photographed",
            "Before and changed, below them as a simulated camera sees them in print. Of four, the four "
            "changed ones are wrong on paper too, one of which was so unchanged; two are shown.",
            "attack printed --limit 4",
            printed,
        ),
    ],
    "Break it": [
        attack("fgsm", "FGSM", "One step along the gradient's sign (Goodfellow 2015)."),
        attack("pgd", "PGD", "Many small steps inside a budget (Madry 2018).", "--limit 10 --target ostrich"),
        attack("mim", "MIM", "Steps with momentum (Dong 2018)."),
        attack("apgd", "APGD", "Steps that choose their own size (Croce and Hein 2020)."),
        attack(
            "lbfgs",
            "L-BFGS",
            "The first attack: the least change towards a class (Szegedy 2014).",
            "--limit 10 --target ostrich",
        ),
        attack("deepfool", "DeepFool", "To the nearest linearised boundary (Moosavi-Dezfooli 2016)."),
        attack(
            "cw",
            "Carlini-Wagner",
            "The least change for a margin (Carlini and Wagner 2017).",
            "--limit 10 --set iterations=100",
        ),
        attack("fab", "FAB", "Along the boundary, with a pull back to the image (Croce and Hein 2020)."),
        attack("ddn", "DDN", "Direction and norm apart (Rony 2019)."),
        attack(
            "one-pixel",
            "One pixel",
            "Differential evolution of one pixel (Su 2019).",
            "--limit 20 --set generations=20",
        ),
        attack("square", "Square", "Random squares, by scores alone (Andriushchenko 2020)."),
        attack("boundary", "Boundary", "Along the boundary, by labels alone (Brendel 2018)."),
        attack(
            "hopskipjump",
            "HopSkipJump",
            "The boundary's normal, by labels alone (Chen 2020).",
            "--limit 10 --set queries=2000",
        ),
        attack(
            "autoattack",
            "The ensemble",
            "The worst of four attacks for each image (Croce and Hein 2020).",
            "--limit 10 --set eps=2/255",
        ),
        Entry(
            "universal",
            "Universal perturbation",
            "One change for every image, by gradients of batches (Shafahi 2020; the question is "
            "Moosavi-Dezfooli's, 2017), judged on images it was not fitted on.",
            f"attack universal {NET} {DATA}",
            triples,
        ),
        Entry(
            "generator",
            "Learned attacker",
            "A network that draws the change for an image in one forward (Poursaeed 2018).",
            f"attack generator {NET} {DATA}",
            triples,
        ),
        Entry(
            "patch",
            "Patch",
            "One picture, wherever it lies (Brown 2017), judged on other images and places.",
            f"attack patch {NET} {DATA} --target ostrich",
            triples,
        ),
        Entry(
            "texture",
            "Painted object",
            "A texture that is something else from all sides (Athalye 2018), as it turns: before and after.",
            f"attack texture {NET} 'mesh:toybox/school bus' --target ostrich --limit 1000 --set epochs=20 "
            "--set eps=48/255",
            "turntable.gif",
        ),
        Entry(
            "printed",
            "Printed",
            "The image and the file that fools, and below them both on simulated paper before a simulated "
            "camera (Kurakin 2017).",
            f"attack printed {NET} {DATA} --limit 24",
            printed,
        ),
        Entry(
            "dazzle",
            "Camouflage",
            "Make-up on 0.11 % of the picture, 3 % of the face (after Harvey 2010). Framed is all that "
            "OpenCV's cascade takes for a face. Without make-up: the face and, falsely, her shoulder. With "
            "it: the shoulder still, a lock of hair, and no more the face. False alarms are its own.",
            "attack dazzle detector:viola-jones faces:astronaut --set per_face=true --set eps=0.001076",
            made_up,
        ),
        fooling(
            "fooling-ascent",
            "Fooling by ascent",
            "Noise that is a class, surely (Nguyen 2015). An airship is what any noise is to it: not tried.",
        ),
        fooling(
            "fooling-cppn",
            "Fooling by evolution",
            "Patterns that evolve from scores alone (Nguyen 2015): every class at 99 % in 165 generations.",
            "--set generations=200",
        ),
        fooling(
            "fooling-direct",
            "Fooling pixel by pixel",
            "The same evolution, of pixels (Nguyen 2015): 99 % of every class after 150 generations, in two "
            "minutes and a half. In one minute half of them were failures.",
            "--set generations=200",
        ),
    ],
    "Look inside": [
        explain("gradient", "Gradient", "The pixels that move the class (Simonyan 2014)."),
        explain(
            "gradient-x-input", "Gradient times input", "Each pixel's share, to first order (Shrikumar 2016)."
        ),
        explain(
            "deconvnet",
            "Deconvnet",
            "Back through ReLUs goes what is positive (Zeiler and Fergus 2014). Here the grid of the layers "
            "that skip pixels, whatever the image: a deconvnet sees of it only the switches of max pooling, "
            "and this network has none.",
        ),
        explain("guided", "Guided backpropagation", "Both rules at once (Springenberg 2015)."),
        explain(
            "integrated-gradients", "Integrated Gradients", "The gradient along a way (Sundararajan 2017)."
        ),
        explain("smoothgrad", "SmoothGrad", "The mean gradient under noise (Smilkov 2017)."),
        explain("gradcam", "Grad-CAM", "A layer's maps, weighted by their gradients (Selvaraju 2017)."),
        explain("guided-gradcam", "Guided Grad-CAM", "Fine and coarse multiplied (Selvaraju 2017)."),
        explain("occlusion", "Occlusion", "What a grey square costs (Zeiler and Fergus 2014)."),
        Entry(
            "sanity",
            "Does a map read the network?",
            "The network's layers are made random from the top down (Adebayo 2018): a map that reads the "
            "network falls at once. Grad-CAM's maps have no sign: with it and without is one line.",
            f"explain gradcam {NET} {DATA} --limit 16 --sanity",
            "sanity/randomisation.png",
        ),
        Entry(
            "sheet",
            "A unit on one page",
            "What it prefers, what excites it, and what in that does (Zeiler and Fergus 2014).",
            f"explain sheet {NET} {DATA} --unit layer2:5 --unit class:ostrich",
            "sheets/000-layer2-5.png",
        ),
        preferred("lucid", "Preferred images", "Fourier, random views, Adam (Olah 2017).", "--preset lucid"),
        preferred(
            "plain",
            "Without regularisation",
            "The gradient alone: noise to look at (Simonyan 2014).",
            "--preset plain",
        ),
        preferred(
            "yosinski",
            "Yosinski's regularisers",
            "His third setting, with normalised steps (Yosinski 2015).",
            "--preset yosinski-3 --set optimiser=normalised --set steps=256",
        ),
        Entry(
            "ascent",
            "An ascent as it goes",
            "From noise to what `class:ostrich` prefers.",
            f"visualize {NET} --unit class:ostrich --gif",
            "ascent.gif",
        ),
        Entry(
            "filters",
            "First filters",
            "The only weights that are images.",
            f"visualize {NET} --filters",
            "filters.png",
        ),
    ],
    "Generate": [
        Entry(
            "game",
            "The first game",
            "Full layers, on digits of 8x8 pixels (Goodfellow 2014).",
            "generate train digits-perceptron",
            "sheets/003000.png",
        ),
        Entry(
            "sample",
            "Samples",
            "Transposed convolutions after DCGAN (Radford 2016): 32 pixels, half its channels, kernels of 4, "
            "averaged weights.",
            "generate sample zoo:toybox-dcgan",
            "grid.png",
        ),
        Entry(
            "interpolate",
            "Interpolation",
            "Straight on between uniform codes (Radford 2016).",
            "generate interpolate zoo:toybox-dcgan",
            "sheet.png",
        ),
        Entry(
            "conditional",
            "Samples of a class",
            "Told what to draw (Brock 2019), judged through a classifier's eyes (Sauer 2021); truncated.",
            "generate sample zoo:toybox-conditional --count 60 --truncation 0.7",
            by_class,
        ),
        Entry(
            "between-classes",
            "Between classes",
            "The same code on the straight line between two class embeddings: the ground stays, the bus "
            "becomes an ostrich's body. Neither is drawn well: a small generator, 64 pixels.",
            "generate interpolate zoo:toybox-conditional --from 'school bus' --to ostrich --rows 4",
            "sheet.png",
        ),
        Entry(
            "neighbours",
            "Nearest training images",
            "Samples, their nearest training images in pixels, and those in a classifier's features.",
            "generate neighbours zoo:toybox-conditional",
            "neighbours.png",
        ),
        Entry(
            "video",
            "Clips",
            "Objects that move over a background that does not (Vondrick 2016): 16 frames of 32 pixels, the "
            "classes in turn.",
            "generate sample zoo:toybox-video --count 16",
            "grid.gif",
        ),
        Entry(
            "video-streams",
            "Two streams",
            "Left to right: clip, foreground, mask, background; the clip is m f + (1 - m) b (Vondrick 2016).",
            "generate sample zoo:toybox-video --count 6",
            "streams.gif",
        ),
        Entry(
            "video-interpolate",
            "Interpolation of clips",
            "On the great circle between normal codes (Shoemake 1985).",
            "generate interpolate zoo:toybox-video --rows 4 --steps 5",
            "interpolation.gif",
        ),
        Entry(
            "prior",
            "Preferred images under a prior",
            "The generator draws, the network judges (DGN-AM, Nguyen 2016). Above, the gradient alone. Of "
            "four starts a class another network recognises 40 of 40 below, 26 of 40 above.",
            f"visualize {NET} --unit class:* --prior zoo:toybox-prior",
            under_noise,
        ),
    ],
}


def main(only: list[str]) -> int:
    """Run what is not done, draw every picture, write docs/gallery.md."""
    PICTURES.mkdir(exist_ok=True)
    lines = [
        "# Gallery",
        "",
        "One picture and one command for each technique; `make gallery` makes them all.",
    ]
    for section, entries in SECTIONS.items():
        lines += ["", f"## {section}"]
        for entry in entries:
            folder = RUNS / entry.name
            if (not only or entry.name in only) and not _done(folder, entry):
                sys.stdout.write(f"ostrich {entry.words}\n")
                code = ostrich([*shlex.split(entry.words), "--out", str(folder), "--force"])
                if code:
                    return code
                (folder / WORDS).write_text(entry.words, encoding="utf-8")
            drawn = sorted(PICTURES.glob(f"{entry.name}.*"))
            file = drawn[0].name if drawn and only and entry.name not in only else _draw(entry, folder)
            command = " ".join(shlex.quote(word) for word in shlex.split(entry.words))
            lines += ["", f"### {entry.title}", "", entry.said, "", "```sh", f"ostrich {command}", "```", ""]
            lines += [f"![{entry.title}](gallery/{file})"]
    if not only or playground.NAME in only:
        playground.take(PICTURES)
    lines += ["", playground.SECTION]
    (HERE / "gallery.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def _done(folder: Path, entry: Entry) -> bool:
    """Whether these very words have been run there to their end."""
    return (folder / WORDS).exists() and (folder / WORDS).read_text(encoding="utf-8") == entry.words


def _draw(entry: Entry, folder: Path) -> str:
    """The entry's picture, written to docs/gallery; its name."""
    if isinstance(entry.picture, str) and entry.picture.endswith(".gif"):
        film(folder / entry.picture, PICTURES / f"{entry.name}.gif")
        return f"{entry.name}.gif"
    if isinstance(entry.picture, str):
        sheet = Image.open(folder / entry.picture).convert("RGB")
        sheet = enlarged(sheet, times(sheet.width, WIDE))
    else:
        sheet = entry.picture(folder)
    if REAL in entry.words:
        sheet.save(PICTURES / f"{entry.name}.jpg", quality=QUALITY, optimize=True)
        return f"{entry.name}.jpg"
    sheet.save(PICTURES / f"{entry.name}.png", optimize=True)
    return f"{entry.name}.png"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
