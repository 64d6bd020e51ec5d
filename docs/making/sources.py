"""Pages that show a file of the source, for every file that a page refers to: {source}`src/...`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REFERENCE = re.compile(r"\{source\}`([^`]+)`")


def pages(docs: Path) -> Iterator[tuple[str, str]]:
    """One for each file that is referred to, and their list."""
    texts = [path.read_text(encoding="utf-8") for path in docs.rglob("*.md") if "_build" not in path.parts]
    texts += [path.read_text(encoding="utf-8") for path in docs.glob("tutorials/*.py")]
    files = sorted({name for text in texts for name in REFERENCE.findall(text)})
    for name in files:
        if not (docs.parent / name).is_file():
            raise SystemExit(f"A page refers to {name}, which is not there.")
        lines = ["---", "orphan: true", "---", "", f"# {name}", ""]
        lines += [f"```{{literalinclude}} /../{name}", ":language: python", ":linenos:", "```", ""]
        yield f"sources/{slug(name)}.md", "\n".join(lines)


def slug(name: str) -> str:
    """The page's name."""
    return name.removeprefix("src/").removesuffix(".py").replace("/", "-")


def role(
    name: str, raw: str, text: str, line: int, inliner: Any, options: Any = None, content: Any = ()
) -> Any:
    """{source}`FILE`: a link to its page."""
    from docutils import nodes
    from sphinx.addnodes import pending_xref

    target = pending_xref(
        "",
        refdomain="std",
        reftype="doc",
        reftarget=f"/made/sources/{slug(text)}",
        refexplicit=True,
        refwarn=True,
        refdoc=inliner.document.settings.env.docname,
    )
    target += nodes.literal("", text)
    return [target], []


def setup(app: Any) -> dict[str, bool]:
    """The role."""
    app.add_role("source", role)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
