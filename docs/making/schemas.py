"""The contract of files: what run.json and its neighbours hold, with their JSON schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

FILES = {
    "run": "run.json, of every command that computes",
    "check-results": "results of a check, inside run.json",
    "probe": "probes/NAME.json, one question of a check",
}


def pages(docs: Path) -> Iterator[tuple[str, str]]:
    """One page, a section a file."""
    lines = [
        "# Files: the JSON schemas",
        "",
        "What a run directory holds is told in [the contract](/reference/files.md).",
        "",
    ]
    for name, title in FILES.items():
        schema = json.loads((docs / "schemas" / f"{name}.json").read_text(encoding="utf-8"))
        lines += [
            f"## {title}",
            "",
            schema.get("$comment", ""),
            "",
            "| field | type | required |",
            "| --- | --- | --- |",
        ]
        required = schema.get("required", [])
        for field, form in schema.get("properties", {}).items():
            lines.append(f"| `{field}` | {kind(form)} | {'yes' if field in required else 'no'} |")
        lines += [
            "",
            f":::{{answer}} docs/schemas/{name}.json, whole",
            "",
            f"```{{literalinclude}} /schemas/{name}.json",
            ":language: json",
            "```",
            "",
            ":::",
            "",
        ]
    yield "schemas.md", "\n".join(lines)


def kind(form: dict[str, object]) -> str:
    """A type in words."""
    if "anyOf" in form:
        return " or ".join(kind(one) for one in form["anyOf"])  # type: ignore[attr-defined]
    if "$ref" in form:
        return f"`{str(form['$ref']).rpartition('/')[2]}`"
    return str(form.get("type", "anything"))
