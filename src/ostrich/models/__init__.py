"""Models: classifiers, their architectures and weights."""

from typing import TYPE_CHECKING

from ostrich._lazy import lazily

if TYPE_CHECKING:
    from ostrich.models.classifier import Classifier
    from ostrich.models.loading import load

__all__ = ["Classifier", "load"]
__getattr__ = lazily(__name__, {"Classifier": "ostrich.models.classifier", "load": "ostrich.models.loading"})
