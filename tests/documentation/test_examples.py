"""Every example in the pages and in the docstrings runs as it stands there."""

from __future__ import annotations

import doctest
import pkgutil
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import ostrich

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md"))
    if "```python" in path.read_text(encoding="utf-8") and not {"_build", "made"} & set(path.parts)
)
LONG = {"02-objective", "05-universal", "08-three-dimensions", "09-camouflage", "13-learned-attacker"}
LONG |= {"07-physical", "23-batch-normalisation"}  # pages of more than about five seconds


def with_examples() -> list[str]:
    """The modules whose source holds an example; none is imported to find out."""
    found = []
    for name in ["ostrich", *(m.name for m in pkgutil.walk_packages(ostrich.__path__, "ostrich."))]:
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        if re.search(r"^\s*>>> ", Path(spec.origin).read_text(encoding="utf-8"), re.MULTILINE):
            found.append(name)
    return found


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if page.stem in LONG else [], id=page.name)
        for page in PAGES
    ],
)
def test_the_blocks_of_a_page_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, page.name, "exec"), names)


EXAMPLES = [
    pytest.param(name, marks=[pytest.mark.slow] if name == "ostrich.verbs.generate" else [])
    for name in with_examples()
]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_a_docstring_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS, report=True)
    assert tried
    assert not failed


def test_the_package_and_the_readme_have_examples():
    assert "ostrich" in with_examples()
    assert ROOT / "README.md" in PAGES
