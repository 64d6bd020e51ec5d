"""Models: classifiers, their architectures and weights."""

from ostrich.models.classifier import Classifier
from ostrich.models.loading import load

__all__ = ["Classifier", "load"]
