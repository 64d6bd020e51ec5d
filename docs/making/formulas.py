"""Formulas as MathML, which browsers draw themselves: nothing is fetched."""

from __future__ import annotations

from typing import Any

from latex2mathml.converter import convert


def inline(writer: Any, node: Any) -> None:
    """A formula in a sentence."""
    writer.body.append(drawn(node.astext(), "inline"))
    raise _skipped()


def block(writer: Any, node: Any) -> None:
    """A formula on a line of its own, which may be wider than a phone."""
    writer.body.append(f'<div class="formula">{drawn(node.astext(), "block")}</div>')
    raise _skipped()


def drawn(formula: str, display: str) -> str:
    """As MathML. Raises ValueError for a command that is not known, which would stand there as it is."""
    found: str = convert(formula, display=display)
    if "\\" in found:
        raise ValueError(f"A command of this formula is not known: {formula}")
    return found


def _skipped() -> Exception:
    from docutils.nodes import SkipNode

    return SkipNode()


def setup(app: Any) -> dict[str, bool]:
    """The renderer by its name."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
