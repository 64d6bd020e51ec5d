"""`ostrich.generate`: train a generator, and ask a trained one.

    game = ostrich.generate.train("digits-perceptron", steps=500)
    ostrich.generate.sample(game.generator, count=16).images
    ostrich.generate.interpolate("zoo:toybox-dcgan", rows=4).save("runs/ways")
    ostrich.generate.neighbours("zoo:toybox-dcgan").figures["memorised"]
    ostrich.generate.evaluate("zoo:toybox-dcgan").figures["frechet_distance"]

A generator is zoo:NAME, the folder of a training run, or a `Generator`.
"""

from ostrich.verbs.generate.measuring import evaluate, neighbours
from ostrich.verbs.generate.sampling import interpolate, sample
from ostrich.verbs.generate.training import train

__all__ = ["evaluate", "interpolate", "neighbours", "sample", "train"]
