"""Data: files and folders, the toybox, CIFAR-10, and how each meets a classifier."""

from ostrich.data.dataset import Dataset, Samples, load, subset
from ostrich.data.spec import open_data
from ostrich.data.toys import toybox

__all__ = ["Dataset", "Samples", "load", "open_data", "subset", "toybox"]
