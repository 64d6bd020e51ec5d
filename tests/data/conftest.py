"""The folders and tables of the shared kit, written once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PART = "import runpy, sys, pathlib; kit = runpy.run_path(sys.argv[1]); out = pathlib.Path(sys.argv[2]); \
[kit[name](out) for name in ('folders', 'names', 'tables')]"


@pytest.fixture(scope="session")
def kit(shared, tmp_path_factory) -> Path:
    """Where they lie; the checkpoints are left out."""
    out = tmp_path_factory.mktemp("kit")
    script = str(shared / "strangers/folders.py")
    subprocess.run([sys.executable, "-W", "ignore", "-c", PART, script, str(out)], check=True, cwd=out)
    return out
