"""
Is this robustness real?
========================

A network that no gradient attack breaks is robust, or hides its gradient. Here is one of the second kind.
"""

# %%
# A defence
# ---------
# Rounding the image to a few levels before the network sees it. The derivative of rounding is zero.

import torch

import ostrich


class Rounded(torch.nn.Module):
    """Rounds its input to eight levels a channel."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner((x * 7).round() / 7)


images, labels = ostrich.data.toybox("test", limit=32)
plain = ostrich.load("zoo:toybox-resnet20")
defended = ostrich.load(Rounded(plain), size=64, classes=plain.class_names)

# %%
# What one attack says
# --------------------

for name, model in (("plain", plain), ("defended", defended)):
    result = ostrich.attack("pgd", model, images, labels, eps=8 / 255, steps=20)
    print(
        name, result.figures["robust_accuracy"], result.figures["zero_gradient"], "images without a gradient"
    )

# %%
# Where no attack could work, the figure is not known, and is called so: the reason stands beside it.

print(result.figures["bound"], "-", result.figures["reason"])

# %%
# What the doctor says
# --------------------

found = ostrich.doctor(defended, (images, labels), minutes=0.3)
for finding in found.figures["findings"]:
    print(finding["code"], "-", finding["sentence"])

# %%
# What attacks without gradients say
# ----------------------------------
# The same budget, and the scores alone; or the gradient of the network without the rounding (a surrogate).

square = ostrich.attack("square", defended, images[:16], labels[:16], eps=8 / 255, queries=300)
surrogate = ostrich.attack("pgd", defended, images, labels, eps=8 / 255, steps=20, surrogate=plain)
print("square", square.figures["robust_accuracy"], "surrogate", surrogate.figures["robust_accuracy"])

# %%
# The robust accuracy is at most the least of these. It was never more.
