"""Exact evaluation over many processes: each predicts its share, rank 0 merges and counts.

The classic fault is a sampler that pads its last batch by repeating images, which then count twice. Here
rank r of w takes the images r, r + w, ...; it writes them as one file; and the accuracy is only told after
every image has been found exactly once. A process that is started again skips a share that is already there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ostrich.errors import InputError
from ostrich.runtime import distributed
from ostrich.runtime.files import whole

BATCH = 256


def sharded_predictions(
    predict: Callable[[Tensor], Tensor], count: int, folder: Path, key: str
) -> Tensor | None:
    """Predictions (count,) in the order of the images; None but on rank 0.

    `predict` answers places (n,) of images with predictions (n,) of whole numbers. `key` says what is
    evaluated (a network's digest and the data's checksum): a share of another key is not taken for this
    one's. Raises InputError for no images or answers of another number.
    """
    if count < 1:
        raise InputError("There are no images to evaluate.")
    folder.mkdir(parents=True, exist_ok=True)
    rank, world = distributed.rank(), distributed.world()
    mine = torch.tensor(distributed.share(count))
    file = _file(folder, rank, world)
    if len(mine) and _read(file, key, count) is None:
        found = [predict(rows) for rows in mine.split(BATCH)]
        answers = torch.cat(found).cpu()
        if answers.shape != mine.shape:
            raise InputError(f"{len(mine)} images were answered with predictions {tuple(answers.shape)}.")
        with whole(file) as partial, partial.open("wb") as stream:
            np.savez(stream, index=mine.numpy(), prediction=answers.numpy(), key=key, count=count)
    distributed.wait()
    return _merged(folder, world, key, count) if distributed.is_main() else None


def sharded_accuracy(
    predict: Callable[[Tensor], Tensor], labels: Tensor, folder: Path, key: str
) -> float | None:
    """The share of labels (N,) that are predicted; None but on rank 0."""
    found = sharded_predictions(predict, len(labels), folder, key)
    return None if found is None else int((found == labels.cpu()).sum()) / len(labels)


def _merged(folder: Path, world: int, key: str, count: int) -> Tensor:
    shards = [_read(_file(folder, rank, world), key, count) for rank in range(min(world, count))]
    assert all(shard is not None for shard in shards), "every rank has written its share"
    index = np.concatenate([shard[0] for shard in shards if shard is not None])
    prediction = np.concatenate([shard[1] for shard in shards if shard is not None])
    assert np.array_equal(np.sort(index), np.arange(count)), "every image stands in one share, once"
    return torch.from_numpy(prediction[np.argsort(index)])


def _file(folder: Path, rank: int, world: int) -> Path:
    return folder / f"shard-{rank}-of-{world}.npz"


def _read(file: Path, key: str, count: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Indices and predictions of a share, where it is whole and of this key."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            if str(stored["key"]) != key or int(stored["count"]) != count:
                return None
            return stored["index"], stored["prediction"]
    except (OSError, ValueError, KeyError):
        return None
