"""The folders and tables of the shared kit, written once, and twelve pictures of our own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from twelve import PIXELS, png

PART = "import runpy, sys, pathlib; kit = runpy.run_path(sys.argv[1]); out = pathlib.Path(sys.argv[2]); \
[kit[name](out) for name in ('folders', 'names', 'tables')]"


@pytest.fixture(scope="session")
def kit(shared, tmp_path_factory) -> Path:
    """Where they lie; the checkpoints are left out."""
    out = tmp_path_factory.mktemp("kit")
    script = str(shared / "strangers/folders.py")
    subprocess.run([sys.executable, "-W", "ignore", "-c", PART, script, str(out)], check=True, cwd=out)
    return out


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files").mkdir()
    for i, one in enumerate(PIXELS):
        (tmp_path / f"files/{i:02d}.png").write_bytes(png(one))
    return tmp_path
