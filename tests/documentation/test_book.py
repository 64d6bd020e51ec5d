"""The site: what every page has to have, asked of the files that it is made from. `make docs` builds it."""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from ostrich.attacks import ATTACKS
from ostrich.attribution import EXPLAINERS
from ostrich.published import all_published
from ostrich.studies import VERDICTS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))  # `making`: what Sphinx is given
LECTURE = sorted(path for path in (DOCS / "lecture").glob("*.md") if path.name != "index.md")
TUTORIALS = sorted((DOCS / "tutorials").glob("*.py"))
PARTS = 26  # of the lecture
SECTIONS = ("## The figure", "## Published, and here", "## The file to read", "## Exercises")


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_every_part_of_the_lecture_has_its_page_in_the_order_of_the_course():
    assert [int(path.name[:2]) for path in LECTURE] == list(range(1, PARTS + 1))
    tree = re.findall(r"^\d\d-[a-z0-9-]+$", text(DOCS / "lecture/index.md"), re.MULTILINE)
    assert tree == [path.stem for path in LECTURE]


@pytest.mark.parametrize("page", LECTURE, ids=lambda page: page.stem)
def test_a_part_has_formula_figure_command_numbers_file_and_three_exercises(page):
    words = text(page)
    assert words.count("\n$$") == 2
    assert all(section in words for section in SECTIONS)
    _, figure, numbers, file, exercises = (words.split(f"{head}\n")[-1] for head in ("", *SECTIONS))
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", figure.split("##")[0])
    assert pictures
    assert all((page.parent / picture).is_file() for picture in pictures)
    assert len(re.findall(r"```sh\nostrich \w+", figure.split("##")[0])) >= len(pictures)
    assert re.search(r"```\{(published|verdicts)\} \w", numbers.split("##")[0])
    assert re.search(r"```\{published\} \w|[Nn]one published|[Nn]o published", numbers.split("##")[0])
    assert re.search(r"\{source\}`src/ostrich/[\w/]+\.py`", file.split("##")[0])
    assert re.findall(r"^\*\*(\d)\.\*\* ", exercises, re.MULTILINE) == ["1", "2", "3"]
    answers = [answer.partition("\n:::")[0] for answer in exercises.split(":::{answer}")[1:]]
    assert len(answers) == 3
    assert all("```python\n" in answer for answer in answers)  # test_examples.py runs them


@pytest.mark.parametrize("page", LECTURE, ids=lambda page: page.stem)
def test_the_numbers_of_a_part_are_those_of_the_tables(page):
    told = json.loads(text(VERDICTS))
    studies = {word for one in told for word in (one["study"], one["page"])}
    studies |= {f"{one['study']}:{row[0].partition(':')[0]}" for one in told for row in one["compared"]}
    measured = json.loads(text(DOCS / "lecture/measured.json"))
    for kind, names in re.findall(r"```\{(published|verdicts|measured)\} (.*)\n", text(page)):
        for name in names.split():
            known = {"published": all_published(), "verdicts": studies, "measured": measured}[kind]
            pattern = re.compile(re.escape(name).replace(r"\*", ".*"))
            assert name == "none" or any(pattern.fullmatch(one) for one in known), (kind, name)


def test_the_rows_of_a_study_stand_in_one_table_with_their_pages():
    from making.numbers import rows_of

    pages = [
        {"study": "some", "page": page, "compared": [["a: broken, %", "3|4", here], ["ab: x", "-", "9"]]}
        for page, here in (("some-one", "1"), ("some-two", "2"))
    ]
    lines = rows_of([*pages, {"study": "other", "page": "o", "compared": [["a: y", "", ""]]}], "some", ["a"])
    assert lines[2:] == [
        "| [some-one](/studies/some-one.md) | a: broken, % | 3\\|4 | 1 |",
        "| [some-two](/studies/some-two.md) | a: broken, % | 3\\|4 | 2 |",
        "",
    ]


def test_our_figures_are_those_of_their_commands():
    from measured import COMMANDS

    kept = json.loads(text(DOCS / "lecture/measured.json"))
    assert {name: f"ostrich {command}" for name, (command, _) in COMMANDS.items()} == {
        name: one["command"] for name, one in kept.items()
    }


def test_every_file_that_a_page_refers_to_is_there():
    for page in (*DOCS.glob("*/*.md"), *DOCS.glob("*.md")):
        for name in re.findall(r"\{source\}`([^`]+)`", text(page)):
            assert (ROOT / name).is_file(), (page.name, name)


@pytest.mark.parametrize("name", [*ATTACKS, *EXPLAINERS])
def test_a_technique_says_when_to_use_it_and_what_it_is_verified_against(name):
    about = tomllib.loads(text(DOCS / "techniques.toml"))
    assert name in about, f"{name} needs its entry in docs/techniques.toml."
    one = about[name]
    assert one["title"]
    assert one["use"].endswith(".")
    assert one["avoid"].endswith(".")
    keys = set(re.findall(r"^@\w+\{([^,]+),", text(DOCS / "references.bib"), re.MULTILINE))
    assert set(one["cite"]) <= keys
    for said in one["verified"]:
        for test in re.findall(r"tests/[\w/]+\.py", said) or [None]:
            assert test is not None, said
            assert (ROOT / test).is_file(), test


def test_no_technique_is_told_of_that_there_is_not():
    assert set(tomllib.loads(text(DOCS / "techniques.toml"))) == {*ATTACKS, *EXPLAINERS}


def test_the_pages_from_the_registries_say_what_the_registries_say(tmp_path, monkeypatch):
    from making import command_line, doctor, techniques

    monkeypatch.chdir(tmp_path)
    made = dict(techniques.pages(DOCS))
    assert {f"attacks/{name}.md" for name in ATTACKS} <= made.keys()
    pgd = made["attacks/pgd.md"]
    assert "| `steps` | `40` | at least 1 | steps of gradient descent |" in pgd
    assert "| `threat` | `Linf(eps=8 / 255)` |" in pgd
    for name, page in made.items():  # every setting has a meaning
        for row in re.findall(r"^\| `\w+` \| .*\|$", page, re.MULTILINE):
            assert not row.endswith("|  |"), (name, row)
        for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL)[:1]:
            ast.parse(block)
    (commands,) = dict(command_line.pages(DOCS)).values()
    for command in ("attack", "check", "generate sample", "list attacks", "study"):
        assert f"## ostrich {command}\n" in commands
    codes = dict(doctor.pages(DOCS))["doctor-codes.md"]
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.*) \| (.*) \|$", codes, re.MULTILINE)
    assert len(rows) >= 28
    assert [code for code, meaning, fix in rows if not meaning or not fix or "(...)" in fix] == []


@pytest.mark.parametrize("name", [*ATTACKS, *EXPLAINERS])
def test_the_python_of_a_technique_s_page_runs(name):
    from making import techniques

    page = next(page for path, page in techniques.pages(DOCS) if Path(path).stem == name)
    block = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert block is not None
    exec(compile(block[1], name, "exec"), {})


def test_every_error_is_told_with_what_to_do():
    from making import doctor

    import ostrich.errors

    kinds = [k for k in vars(ostrich.errors).values() if inspect.isclass(k) and issubclass(k, Exception)]
    assert {kind.__name__ for kind in kinds} == set(doctor.TODO)


@pytest.mark.parametrize(
    "name", ["attack", "certify", "check", "doctor", "explain", "study", "train", "visualize"]
)
def test_a_verb_tells_each_of_its_parameters(name):
    verb = getattr(import_module("ostrich"), name)
    told = inspect.getdoc(verb)
    lacking = [one for one in inspect.signature(verb).parameters if not re.search(rf"\b{one}\b", told)]
    assert lacking == []


def test_there_are_eight_tutorials_and_each_compiles():
    assert [path.name[:3] for path in TUTORIALS] == [f"{k:02d}_" for k in range(1, 9)]
    for path in TUTORIALS:
        compile(text(path), path.name, "exec")
        assert re.match(r'"""\n(.+)\n=+\n', text(path)), path.name


def test_no_page_shows_a_photograph_of_imagenet():
    """Pictures come from the gallery, the studies and the lecture's own folder, which hold none."""
    for page in DOCS.glob("*/*.md"):
        for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text(page)):
            place = (page.parent / picture).resolve() if not picture.startswith("/") else DOCS / picture[1:]
            assert place.is_relative_to(DOCS), picture


def test_who_cites_cites_this_version():
    import ostrich

    assert f"version: {ostrich.__version__}\n" in text(ROOT / "CITATION.cff")
