"""The README's Python runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from ostrich.attacks import ATTACKS, IMAGE_AGNOSTIC
from ostrich.attribution import EXPLAINERS

README = Path(__file__).parents[2] / "README.md"


def test_the_snippets_run(capsys):
    snippets = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert snippets
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), {})
    assert "tensor(" in capsys.readouterr().out


def test_it_names_every_attack_and_explainer():
    named = set(re.findall(r"`([a-z0-9-]+)`", README.read_text()))
    assert named >= ATTACKS.keys() | IMAGE_AGNOSTIC.keys() | EXPLAINERS.keys()


def test_the_pictures_exist():
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README.read_text()):
        assert (README.parent / path).is_file(), path
