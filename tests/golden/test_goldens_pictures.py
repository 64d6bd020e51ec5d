"""Every explainer and visualisation gives what it gave. The rule: `goldens.py`."""

from __future__ import annotations

import golden_commands
import goldens
import pytest


@pytest.mark.parametrize("name", golden_commands.PICTURES)
def test_it_gives_what_it_gave(name):
    goldens.check(name)
