"""
My accuracy is wrong
====================

A network that was right on 98 % of its test images at home is right on far fewer here. Before anything
else is asked of it, the doctor looks whether it is fed, normalised and evaluated as it was trained.
"""

# %%
# A network with a fault
# ----------------------
# This one was trained on images in [0, 1], normalised by its own mean and spread. Somebody loads it
# with another normalisation and forgets theirs.

import ostrich

images, labels = ostrich.data.toybox("test", limit=64)
right = ostrich.load("zoo:toybox-resnet20")
wrong = ostrich.load(
    right.network, size=64, mean=[0.9, 0.9, 0.9], std=[0.1, 0.1, 0.1], classes=right.class_names
)

for name, model in (("as trained", right), ("as loaded", wrong)):
    accuracy = (model.predict(images).argmax(1) == labels).float().mean()
    print(f"{name}: right on {accuracy:.0%} of {len(images)} images")

# %%
# Ask the doctor
# --------------
# It tries other normalisations, channel orders, ranges and class orders on the same images, and reports
# only what is better by more than chance.

found = ostrich.doctor(wrong, (images, labels), minutes=0.3)
found

# %%
# Each finding has a code that stays the same, a sentence, its evidence, and what to do.

for finding in found.figures["findings"]:
    print(finding["code"], "-", finding["sentence"])
    print("   ", finding["evidence"])
    print("   ", finding["fix"])

# %%
# Mend it and ask again
# ---------------------

healthy = ostrich.doctor(right, (images, labels), minutes=0.3)
assert "wrong-normalization" not in [finding["code"] for finding in healthy.figures["findings"]]
healthy

# %%
# What was not asked
# ------------------
# The doctor sees images, answers and gradients. It does not know whether the labels are true, nor
# whether the test
# images are like those that the network will meet. All its codes: see the reference, "Codes of the doctor".
