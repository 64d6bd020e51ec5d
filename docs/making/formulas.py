"""Formulas as MathML, which browsers draw themselves: nothing is fetched."""

from __future__ import annotations

from typing import Any

from latex2mathml.converter import convert


def inline(writer: Any, node: Any) -> None:
    """A formula in a sentence."""
    writer.body.append(convert(node.astext(), display="inline"))
    raise _skipped()


def block(writer: Any, node: Any) -> None:
    """A formula on a line of its own, which may be wider than a phone."""
    writer.body.append(f'<div class="formula">{convert(node.astext(), display="block")}</div>')
    raise _skipped()


def _skipped() -> Exception:
    from docutils.nodes import SkipNode

    return SkipNode()


def setup(app: Any) -> dict[str, bool]:
    """The renderer by its name."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
