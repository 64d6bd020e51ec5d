"""Data: files and folders, the toybox, CIFAR-10, and how each meets a classifier."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from ostrich.data.dataset import Dataset, Samples
    from ostrich.data.loading import load
    from ostrich.data.spec import open_data
    from ostrich.data.split import subset
    from ostrich.data.toys import toybox

__all__ = ["Dataset", "Samples", "load", "open_data", "subset", "toybox"]

# Processes that only render scenes do not wait for torch.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "dataset": ["Dataset", "Samples"],
        "loading": ["load"],
        "spec": ["open_data"],
        "split": ["subset"],
        "toys": ["toybox"],
    },
)
