"""The folders, tables and checkpoints of the shared kit, written once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def written(shared, tmp_path_factory) -> Path:
    """Where they lie."""
    out = tmp_path_factory.mktemp("strangers")
    script = str(shared / "strangers/folders.py")
    subprocess.run([sys.executable, "-W", "ignore", script, str(out)], check=True, capture_output=True)
    return out
