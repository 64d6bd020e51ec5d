"""`ostrich.generate`: train a generator, and ask a trained one.

>>> import ostrich
>>> game = ostrich.generate.train("digits-perceptron", steps=20)
>>> ostrich.generate.sample(game.generator, count=16).images.shape
torch.Size([16, 1, 8, 8])
>>> ostrich.generate.interpolate("zoo:toybox-dcgan", rows=2).save("runs/ways")
PosixPath('runs/ways')
>>> ostrich.generate.neighbours(game.generator, count=16)
<generate-neighbours: n=16, training=..., held_out=..., memorised=...>
>>> ostrich.generate.evaluate(game.generator, count=64)
<generate-evaluate: samples=64, features=..., frechet_distance=...>

A generator is zoo:NAME, the folder of a training run, or a `Generator`.
"""

from ostrich.verbs.generate.measuring import evaluate, neighbours
from ostrich.verbs.generate.sampling import interpolate, sample
from ostrich.verbs.generate.training import train

__all__ = ["evaluate", "interpolate", "neighbours", "sample", "train"]
