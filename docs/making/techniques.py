"""A page for each attack and explainer: from its docstring, its registry, and `techniques.toml`."""

from __future__ import annotations

import dataclasses
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import ostrich
from making.docstrings import SETTING
from ostrich.attacks import ATTACKS, known_attacks
from ostrich.attribution import EXPLAINERS
from ostrich.attribution.question import known_explainers

ROOT = Path(ostrich.__file__).parents[2]  # the pages may be built elsewhere, from a copy
NETWORK = "zoo:toybox-resnet20"
NEEDS = {
    "gradient": "gradients of the network",
    "scores": "the scores; no gradient",
    "labels": "the predicted label alone",
}
KINDS = {
    "input-specific": "input-specific: each image gets its own change",
    "image-agnostic": "image-agnostic: fitted on some images, judged on the others",
}


def told(docs: Path) -> dict[str, dict[str, Any]]:
    """`techniques.toml`, by the names of attacks and explainers."""
    return tomllib.loads((docs / "techniques.toml").read_text(encoding="utf-8"))


def pages(docs: Path) -> Iterator[tuple[str, str]]:
    """Of every attack and explainer, and an overview of either."""
    about = told(docs)
    for name, method in ATTACKS.items():
        yield f"attacks/{name}.md", page(name, method, "attack", about[name], docs)
    for name, method in EXPLAINERS.items():
        yield f"explainers/{name}.md", page(name, method, "explain", about[name], docs)
    yield "attacks/index.md", overview("Attacks", "attack", ATTACKS, about)
    yield "explainers/index.md", overview("Explainers", "explain", EXPLAINERS, about)


def page(name: str, method: type, verb: str, about: dict[str, Any], docs: Path) -> str:
    """One technique."""
    head, *rest = (inspect.getdoc(method) or "").split("\n\n")
    prose = [text for text in rest if not SETTING.match(text)]
    source = str(Path(inspect.getfile(method)).relative_to(ROOT))
    first = (inspect.getdoc(inspect.getmodule(method)) or "").split("\n")[0].partition(": ")[2]
    parts = [f"# {about['title']}", first[:1].upper() + first[1:], "```sh", command(name, verb, about), "```"]
    parts += ["", picture(name, about["title"], docs), ""]
    parts += [
        "| | |",
        "| --- | --- |",
        *(f"| {what} | {how} |" for what, how in facts(name, method, head, about)),
    ]
    parts += ["", f"**Use it when** {about['use']}", "", f"**Do not when** {about['avoid']}", ""]
    parts += [*(text + "\n" for text in map(plain, prose))]
    parts += ["## Settings", "", *settings(method), ""]
    parts += ["## From Python", "", "```python", python(name, verb, about), "```", ""]
    parts += ["## The source", "", f"{{source}}`{source}`, whole:", ""]
    parts += [f"```{{literalinclude}} /../{source}", ":language: python", "```", ""]
    return "\n".join(parts)


def command(name: str, verb: str, about: dict[str, Any]) -> str:
    """The words to type."""
    words = [
        "ostrich",
        verb,
        name,
        about.get("model", NETWORK),
        about.get("data", "toybox"),
        about.get("try", ""),
    ]
    return " ".join(filter(None, words))


def python(name: str, verb: str, about: dict[str, Any]) -> str:
    """The same from Python: how the verb is called."""
    if about.get("model", NETWORK) != NETWORK or about.get("data", "toybox") != "toybox":
        words = [repr(name), repr(about.get("model", NETWORK))]
        words += [repr(about["data"].strip("'"))] if about.get("data", "toybox") else []
        return f"import ostrich\n\nhelp(ostrich.{verb})  # ostrich.{verb}({', '.join(words)}, ...)"
    lines = ["import ostrich", "", 'images, labels = ostrich.data.toybox("test", limit=8)']
    if verb == "explain":
        lines += [f'ostrich.explain("{name}", "{NETWORK}", images[:2]).maps.shape  # (N, U, C, H, W)']
    else:
        lines += [f"ostrich.attacks.ATTACKS[{name!r}]  # its class; the settings below are its arguments"]
    return "\n".join(lines)


def picture(name: str, title: str, docs: Path) -> str:
    """The gallery's picture of it; where there is one on photographs too, that one and its command."""
    found = sorted((docs / "gallery").glob(f"{name}.*"))
    if not found:
        return "There is no picture of it in the gallery."
    shown = f"![{title}](/gallery/{found[0].name})"
    entry = re.compile(rf"```sh\n(ostrich .*)\n```\n\n!\[[^]]*\]\((gallery/photo-{name}\.\w+)\)")
    real = entry.search((docs / "gallery.md").read_text(encoding="utf-8"))
    if real:
        shown += (
            f"\n\nOn photographs, with a network that was trained on ImageNet:\n\n```sh\n{real[1]}\n```\n\n"
        )
        shown += f"![{title}, on photographs](/{real[2]})"
    return shown


def facts(name: str, method: Any, head: str, about: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Rows: what it is asked for, what it needs, what it costs, from where it is."""
    yield "name", f"`{name}`"
    if name in ATTACKS:
        yield "kind", KINDS.get(method.kind, method.kind)
        yield "needs", NEEDS[method.needs]
        norms = [norm for norm in method.norms if norm != "none"]
        yield "threat models", ", ".join(f"`{norm}`" for norm in norms) or "none: nothing bounds the image"
        yield "cost", plain(head)
    else:
        row = next(row for row in known_explainers() if row["name"] == name)
        yield "needs", NEEDS[row["needs"]]
        yield "shows", plain(head)
    yield "paper", " ".join(f"{{cite}}`{key}`" for key in about["cite"])
    yield "verified against", "; ".join(plain(text) for text in about["verified"])


def settings(method: Any) -> list[str]:
    """A table: name, default, what is allowed, what it means with its unit."""
    fields = [f for f in dataclasses.fields(method) if f.repr]
    if not fields:
        return ["It has none."]
    means, hints = meanings(method), get_type_hints(method, include_extras=True)
    lines = ["| setting | default | allowed | meaning |", "| --- | --- | --- | --- |"]
    for field in fields:
        if field.name == "threat":
            meaning = "the budget; `eps` and `norm` are short for it"
        else:
            meaning = plain(means.get(field.name, ""))
        lines.append(
            f"| `{field.name}` | `{default(field.default)}` | {allowed(hints[field.name])} | {meaning} |"
        )
    return lines


def default(value: Any) -> str:
    """As one would write it."""
    text = repr(value)
    if value is dataclasses.MISSING:
        return "-"
    for levels in (8, 10, 16, 1):
        text = text.replace(repr(levels / 255), f"{levels} / 255")
    return text


def allowed(hint: Any) -> str:
    """The range, or the words, that its annotation allows."""
    words: list[str] = []
    for part in (hint, *get_args(hint)):
        if type(part).__name__ == "Range":
            words.append(str(part))
        elif "Literal" in str(getattr(part, "__origin__", "")):
            words.append(", ".join(f"`{word}`" for word in get_args(part)))
    return "; ".join(dict.fromkeys(words)) or "-"


def meanings(method: type) -> dict[str, str]:
    """What the docstrings of a class and its bases say of settings: name, meaning."""
    found: dict[str, str] = {}
    for kind in reversed(method.__mro__):
        name = ""
        for line in (inspect.getdoc(kind) or "").splitlines() if kind is not object else ():
            setting = SETTING.match(line)
            if setting:
                name, found[setting[1]] = setting[1], setting[2]
            elif name and line.startswith(" "):
                found[name] += " " + line.strip()
            else:
                name = ""
    return found


def overview(title: str, verb: str, registry: dict[str, Any], about: dict[str, Any]) -> str:
    """All of them: which when."""
    lines = [
        f"# {title}",
        "",
        f"`ostrich {verb} NAME MODEL DATA`, or `ostrich.{verb}(NAME, model, images)`.",
        "",
    ]
    lines += ["| name | needs | use it when |", "| --- | --- | --- |"]
    rows = {row["name"]: row["needs"] for row in (*known_attacks(), *known_explainers())}
    lines += [f"| [{name}]({name}.md) | {rows[name]} | {about[name]['use']} |" for name in registry]
    tree = ["```{toctree}", ":hidden:", "", *registry, "```"]
    return "\n".join([*lines, "", *tree, ""])


def plain(text: str) -> str:
    """A docstring's sentence as Markdown, in one line."""
    text = re.sub(r"\s+", " ", text).strip()
    return text.replace("|", r"\|").replace("*", r"\*").replace("<", r"\<")
