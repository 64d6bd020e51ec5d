"""Which commit wrote a study's rule, and which its results: asked of git, so that a page can name them.

A rule is compared as it stands in the study's file, with the numbers that the file defines put in; so a
margin that changes is a rule that changes. Results are known from the first commit whose page had a verdict
from the same settings, or whose rows a page still has: a run repeated with the same seeds is no new one.
Where git or the history is not there, nothing is known.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ostrich.studies.report import UNFINISHED

ROOT = Path(__file__).parent.parent
ANY = {"seeds", "device"}  # settings in which runs differ whose results are the same experiment's


@dataclass(frozen=True)
class Wrote:
    """A commit, short, and its day."""

    commit: str
    day: str


def source(study: str) -> Path:
    """The file of a study."""
    return ROOT / "src/ostrich/studies" / f"{study.replace('-', '_')}.py"


def rule(text: str) -> str | None:
    """The rule in a study's source, its file's constants put in; None where there is none."""
    tree = ast.parse(text)
    constants: dict[str, ast.expr] = {}
    found: ast.expr | None = None
    for line in tree.body:
        if isinstance(line, ast.Assign):
            for target in line.targets:
                constants |= _named(target, line.value)
        for node in ast.walk(line):
            if isinstance(node, ast.keyword) and node.arg == "rule":
                found = node.value
    return None if found is None else ast.unparse(_PutIn(constants).visit(found))


def _named(target: ast.expr, value: ast.expr) -> dict[str, ast.expr]:
    """Names and what they are assigned: A = 1, or A, B = 1, 2."""
    if isinstance(target, ast.Name):
        return {target.id: value}
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = zip(target.elts, value.elts, strict=True)
        return {name.id: one for name, one in pairs if isinstance(name, ast.Name)}
    return {}


class _PutIn(ast.NodeTransformer):
    def __init__(self, constants: dict[str, ast.expr]) -> None:
        self.constants = constants

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.constants.get(node.id, node)


def history(path: Path) -> list[tuple[Wrote, str | None]]:
    """The commits that touched the file and the rule after each, the latest first; empty without git."""
    found = []
    for commit, day, name in _touched(path):
        text = _git(path.parent, "show", f"{commit}:{name}")
        found.append((Wrote(commit, day), None if text is None else rule(text)))
    return found


def _touched(path: Path) -> Iterator[tuple[str, str, str]]:
    """Commit, day, and what the file was called then, from the root of the repository."""
    words = ("log", "--follow", "--format=%x00%h %as", "--name-only", "--", path.name)
    for entry in (_git(path.parent, *words) or "").split("\0")[1:]:
        head, *names = entry.split("\n")
        commit, day = head.split()
        yield commit, day, next(name for name in names if name)


def wrote(path: Path) -> Wrote | None:
    """The commit that last changed the rule as it is now; None where that is not known.

    Raises SystemExit where the rule is not committed: a rule comes before its results.
    """
    past = history(path)
    if not past:
        return None
    now, last = rule(path.read_text(encoding="utf-8")), None
    for commit, text in past:
        if text != now:
            break
        last = commit
    if last == past[-1][0] and _is_cut_off(path.parent):
        return None
    if last is None:
        raise SystemExit(f"The rule in {path.name} is not committed; it has to be before its results are.")
    return last


def before(path: Path) -> Wrote | None:
    """The commit that wrote the rule before the one that stands in the file now; None where there is none."""
    now, last = rule(path.read_text(encoding="utf-8")), None
    older: str | None = None
    for commit, text in history(path):
        if text == now and older is None:
            continue
        older = older or text
        if text != older:
            break
        last = commit
    return last


def stored(rows: Path) -> Wrote | None:
    """The first commit of the trials that a file of rows holds now; None where none is committed."""
    lines = (_git(rows.parent, "blame", "-s", "-l", "--", rows.name) or "").splitlines()
    hashes = {line.split()[0].lstrip("^") for line in lines if '"trial": ' in line}
    known = sorted(name for name in hashes if name.strip("0"))
    if not known:
        return None
    shown = _git(rows.parent, "show", "-s", "--format=%ct %h %as", *known) or ""
    _, commit, day = min(shown.splitlines(), key=lambda line: int(line.split()[0])).split()
    return Wrote(commit, day)


def shown(page: Path) -> Wrote | None:
    """The first commit in which the page had a verdict from the settings that it has now."""
    now = set_up(page.read_text(encoding="utf-8")) if page.exists() else {}
    first = None
    for commit, day, name in _touched(page):
        text = _git(page.parent, "show", f"{commit}:{name}") or ""
        then = set_up(text)
        if then and UNFINISHED not in text and all(then[key] == now[key] for key in then.keys() & now.keys()):
            first = Wrote(commit, day)
    return first


def set_up(page: str) -> dict[str, str]:
    """What a page says it was run with: its settings, and the command without its options."""
    command = re.search(r"^- command: `(.*?)(?: --.*)?`", page, re.MULTILINE)
    found = {name: value for name, value in settings(page).items() if name not in ANY}
    return found | ({"command": re.sub(r"[\w.-]+/", "", command[1])} if command else {})


def settings(page: str) -> dict[str, str]:
    """The settings that a page says it was run with, as they stand there; empty where it says none."""
    said = re.search(r"^- settings: (.*)$", page, re.MULTILINE)
    return dict(re.findall(r"(\w+)=(.*?)(?=, \w+=|$)", said[1] if said else ""))


def came_first(one: Wrote, other: Wrote) -> bool:
    """Whether a commit of this repository came before the other, or is the same."""
    return _git(ROOT, "merge-base", "--is-ancestor", one.commit, other.commit) is not None


def _is_cut_off(folder: Path) -> bool:
    """Whether the history is that of a shallow clone: its first commit wrote nothing of what it holds."""
    return (_git(folder, "rev-parse", "--is-shallow-repository") or "").strip() == "true"


def _git(folder: Path, *words: str) -> str | None:
    try:
        asked = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return asked.stdout if asked.returncode == 0 else None
