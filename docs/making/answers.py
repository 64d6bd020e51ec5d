"""The directive `answer`: what is shown when the reader asks for it."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive


class Answer(nodes.General, nodes.Element):
    """An answer, folded away."""


class AnswerDirective(Directive):
    """`:::{answer}` around what is folded away; its argument is what stands on it."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        node = Answer(title=self.arguments[0] if self.arguments else "Answer")
        self.state.nested_parse(self.content, self.content_offset, node)
        return [node]


def opened(writer: Any, node: Answer) -> None:
    """The beginning in HTML."""
    writer.body.append(f'<details class="answer"><summary>{writer.encode(node["title"])}</summary>\n')


def closed(writer: Any, node: Answer) -> None:
    """The end in HTML."""
    writer.body.append("</details>\n")


def setup(app: Any) -> dict[str, bool]:
    """The node and the directive."""
    app.add_node(Answer, html=(opened, closed))
    app.add_directive("answer", AnswerDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
