"""Every attack gives what it gave when its golden file was made. The rule: `goldens.py`."""

from __future__ import annotations

import golden_commands
import goldens
import pytest


@pytest.mark.parametrize("name", golden_commands.ATTACKS)
def test_it_gives_what_it_gave(name):
    goldens.check(name)
