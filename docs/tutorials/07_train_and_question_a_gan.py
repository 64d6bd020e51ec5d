"""
Train and question a GAN
========================

A game of two networks on handwritten digits, short, and the questions that one should ask of what comes out.
"""

# %%
# Play
# ----
# The recipe's default is 3000 steps; here it is a tenth.

import ostrich

game = ostrich.generate.train("digits-perceptron", steps=300)
game

# %%
# Draw
# ----
# A trained run is a generator wherever one is asked for.

import tempfile

folder = game.save(f"{tempfile.mkdtemp()}/game")
samples = ostrich.generate.sample(folder, count=64)
samples

# %%
# Walk between codes
# ------------------

ostrich.generate.interpolate(folder, rows=4, steps=8)

# %%
# Has it memorised?
# -----------------
# Nearest training images to samples, by pixels. A sample that lies nearer to a training image than other real
# images do is suspect.

import torch

digits = ostrich.data.load(ostrich.data.open_data("digits:train"), size=(8, 8), channels=1)
train = digits.images()
real, kept = train[:64], train[64:]
between = torch.cdist(real.flatten(1), kept.flatten(1)).amin(1)
sampled = torch.cdist(samples.images.flatten(1), kept.flatten(1)).amin(1)
print(f"median distance to the nearest: real {between.median():.2f}, samples {sampled.median():.2f}")

# %%
# Is it varied?
# -------------

judge = ostrich.load("zoo:digits-cnn")
seen = judge.predict(samples.images).argmax(1)
print({judge.class_name(k): int((seen == k).sum()) for k in range(10)})

# %%
# A classifier answers with a digit whatever it sees. It can tell that digits are missing, not that they
# are good.
