"""Models: classifiers, their architectures and weights."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from ostrich.models.classifier import Classifier
    from ostrich.models.loading import load

__all__ = ["Classifier", "load"]
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__, submod_attrs={"classifier": ["Classifier"], "loading": ["load"]}
)
