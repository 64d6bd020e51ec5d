"""docs/gallery.md: one picture and one command for each technique. `make gallery` runs every command.

A command that is done is not run again: its folder under runs/gallery is kept, and is to be deleted where
the technique has changed. `make gallery ARGS="pgd lucid"` runs and draws these alone. Every picture is the
toybox's, one of the photographs that scikit-image and scikit-learn carry, or our own.
"""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import playground
from PIL import Image, ImageChops, ImageDraw, ImageFont, ImageSequence

from ostrich.cli.main import run as ostrich

HERE = Path(__file__).parent
PICTURES, RUNS = HERE / "gallery", HERE.parent / "runs" / "gallery"
ZOOM, GAP, LINE = 2, 12, 20  # each pixel of a toybox image is shown as 2x2
LARGE, QUALITY = 128, 88  # pixels of an image that is shown as it is, in a JPEG of this quality
WORDS = "words.txt"  # in a run: what was asked, so that it is run again when that changes
SHOWN = 2  # images of an attack
PAIRS, FIRST = 6, ("class:table lamp", "class:sports car")  # of preferred images, and those shown first
FILM = 128  # pixels of a film's side
NET, DATA = "zoo:toybox-resnet20", "toybox"
REAL, PHOTOGRAPHS = "zoo:imagenet-efficientnet-lite0", "photographs"
NEURON = "blocks.2.1:7"  # of the real network: a channel of its third stage
Picture = Callable[[Path], Image.Image]


@dataclass(frozen=True)
class Entry:
    """A technique: `said` is a sentence and its source, `words` the command without `ostrich`."""

    name: str
    title: str
    said: str
    words: str
    picture: Picture | str  # a file of the run, or drawn from its folder


def triples(folder: Path) -> Image.Image:
    """Images that were broken, their change, and the files that broke them."""
    table = list(csv.DictReader((folder / "images.csv").open(encoding="utf-8")))
    broken = [row for row in table if row["success"] == "true" and row["adversarial_file"]][:SHOWN]
    if not broken:
        raise SystemExit(f"{folder}: nothing was broken, so there is no picture.")
    names = _classes(shlex.split((folder / WORDS).read_text(encoding="utf-8"))[2])
    tiles = []
    for row in broken:
        before, after = (Image.open(folder / row[f"{kind}_file"]) for kind in ("clean", "adversarial"))
        change, factor = _difference(before, after)
        captions = (
            names[int(row["clean_prediction"])],
            f"change, {factor} times" if factor > 1 else "change",
            f"{names[int(row['adversarial_prediction'])]}, {float(row['confidence']):.0%}",
        )
        tiles += [_captioned(one, text) for one, text in zip((before, change, after), captions, strict=True)]
    return _side_by_side(tiles)


@cache
def _classes(network: str) -> list[str]:
    import ostrich as package

    return list(package.load(network).class_names or ())


def _difference(before: Image.Image, after: Image.Image) -> tuple[Image.Image, int]:
    """after - before about middle grey, enlarged by a whole number that fills the range."""
    larger, smaller = ImageChops.subtract(after, before), ImageChops.subtract(before, after)
    most = max(high for one in (larger, smaller) for _, high in _extrema(one))
    factor = max(1, 127 // max(1, most))
    grey = Image.new("RGB", before.size, (128, 128, 128))
    up, down = (one.point(lambda level: level * factor) for one in (larger, smaller))
    return ImageChops.subtract(ImageChops.add(grey, up), down), factor


def _extrema(image: Image.Image) -> list[tuple[int, int]]:
    return [(int(low), int(high)) for low, high in image.getextrema()]  # type: ignore[misc]


def _captioned(image: Image.Image, text: str) -> Image.Image:
    zoom = 1 if image.width >= LARGE else ZOOM
    image = image.convert("RGB").resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
    tile = Image.new("RGB", (image.width, image.height + LINE), "white")
    tile.paste(image, (0, 0))
    middle = image.width / 2, image.height + LINE / 2 + 1
    ImageDraw.Draw(tile).text(middle, text, fill="black", font=ImageFont.load_default(11), anchor="mm")
    return tile


def _side_by_side(tiles: list[Image.Image]) -> Image.Image:
    width = sum(tile.width + GAP for tile in tiles) - GAP
    sheet = Image.new("RGB", (width, max(tile.height for tile in tiles)), "white")
    left = 0
    for tile in tiles:
        sheet.paste(tile, (left, 0))
        left += tile.width + GAP
    return sheet


def attack(name: str, title: str, said: str, more: str = "--limit 10") -> Entry:
    """An attack on toybox images."""
    return Entry(name, title, said, f"attack {name} {NET} {DATA} {more}", triples)


def fooling(name: str, title: str, said: str, more: str = "") -> Entry:
    """A fooling attack, which makes its own images."""
    return Entry(name, title, said, f"attack {name} {NET} {more}".strip(), "gallery.png")


def explain(name: str, title: str, said: str) -> Entry:
    """A method of attribution, for the predicted class."""
    return Entry(name, title, said, f"explain {name} {NET} {DATA} --limit 6", _beside)


def _beside(folder: Path) -> Image.Image:
    """The sheet of an explainer, two columns of rows, laid side by side."""
    rows = json.loads((folder / "run.json").read_text(encoding="utf-8"))["results"]["explanations"]
    tiles = []
    for row in rows[:3]:
        tiles += [_captioned(Image.open(folder / row["clean_file"]), row["unit"])]
        tiles += [_captioned(Image.open(folder / row["picture_file"]), "")]
    return _side_by_side(tiles)


def photographs(name: str, title: str, said: str, words: str, picture: Picture = _beside) -> Entry:
    """A technique on photographs, with a network that was trained on ImageNet."""
    kind, method, *more = words.split()
    return Entry(f"photo-{name}", title, said, " ".join((kind, method, REAL, PHOTOGRAPHS, *more)), picture)


def preferred(name: str, title: str, said: str, more: str) -> Entry:
    """Preferred images of the ten classes."""
    return Entry(name, title, said, f"visualize {NET} --unit class:* {more}", "grid.png")


def _under_noise(folder: Path) -> Image.Image:
    """What the plain ascent made of each class and, below, this one; the lamp and the car first."""
    above, below = (
        json.loads((run / "run.json").read_text(encoding="utf-8"))["results"]["units"]
        for run in (RUNS / "plain", folder)
    )
    pairs = sorted(zip(above, below, strict=True), key=lambda pair: pair[0]["unit"] not in FIRST)
    tiles = []
    for plain, drawn in pairs[:PAIRS]:
        top, bottom = Image.open(RUNS / "plain" / plain["file"]), Image.open(folder / drawn["file"])
        both = Image.new("RGB", (top.width, top.height + bottom.height))
        both.paste(top, (0, 0))
        both.paste(bottom, (0, top.height))
        tiles.append(_captioned(both, plain["unit"].partition(":")[2]))
    return _side_by_side(tiles)


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
            "The gradient of a hidden unit",
            "A channel of the third stage, on the whole image.",
            f"explain gradient --limit 3 --unit {NEURON}",
        ),
        photographs(
            "neuron-guided",
            "Guided, of a hidden unit",
            "Edges again: of the unit they say little.",
            f"explain guided --limit 3 --unit {NEURON}",
        ),
        Entry(
            "photo-fooling",
            "Fooling by ascent",
            "From noise to at least 99 % in fifteen steps: a tench, a hamster, a submarine.",
            f"attack fooling-ascent {REAL} --limit 6",
            "gallery.png",
        ),
        Entry(
            "photo-lucid",
            "Preferred images",
            "What ostrich, goldfish, teapot and school bus look like to it (Olah 2017).",
            f"visualize {REAL} --unit class:ostrich --unit class:goldfish --unit class:teapot "
            "--unit 'class:school bus' --preset lucid",
            "grid.png",
        ),
        photographs(
            "printed",
            "Printed, and photographed",
            "Before, changed, and each as a simulated camera sees it in print: all four still fool it.",
            "attack printed --limit 4",
            "pictures.png",
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
            "On simulated paper, before a simulated camera (Kurakin 2017): the image, the file that fools, "
            "and photographs of both.",
            f"attack printed {NET} {DATA} --limit 24",
            "pictures.png",
        ),
        Entry(
            "dazzle",
            "Camouflage",
            "Make-up on 0.11 % of the picture, 3 % of the face, under which a detector does not find it "
            "(after Harvey 2010); framed is what OpenCV's cascade finds.",
            "attack dazzle detector:viola-jones faces:astronaut --set per_face=true --set eps=0.001076",
            "pictures.png",
        ),
        fooling("fooling-ascent", "Fooling by ascent", "Noise that is a class, surely (Nguyen 2015)."),
        fooling(
            "fooling-cppn",
            "Fooling by evolution",
            "Patterns that evolve from scores alone (Nguyen 2015).",
            "--set minutes=1",
        ),
        fooling(
            "fooling-direct",
            "Fooling pixel by pixel",
            "The same evolution, of pixels (Nguyen 2015).",
            "--set minutes=1",
        ),
    ],
    "Look inside": [
        explain("gradient", "Gradient", "The pixels that move the class (Simonyan 2014)."),
        explain(
            "gradient-x-input", "Gradient times input", "Each pixel's share, to first order (Shrikumar 2016)."
        ),
        explain(
            "deconvnet", "Deconvnet", "Back through ReLUs goes what is positive (Zeiler and Fergus 2014)."
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
            "The network's layers are made random from the top down (Adebayo 2018).",
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
            "grid.png",
        ),
        Entry(
            "between-classes",
            "Between classes",
            "The same code on the straight line between two class embeddings.",
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
            "Objects that move over a background that does not (Vondrick 2016): 16 frames of 32 pixels.",
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
            "The generator draws, the network judges (DGN-AM, Nguyen 2016). Above, the gradient alone.",
            f"visualize {NET} --unit class:* --prior zoo:toybox-prior",
            _under_noise,
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
        return _film(folder / entry.picture, f"{entry.name}.gif")
    if isinstance(entry.picture, str) and REAL not in entry.words:
        file = f"{entry.name}{Path(entry.picture).suffix}"
        shutil.copyfile(folder / entry.picture, PICTURES / file)
        return file
    if isinstance(entry.picture, str):
        sheet = Image.open(folder / entry.picture).convert("RGB")
    else:
        sheet = entry.picture(folder)
    if REAL in entry.words:
        sheet.save(PICTURES / f"{entry.name}.jpg", quality=QUALITY, optimize=True)
        return f"{entry.name}.jpg"
    sheet.save(PICTURES / f"{entry.name}.png", optimize=True)
    return f"{entry.name}.png"


def _film(source: Path, name: str) -> str:
    """A GIF of fewer pixels, for the page; its name."""
    with Image.open(source) as film:
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(film)]
    side = max(1, min(frames[0].size) // FILM)
    small = [f.resize((f.width // side, f.height // side), Image.Resampling.NEAREST) for f in frames]
    first, *rest = [frame.quantize(64) for frame in small]
    first.save(PICTURES / name, save_all=True, append_images=rest, duration=80, loop=0)
    return name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
