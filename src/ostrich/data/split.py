"""Which images go where: one order of all images, from which every part is built.

Classes take turns, so that every beginning of the order is class-balanced while the classes last, and a
smaller part lies inside a larger one. Within a class images stand

* by a hash of the seed and of the image's own key, wherever some images are held out (`hold_out`,
  `hold_out_share`). The key is of the image's content (`Samples.keys`): how its file is named and where it
  stands do not matter, and images that are the same are on the same side;
* by their position, shuffled by the seed, where files are chosen before any is read (`subset`: `--limit`,
  the fixed splits of the digits and the faces, what studies draw).
"""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Sequence

from ostrich.errors import InputError

LARGEST = 2**64  # what ranks lie below


def subset(labels: Sequence[int] | None, count: int, limit: int | None, seed: int) -> list[int]:
    """A seeded choice of `limit` of `count` indices, in increasing order; with labels it is class-balanced.

    By position, since no file has been read: of a folder with one more file it is another choice. A smaller
    limit's choice lies inside a larger one's. Raises InputError for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise InputError(f"--limit is at least 1; got {limit}.")
    if limit is None or limit >= count:
        return list(range(count))
    draw = random.Random(seed)
    groups = _groups(labels, count)
    queues = [groups[label] for label in sorted(groups)]
    for queue in queues:
        draw.shuffle(queue)
    draw.shuffle(queues)  # else a limit below the number of classes would be the first classes
    return sorted(_take_turns(queues)[:limit])


def by_content(keys: Sequence[int], labels: Sequence[int] | None, seed: int) -> list[int]:
    """All rows in the order of the seed and of their keys; classes take turns in a seeded order too."""
    groups = _groups(labels, len(keys))
    queues = [groups[label] for label in sorted(groups, key=lambda label: _rank("class", seed, label))]
    return _take_turns([sorted(queue, key=lambda row: _rank("image", seed, keys[row])) for queue in queues])


def hold_out(
    keys: Sequence[int], count: int, labels: Sequence[int] | None = None, *, seed: int
) -> tuple[list[int], list[int]]:
    """The rows that stay and those held out, both in increasing order.

    Held out are the first `count` of the order, and whatever has the key of one of them. While as many are
    held out, an image that is added or removed moves one other across the border at most.
    """
    held = {keys[row] for row in by_content(keys, labels, seed)[:count]}
    return _sides(keys, held)


def hold_out_share(keys: Sequence[int], share: float, *, seed: int) -> tuple[list[int], list[int]]:
    """The rows that stay and those held out, in increasing order; each with a probability of `share`.

    An image's side depends on no other image; so the share, of all and of each class, is kept in the mean.
    Only where a side would be empty, the first or the last image of the order goes there.
    """
    order = [keys[row] for row in by_content(keys, None, seed)]
    held = {key for key in order if _rank("image", seed, key) < share * LARGEST}
    if order:  # an only image stays
        held = (held | {order[0]}) - {order[-1]}
    return _sides(keys, held)


def _sides(keys: Sequence[int], held: set[int]) -> tuple[list[int], list[int]]:
    rows = range(len(keys))
    return [row for row in rows if keys[row] not in held], [row for row in rows if keys[row] in held]


def _groups(labels: Sequence[int] | None, count: int) -> dict[int, list[int]]:
    """The rows of each class; of one where there are no labels."""
    groups: dict[int, list[int]] = defaultdict(list)
    for row in range(count):
        groups[0 if labels is None else labels[row]].append(row)
    return groups


def _take_turns(queues: Sequence[Sequence[int]]) -> list[int]:
    """The first of each, then the second of each, and so on."""
    turns = range(max(map(len, queues), default=0))
    return [queue[turn] for turn in turns for queue in queues if turn < len(queue)]


def _rank(what: str, seed: int, key: int) -> int:
    """A number below LARGEST that depends on nothing else."""
    return int.from_bytes(hashlib.blake2b(f"{what} {seed} {key}".encode(), digest_size=8).digest(), "big")
