"""Data: files and folders, the toybox, CIFAR-10, and how each meets a classifier."""

from typing import TYPE_CHECKING

from ostrich._lazy import lazily

if TYPE_CHECKING:
    from ostrich.data.dataset import Dataset, Samples, load, subset
    from ostrich.data.spec import open_data
    from ostrich.data.toys import toybox

__all__ = ["Dataset", "Samples", "load", "open_data", "subset", "toybox"]

# Processes that only render scenes do not wait for torch.
__getattr__ = lazily(
    __name__,
    {
        **dict.fromkeys(("Dataset", "Samples", "load", "subset"), "ostrich.data.dataset"),
        "open_data": "ostrich.data.spec",
        "toybox": "ostrich.data.toys",
    },
)
