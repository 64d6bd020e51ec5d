"""The crash test's report: one file, nothing from outside, every word of a stranger escaped."""

from __future__ import annotations

import base64
import io
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ostrich.cli.main import run
from ostrich.crashtest.report import write_report
from ostrich.errors import InputError
from ostrich.figures.curve import Curve, percent
from ostrich.verbs.compare import compare
from ostrich.verbs.report import report

HOSTILE = "<script>alert('ostrich')</script>"
HOSTILE_FILE = 'a"><img src=x onerror=alert(1)>.png'
PARTS = ("original", "adversarial", "difference")
OLD = Path(__file__).parent / "run-of-0.1"  # of `ostrich check` before run.json had a version
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Page(HTMLParser):
    """Every start tag with its attributes and all text outside of style and script; refuses bad nesting."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()} closes something else"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def picture(folder: Path, name: str, side: int = 8, seed: int = 0) -> str:
    path = folder / "files" / name
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="PNG")
    return f"files/{name}"


def every_block(folder: Path) -> list[dict[str, Any]]:
    item = {
        "budget": "8/255",
        "value": 8 / 255,
        "original": picture(folder, "original.png", seed=1),
        "adversarial": picture(folder, "adversarial.png", side=200, seed=2),
        "difference": picture(folder, "difference.png", side=200, seed=3),
        "factor": 20.0,
        "before": [["ostrich", 0.91], [HOSTILE, 0.05]],
        "after": [[HOSTILE, 0.9999], ["ostrich", 0.00001]],
        "caption": f"now {HOSTILE}",
    }
    points = [
        {"x": x, "y": y, "low": max(0.0, y - 0.1), "high": min(1.0, y + 0.1), "label": f"{x}/255"}
        for x, y in ((0, 0.9), (1, 0.5), (2, 0.2), (4, 0.0))
    ]
    bare = [{"x": 1, "y": 0.9, "low": None, "high": None, "label": None}]
    return [
        {"kind": "number", "label": "right", "value": 0.5, "interval": [0.4, 0.6], "n": 64},
        {"kind": "number", "label": "unlabelled", "value": None, "interval": None, "n": None},
        {
            "kind": "confusions",
            "rows": [
                {"true": "ostrich", "predicted": HOSTILE, "count": 3, "file": picture(folder, HOSTILE_FILE)},
                {"true": "bus", "predicted": "lamp", "count": 1, "file": None},
            ],
        },
        {
            "kind": "curve",
            "x_label": "budget",
            "y_label": "accuracy",
            "series": [
                {"name": HOSTILE, "style": "attack", "points": points},
                {"name": "noise", "style": "noise", "points": bare},
                {"name": "empty", "style": "other", "points": []},
            ],
        },
        {"kind": "slider", "label": "budget", "items": [item, {**item, "budget": "16/255"}]},
        {"kind": "pairs", "items": [item]},
        {
            "kind": "pictures",
            "columns": 2,
            "items": [{"file": item["original"], "title": "gradient", "caption": HOSTILE}],
        },
        {"kind": "table", "columns": ["check", HOSTILE], "rows": [[HOSTILE, 0.25], [None, True]]},
        {
            "kind": "curve",
            "x_label": "budget",
            "y_label": "accuracy",
            "series": [
                {"name": "at least", "style": "noise", "points": bare},
                {"name": "at most", "style": "attack", "points": points},
            ],
            "between": HOSTILE,
        },
    ]


def probe(folder: Path, name: str, **fields: Any) -> None:
    answer = {"name": name, "title": name.capitalize(), "status": "done", "reason": None, "sentence": "So."}
    answer |= {"how_to_read": "Thus.", "command": f"ostrich check --only {name}", "seconds": 1.0}
    (folder / "probes").mkdir(exist_ok=True)
    (folder / "probes" / f"{name}.json").write_text(
        json.dumps(answer | {"figures": {}, "blocks": []} | fields)
    )


def run_folder(tmp_path: Path) -> Path:
    probe(tmp_path, "everything", sentence=f"It says {HOSTILE}.", blocks=every_block(tmp_path))
    probe(tmp_path, "broken", status="failed", reason="The fit ran out of memory.", sentence=None)
    probe(tmp_path, "mesh", status="skipped", reason=f"{HOSTILE} has no mesh.", sentence=None)
    results = {
        "model": {"name": HOSTILE, "source": "zoo", "parameters": 1234, "num_classes": 2, "input": [3, 8, 8]},
        "gates": [
            {"kind": "fail-under", "text": HOSTILE, "passed": verdict, "sentence": "As measured."}
            for verdict in (True, False, None)
        ],
        "verdict": f"Right on half, else {HOSTILE}.",
        "not_run": [{"probe": "patch", "reason": "No time was left.", "command": f"ostrich {HOSTILE}"}],
        "next_commands": [{"text": "Yours:", "command": "ostrich check my.py:network folder:my/test"}],
        "seconds": 12.0,
        "probes": {"everything": {}, "broken": {}, "mesh": {}, "vanished": {}},
    }
    content = {"command": "ostrich check it", "versions": {"ostrich": "0.1", "torch": HOSTILE}, "seed": 0}
    content |= {"device": "cpu", "threads": 1, "data": {"name": HOSTILE, "n": 64, "sha256": "0" * 64}}
    (tmp_path / "run.json").write_text(json.dumps(content | {"results": results}))
    return tmp_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run that a test may change."""
    return run_folder(tmp_path)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its report, to be read only."""
    folder = run_folder(tmp_path_factory.mktemp("run"))
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(written: Path) -> Page:
    return Page((written / "index.html").read_text("utf-8"))


def test_nothing_comes_from_outside(written: Path, page: Page) -> None:
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "poster", "data", "action", "xlink:href"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
        href = attributes.get("href") or "#"
        assert href.startswith(("#", "./", "data:")), href
    assert [a["href"] for a in page.all("link")] == ["data:,"]
    assert not {"iframe", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    text = (written / "index.html").read_text("utf-8")
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert "url(" not in text


def pixels(content: bytes) -> bytes:
    with Image.open(io.BytesIO(content)) as opened:
        return opened.convert("RGB").tobytes()


def test_all_pictures_are_embedded_and_the_evidence_pixel_for_pixel(written: Path, page: Page) -> None:
    sources = {image["src"] for image in page.all("img")}
    shown = {pixels(base64.b64decode((source or "").partition(",")[2])) for source in sources}
    for name in ("original.png", "adversarial.png", HOSTILE_FILE):  # the second, 120 KB of noise, as WebP
        assert pixels((written / "files" / name).read_bytes()) in shown
    assert pixels((written / "files" / "difference.png").read_bytes()) not in shown  # no evidence: lighter
    # confusions 1, pictures 1, and three for each of: first screen, two slider stops, one pair
    assert len(page.all("img")) == 2 + 3 * 4
    assert all(image["width"] and image["height"] for image in page.all("img"))
    assert all(image["alt"] for image in page.all("img"))
    assert "missing" not in page.text


def test_a_page_stays_light_however_many_pictures_it_shows(folder: Path) -> None:
    pairs = []
    for i in range(24):
        item = every_block(folder)[5]["items"][0]
        names = {part: picture(folder, f"{i}-{part}.png", 224, 3 * i + k) for k, part in enumerate(PARTS)}
        pairs.append({**item, **names})
    assert sum(file.stat().st_size for file in (folder / "files").iterdir()) > 10e6
    probe(folder, "everything", blocks=[{"kind": "pairs", "items": pairs}])
    assert write_report(folder).stat().st_size < 5e6  # noise, of which no way of writing it is short
    exact = {pixels((folder / "files" / f"{i}-adversarial.png").read_bytes()) for i in range(24)}
    page = Page((folder / "index.html").read_text("utf-8"))
    shown = {pixels(base64.b64decode((i["src"] or "").partition(",")[2])) for i in page.all("img")}
    assert 0 < len(exact & shown) < 24  # the first ones without loss


def test_files_are_linked_beside_the_page(page: Page) -> None:
    links = {a["href"] for a in page.all("a") if a.get("class") == "file"}
    assert {"./files/original.png", "./files/adversarial.png", "./run.json", "./probes/broken.json"} <= links
    assert "./files/a%22%3E%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E.png" in links


def test_strangers_words_are_text(page: Page) -> None:
    assert len(page.all("script")) == 1  # our own
    assert not [a for _, attributes in page.tags for a in attributes if a.startswith("on")]
    assert page.text.count(HOSTILE) > 15
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv"))
    assert policy
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


def test_a_failed_probe_says_why_and_stops_nobody(page: Page) -> None:
    assert "Failed. The fit ran out of memory." in page.text
    assert f"Skipped. {HOSTILE} has no mesh." in page.text
    assert "The probe left no readable answer." in page.text  # vanished.json was never written
    order = [section["id"] for section in page.all("section") if "probe" in (section.get("class") or "")]
    assert order == ["probe-everything", "probe-broken", "probe-mesh", "probe-vanished"]
    assert "No time was left." in page.text


def test_first_and_last_words(page: Page) -> None:
    assert page.text.index("Right on half") < page.text.index("It says")
    assert page.text.endswith("ostrich check my.py:network folder:my/test Copy")


def test_ids_are_unique_and_labels_point_at_them(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        for target in (attributes.get("aria-labelledby") or "").split():
            assert target in ids


def test_written_whole_or_not_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = write_report(folder)
    assert index == folder / "index.html"
    before = index.read_bytes()
    assert write_report(folder).read_bytes() == before  # the same run gives the same page

    def full_disk(path: Path, target: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_report(folder)
    assert index.read_bytes() == before
    assert not [path for path in folder.iterdir() if "partial" in path.name]


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({"kind": "hologram"}, "hologram"),
        ({"kind": "table", "columns": ["a"]}, "blocks.0.table.rows: Field required"),
        ({"kind": "pictures", "columns": 1, "items": [], "rows": 3}, "Extra inputs are not permitted"),
        ({"kind": "number", "label": "x", "value": "high", "interval": None, "n": 1}, "valid number"),
    ],
)
def test_an_answer_of_another_form_says_so_and_stops_nobody(folder: Path, block: Any, told: str) -> None:
    probe(folder, "broken", blocks=[block])
    text = Page(write_report(folder).read_text("utf-8")).text
    assert "The probe left no readable answer." in text
    assert told in text
    assert "It says" in text  # everything else is shown


def test_a_picture_outside_the_folder_is_our_fault(folder: Path) -> None:
    outside = {"file": "../../elsewhere.png", "title": "", "caption": ""}
    probe(folder, "broken", blocks=[{"kind": "pictures", "columns": 1, "items": [outside]}])
    with pytest.raises(AssertionError, match="outside"):
        write_report(folder)
    assert not (folder / "index.html").exists()


def test_a_missing_picture_is_named(folder: Path) -> None:
    (folder / "files" / "original.png").write_bytes(b"no picture")
    (folder / "files" / "adversarial.png").unlink()
    text = Page(write_report(folder).read_text("utf-8")).text
    assert "original.png is missing or cannot be read" in text
    assert "adversarial.png is missing or cannot be read" in text


def test_no_run_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.json"):
        write_report(tmp_path)


def test_a_run_of_another_command_is_the_callers_mistake(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"results": {"success_rate": 1.0}}))
    with pytest.raises(InputError, match="no finished `ostrich check`"):
        write_report(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"results": None}))
    with pytest.raises(InputError, match="no finished `ostrich check`"):
        write_report(tmp_path)


def complete(folder: Path) -> dict[str, Any]:
    """The run of `run_folder` with all that a check of today adds; its run.json."""
    run_folder(folder)
    content: dict[str, Any] = json.loads((folder / "run.json").read_text())
    line = {"name": "robust accuracy at linf 8/255", "value": 0.25, "low": 0.1, "high": 0.4}
    line |= {"n": 64, "measured_by": ["apgd"], "verdict": "not known", "reason": f"masking {HOSTILE}"}
    changed = {"figure": "clean accuracy", "first": 0.9, "first_low": 0.8, "first_high": 0.95}
    changed |= {"second": 0.7, "second_low": 0.6, "second_high": 0.8, "difference": -0.2, "beyond": True}
    steady = {**changed, "figure": "another", "difference": 0.0, "beyond": False}
    fallen = {"index": 3, "file": HOSTILE, "name": HOSTILE, "norm": "linf", "distance": 1 / 255}
    weak = {"name": HOSTILE, "n": 4, "right": 3, "attacked": 3, "standing": 1}
    classes = [{**weak, "name": f"{HOSTILE}{i}"} for i in range(20)]
    content["results"] |= {
        "summary": [line, {**line, "name": "the doctor", "value": None, "low": None, "high": None}],
        "since": {"run": HOSTILE, "command": None, "same_images": False, "rows": [changed, steady]},
        "by_class": {
            "norm": "linf",
            "eps": 2 / 255,
            "classes": classes,
        },
        "first_to_fall": [{**fallen, "attack": "pgd", "clean_file": "files/original.png"}],
    }
    item = every_block(folder)[5]["items"][0]
    probe(folder, "vanished", blocks=[{"kind": "pairs", "items": [item, item, item]}])
    (folder / "run.json").write_text(json.dumps(content))
    return content


def test_the_summary_stands_before_the_answers(folder: Path) -> None:
    complete(folder)
    page = Page(write_report(folder).read_text("utf-8"))
    order = [section["id"] for section in page.all("section") if section.get("id")]
    assert order[:5] == ["since", "next", "figures", "classes", "first-to-fall"]
    assert "robust accuracy at linf 8/255 25 % 10 % to 40 % 64" in page.text
    assert f"not known masking {HOSTILE}" in page.text
    assert "one figure moved beyond its interval" in page.text
    assert "−20 points" in page.text
    assert "8 further classes" in page.text
    assert "1 (33%)" in page.text
    assert "1/255, pgd" in page.text


def test_several_pairs_are_tiles_that_open(folder: Path) -> None:
    complete(folder)
    page = Page(write_report(folder).read_text("utf-8"))
    tiles = [one for one in page.all("details") if one.get("class") == "tile"]
    assert len(tiles) == 3
    assert len({one["name"] for one in tiles}) == 1  # of which one at a time is open
    assert not [one for one in tiles if "open" in one]


def test_a_run_of_version_0_1_is_shown_and_compared(tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path / "old")
    page = Page(write_report(tmp_path / "old").read_text("utf-8"))
    assert "no readable answer" not in page.text
    assert "robust accuracy at linf 8/255" in page.text
    assert "holds" in page.text
    (robust,) = [one for one in compare(OLD, OLD).rows if one["figure"] == "robust accuracy at linf 8/255"]
    assert robust["beyond"] is False
    assert run(["report", str(tmp_path / "old")]) == 0


def test_many_runs_on_one_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        complete(tmp_path / name)
    shutil.copytree(OLD, tmp_path / "old")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").write_text(json.dumps({"results": {"success_rate": 1.0}}))
    folders = [tmp_path / name for name in ("old", "first", "second", "other")]
    assert run(["report", *map(str, folders)]) == 0
    out = capsys.readouterr()
    assert "other' holds no finished `ostrich check`" in out.err + out.out
    page = Page((tmp_path / "overview.html").read_text("utf-8"))
    assert {"./old/index.html", "./first/index.html", "./second/index.html"} <= {
        link["href"] for link in page.all("a")
    }
    assert len(page.all("script")) == 1
    assert "3 crash tests" in page.text
    assert "Not all runs saw the same images." in page.text
    with pytest.raises(InputError, match="None of these"):
        report([tmp_path / "other"])
    with pytest.raises(InputError, match="There is no run"):
        report([tmp_path / "first", tmp_path / "nothing"])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "100"), (0.0004, "<0.1"), (0.9996, ">99.9"), (0.922, "92.2"), (0.45, "45")],
)
def test_almost_all_never_reads_as_all(value: float, text: str) -> None:
    assert percent(value) == f"{text}\u00a0%"


def drawn(
    points: list[dict[str, Any]], style: str = "attack", width: int = 720
) -> tuple[Curve, list[float], Page]:
    """A curve of one series, the places of its rows, and its drawing."""
    block = {"x_label": "x", "y_label": "y", "series": [{"name": "a", "style": style, "points": points}]}
    curve = Curve(block)
    stops, markup = curve.drawing(width, 360)
    return curve, stops, Page(markup)


def places(page: Page) -> list[tuple[float, float]]:
    return [(float(c["cx"] or 0), float(c["cy"] or 0)) for c in page.all("circle")]


def test_curve_lies_where_it_should() -> None:
    curve, stops, page = drawn([{"x": x, "y": y} for x, y in ((0, 1.0), (10, 0.0), (5, 0.25))])
    (x0, top), (x1, middle), (x2, bottom) = places(page)
    assert stops == pytest.approx([x0, x1, x2], abs=0.1)
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.1)
    assert (bottom - middle) / (bottom - top) == pytest.approx(0.25, abs=1e-3)
    assert 0 < x0 < x2 < 720
    assert 0 < top < bottom < 360
    words = page.text.split()
    assert {"0", "2", "10", "100"} <= set(words)  # from 0 to 100 %, whatever the values
    assert curve.rows == [("0", ["100\u00a0%"]), ("5", ["25\u00a0%"]), ("10", ["0\u00a0%"])]


def test_a_drawing_is_its_own_and_takes_its_colours_from_the_page() -> None:
    points = [{"x": x, "y": 0.5, "low": 0.4, "high": 0.6, "label": f"<{x}>$"} for x in range(3)]
    _, _, page = drawn(points, "noise")
    assert {"g", "path", "circle", "text"} == {tag for tag, _ in page.tags}
    names = {name for _, attributes in page.tags for name in attributes}
    assert names == {"class", "d", "cx", "cy", "r", "x", "y", "transform", "text-anchor"}
    kinds = {g.get("class") for g in page.all("g")}
    assert {"grid", "grid base", "series noise turn-0", "series noise turn-0 band"} <= kinds
    assert "<0>$" in page.text


def test_doubling_budgets_get_even_room() -> None:
    points = [
        {"x": x / 255, "y": 0.5, "low": 0.4, "high": 0.6, "label": f"{x:g}/255"}
        for x in (0, 0.25, 0.5, 1, 2, 4, 8, 16)
    ]
    curve, stops, page = drawn(points)
    assert curve.x_label.endswith("(logarithmic spacing)")
    gaps = np.diff(stops)
    assert gaps.min() > 0.5 * gaps.max()
    assert {point["label"] for point in points} <= set(page.text.split())  # no label had to go
    _, _, narrow = drawn(points, width=340)
    left = [word for word in narrow.text.split() if "/255" in word]
    assert 3 <= len(left) < len(points)
    assert {"0/255", "16/255"} <= set(left)


def test_other_units_get_round_steps() -> None:
    curve, _, page = drawn([{"x": x, "y": y} for x, y in ((1, 3.2), (2, 17.0))], "other")
    assert {"4", "6", "8", "10", "12", "14", "16"} <= set(page.text.split())
    assert "%" not in page.text
    assert curve.rows == [("1", ["3.2"]), ("2", ["17"])]


def test_lines_of_one_style_differ_by_their_dash() -> None:
    series = [{"name": "same", "style": style, "points": []} for style in ("attack", "noise", "attack")]
    curve = Curve({"x_label": "x", "y_label": "y", "series": series})
    looks = ["series attack turn-0", "series noise turn-0", "series attack turn-1"]
    assert curve.series == [("same", look) for look in looks]
    assert not curve.drawable
