"""Every command that a page tells a reader to type is understood, down to its names and settings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import ostrich
from ostrich.attacks.engine.settings import configure_eot, read_settings
from ostrich.cli.main import app
from ostrich.runtime.settings import pairs
from ostrich.studies import find
from ostrich.verbs.attack.given import starts_from_noise
from ostrich.verbs.explain import as_explainer

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")]


def commands() -> Iterator[tuple[str, list[str]]]:
    """The page and the words of every `ostrich ...` in a block of shell."""
    for page in sorted(page for page in PAGES if not {"_build", "made"} & set(page.parts)):
        for block in re.findall(
            r"```(?:sh|bash|console)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL
        ):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                words = (
                    words[words.index("--") + 1 :] if words[:1] == ["torchrun"] and "--" in words else words
                )
                if "ostrich" in (Path(word).name for word in words[:4]):
                    at = next(i for i, word in enumerate(words) if Path(word).name == "ostrich")
                    yield page.name, words[at + 1 :]


TOLD = [pytest.param(words, id=f"{page}: {' '.join(words)}"[:90]) for page, words in commands()]


@pytest.mark.parametrize("words", TOLD)
def test_a_command_that_is_told_is_understood(words):
    command, name = typer.main.get_command(app), "ostrich"
    while hasattr(command, "commands"):
        if not words or words[0] not in command.commands:
            command.make_context(name, list(words))  # its own options: --version
            return
        name, *words = words
        command = command.commands[name]
    given = command.make_context(name, list(words)).params
    asked, chosen = given.get("name"), pairs(given.get("settings") or ())
    if asked is None or asked.isupper() or ".py:" in asked:  # what the reader is to put there
        return
    if name == "attack":
        kind = ostrich.attacks.find(asked)
        _, own = configure_eot(chosen)
        read_settings(kind, own, {"confidence": float} if starts_from_noise(kind) else None)
    if name == "explain" and asked != "sheet":
        as_explainer(asked, chosen)
    if name == "study":
        find(asked)


def test_there_are_commands():
    assert len(TOLD) > 80
