"""
Crash-test my fine-tuned network
================================

A network that somebody fine-tuned, a few of their images, one call: how does it fail, how badly, and show me.
"""

# %%
# A network of yours
# ------------------
# Here it is one of ours, with its head trained on for twenty steps, as a fine-tuned network comes.
# Yours is a module, or a word such as ``torchvision:resnet18`` with ``weights="finetuned.pth"``.

import torch

import ostrich

torch.manual_seed(0)
images, labels = ostrich.data.toybox("test", limit=160)
train, test = (images[:96], labels[:96]), (images[96:], labels[96:])

network = ostrich.load("zoo:toybox-plain14").network
head = [part for part in network.modules() if isinstance(part, torch.nn.Linear)][-1]
for parameter in network.parameters():
    parameter.requires_grad_(parameter is head.weight or parameter is head.bias)
kept = ostrich.load("zoo:toybox-plain14")
model = ostrich.load(network, size=64, mean=kept.mean, std=kept.std, classes=kept.class_names)
optimiser = torch.optim.Adam(head.parameters(), lr=1e-3)
for _ in range(20):
    loss = torch.nn.functional.cross_entropy(model(train[0]), train[1])
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
print(f"training loss {loss.item():.3f}")

# %%
# The crash test
# --------------
# ``images=6`` gives the same answer on every machine; ``minutes=3`` would take as much as the time allows.
# ``only`` chooses a few of its questions, to be quick here.

result = ostrich.check(model, test, images=6, only=["clean", "robustness"])
result

# %%
# What it found
# -------------
# Robust accuracy by budget: the least that any attack left, with its 95 % interval. Six images make it a
# wide one.

for point in result.figures["probes"]["robustness"]["linf"]:
    print(f"linf {point['label']:>6}: {point['y']:.2f} ({point['low']:.2f} to {point['high']:.2f})")

# %%
# The report
# ----------
# ``save`` writes the run directory: ``index.html``, one file to send on, and every image that fooled the
# network.

import tempfile

folder = result.save(f"{tempfile.mkdtemp()}/check")
print(sorted(path.name for path in folder.iterdir()))
