"""An attack on many large images takes no more memory than one on few: they come and go batch by batch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

SIDE = 1024  # pixels: a batch is one image
FEW, MANY = 4, 12  # images; none stays in memory
NETWORK = """
from torch import nn

def tiny():
    return nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 5))
"""
COMMAND = """
import resource, sys
import ostrich.data.loading
from ostrich.cli.main import run
ostrich.data.loading.MOST_KEPT = 0
for names in (sys.argv[1:5], sys.argv[1:]):
    code = run(["attack", "fgsm", "net.py:tiny", *names, "--size", "1024", "--out", f"out{len(names)}"])
    print("PEAK", code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kilobytes, and glibc")
def test_three_times_as_many_large_images_take_as_much_memory(tmp_path):
    (tmp_path / "net.py").write_text(NETWORK)
    names = [f"{i:02d}.png" for i in range(MANY)]
    for i, name in enumerate(names):
        coarse = np.random.default_rng(i).integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(tmp_path / name)

    words = [sys.executable, "-c", COMMAND, *names]  # one process: its peak after the few, and after the many
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    told = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("PEAK")]
    assert [code for code, _ in told] == ["0", "0"], done.stderr
    few, many = (float(megabytes) for _, megabytes in told)
    # The peak of a batch varies by some 8 %. What grew with each image was 36 MB.
    assert many - few < 18 * (MANY - FEW)
