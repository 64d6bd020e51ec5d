"""The public names and their signatures are those written down; so are the names that the shell completes."""

from __future__ import annotations

import api
import pytest

RENEW = "If this is meant, `make api` writes it anew, and CHANGELOG says what changes for users."


def test_the_public_interface_is_the_one_written_down():
    written, found = api.API.read_text(encoding="utf-8").splitlines(), api.api().splitlines()
    gone = [f"- {line}" for line in written if line not in found]
    new = [f"+ {line}" for line in found if line not in written]
    assert not gone + new, "\n".join(["The public interface is another one.", *gone, *new, RENEW])
    assert written == found


def test_the_names_that_the_shell_completes_are_those_that_there_are():
    assert api.COMPLETED.read_text(encoding="utf-8") == api.completed_text(), RENEW


def test_a_signature_is_told_whole():
    def verb(a: int, /, b="x", *, c: float | None = None, **more: object) -> str: ...

    def many(*images, size=(1, 2)): ...

    assert api.signature(verb) == "(a: int, b = 'x', *, c: float | None = None, **more: object) -> str"
    assert api.signature(many) == "(*images, size = (1, 2))"


@pytest.mark.parametrize("name", api.MODULES)
def test_a_module_has_what_it_lists(name):
    module = pytest.importorskip(name)
    assert len(set(module.__all__)) == len(module.__all__)
    assert {public for public in module.__all__ if not hasattr(module, public)} == set()
