"""
Gate my CI
==========

A check that fails when the network is too weak, or weaker than it was. The command line does the same with
``--fail-under`` and ``--baseline``, and its exit code is what a CI system reads.
"""

# %%
# A gate by a number
# ------------------

import tempfile

import ostrich

images, labels = ostrich.data.toybox("test", limit=32)
folder = tempfile.mkdtemp()

first = ostrich.check(
    "zoo:toybox-robust",
    (images, labels),
    images=6,
    only=["clean", "robustness"],
    fail_under=["linf:1/255=0.2"],
    junit=f"{folder}/gates.xml",
)
first.save(f"{folder}/first")
first

# %%
# Which gates were judged, and how:

for gate in first.figures["gates"]:
    print(gate)

# %%
# A gate by an earlier run
# ------------------------
# A baseline fails only what is below the 95 % interval that the figure had: noise is no alarm. Here a weaker
# network takes the place of the robust one.

second = ostrich.check(
    "zoo:toybox-plain14",
    (images, labels),
    images=6,
    only=["clean", "robustness"],
    baseline=first,
)
for gate in second.figures["gates"]:
    print(gate)

# %%
# The file for the CI's own pages
# -------------------------------

from pathlib import Path

print(Path(f"{folder}/gates.xml").read_text()[:400])

# %%
# What is not known does not pass: where no attack could work on a network, the gate says so and fails.
