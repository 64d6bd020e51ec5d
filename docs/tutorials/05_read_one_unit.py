"""
Read one unit
=============

What does one hidden channel prefer, what in real images excites it, and is the picture that explains it
any good?
"""

# %%
# What there is to read
# ---------------------

import ostrich
from ostrich.inspection.units import layers

model = ostrich.load("zoo:toybox-resnet20")
for row in layers(model)[-6:]:
    print(row.name, row.type, row.shape)

# %%
# All about it on one page
# ------------------------
# What it prefers, the images that excite it most, and what in them does.

images, labels = ostrich.data.toybox("test", limit=64)
sheet = ostrich.explain("sheet", model, images, unit="layer2:5")
sheet

# %%
# What it wants to see
# --------------------
# Ascent from noise, by the gradient of the unit.

preferred = ostrich.visualize(model, unit="layer2:5", steps=64)
preferred

# %%
# Which pixels move it
# --------------------

guided = ostrich.explain("guided", model, images[:4], unit="layer2:5")
guided

# %%
# Does the picture read the network?
# ----------------------------------
# The layers are made random from the top down. A map that stays the same did not depend on what was
# learnt there.
# Guided backpropagation keeps more of its picture than Grad-CAM does.

for name in ("gradcam", "guided"):
    checked = ostrich.explain(name, model, images[:4], sanity=True)
    print(name)
    for sentence in checked.sentences:
        print("   ", sentence)
