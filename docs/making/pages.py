"""Pages written from the registries into `docs/made`, which is not committed: nothing in them is by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from making import command_line, doctor, public_names, schemas, sources, techniques

WRITERS: tuple[Callable[[Path], Iterator[tuple[str, str]]], ...] = (
    techniques.pages,
    command_line.pages,
    doctor.pages,
    public_names.pages,
    schemas.pages,
    sources.pages,  # last: it looks through what the others refer to
)


def write(docs: Path) -> None:
    """Every page that is not as it should be, and none that is: what is unchanged is not built again."""
    made = docs / "made"
    wanted = set()
    for writer in WRITERS:
        for name, text in writer(docs):
            path = made / name
            wanted.add(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
    for path in made.rglob("*.md"):
        if path not in wanted:
            path.unlink()
