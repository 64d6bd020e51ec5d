"""Data by address: object stores, web servers and what else fsspec opens, `s3://bucket/photos`.

Everything below an address is listed once; a file is read whole, or a part of it, when it is needed, in
whichever process that is (`walking.is_address` says of what). Credentials are those of the store's own
package (s3fs, gcsfs, ...).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import IO, Any

from ostrich.data.walking import BELOW, is_data, is_picture, only_splits_among, splits_among, suffix
from ostrich.errors import InputError, MissingExtra, OstrichError

AT_ONCE = 16  # files that are fetched at the same time


@contextmanager
def fetched_ahead(content: Callable[[int], bytes], order: Sequence[int]) -> Iterator[Callable[[int], bytes]]:
    """`content`, to be called with the numbers of `order` in turn: those that follow are fetched meanwhile,
    since a store takes some hundredths of a second for each.
    """
    left, asked = iter(order), deque[Future[bytes]]()
    threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch")

    def following(_: int) -> bytes:
        asked.extend(threads.submit(content, number) for number in islice(left, AT_ONCE - len(asked)))
        return asked.popleft().result()

    try:
        yield following
    finally:
        threads.shutdown(cancel_futures=True)


def read_address(address: str, span: tuple[int, int] | None = None) -> bytes:
    """A file's bytes, or those from an offset on, so many. Raises OSError where it cannot be read."""
    store, path = _opened(address)
    try:
        content: bytes = store.cat_file(path, *((None, None) if span is None else (span[0], sum(span))))
    except OSError:
        raise
    except Exception as error:  # a store raises what its package has
        raise OSError(f"{type(error).__name__}: {error}") from error
    return content


@contextmanager
def opened_address(address: str) -> Iterator[IO[bytes]]:
    """A file to look about in, closed at the end. Raises InputError."""
    store, path = _opened(address)
    with _told(address), store.open(path, "rb") as file:
        yield file


def files_below_address(address: str) -> list[str]:
    """The files at any depth, by their path below the address, sorted; none of a computer's own.

    Raises InputError where there is none.
    """
    store, path = _opened(address)
    with _told(address):
        found = store.find(path)
    root = path.rstrip("/") + "/"
    below = [file.removeprefix(root) for file in found if file.startswith(root)]
    files = sorted(file for file in below if all(is_data(part) for part in file.split("/")))
    if not files:
        raise InputError(f"There is no file below {address!r}.")
    return files


def class_files(address: str, split: str | None) -> tuple[str, dict[str, list[str]], Counter[str]]:
    """Where class folders lie, the images of each by name, and the other files by suffix.

    As `files.class_folders`, of an address. Raises InputError.
    """
    files = files_below_address(address)
    names, with_folders = _folders(files)
    splits = splits_among(names, with_folders.__contains__)
    if split is not None:
        if split not in splits:
            there = ", ".join(f"folder:{address}:{one}" for one in splits) or "none"
            raise InputError(f"{address!r} has no split {split!r} of class folders. There is {there}.")
        folder = splits[split] + "/"
        files = [file.removeprefix(folder) for file in files if file.startswith(folder)]
        address = f"{address.rstrip('/')}/{splits[split]}"
    elif only_splits_among(names, with_folders.__contains__):
        commands = " or ".join(f"folder:{address}:{one}" for one in splits)
        raise InputError(f"{address!r} holds splits, not classes: write {commands}.")
    images: dict[str, list[str]] = {}
    unused: Counter[str] = Counter()
    for file in files:
        folder, inside, _ = file.partition("/")
        if inside and is_picture(file):
            images.setdefault(folder, []).append(file)
        else:
            beside = is_picture(file) and not inside
            unused[f"{suffix(file)} beside the class folders" if beside else suffix(file)] += 1
    return address, images, unused


def class_splits(address: str) -> list[str]:
    """The splits of an address whose folders are no classes. Raises InputError."""
    names, with_folders = _folders(files_below_address(address))
    return list(only_splits_among(names, with_folders.__contains__))


def _folders(files: Sequence[str]) -> tuple[list[str], set[str]]:
    """The folders that files lie in, by name, and those of them that have folders in them."""
    names = {file.partition("/")[0] for file in files if "/" in file}
    return sorted(names), {file.partition("/")[0] for file in files if file.count("/") >= 2}


def images_at(address: str) -> tuple[list[str], Counter[str]]:
    """The images directly below an address by name, and the other files by suffix. Raises InputError."""
    here: list[str] = []
    unused: Counter[str] = Counter()
    for file in files_below_address(address):
        if "/" in file:
            unused[f"{suffix(file)} {BELOW}"] += 1
        elif is_picture(file):
            here.append(file)
        else:
            unused[suffix(file)] += 1
    return here, unused


def _opened(address: str) -> tuple[Any, str]:
    """The store of an address, and the path in it. Raises MissingExtra, InputError."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise MissingExtra(
            f"{address!r} needs fsspec, which is not installed: pip install 'ostrich-vision[stores]'"
        ) from None
    with _told(address):
        store, path = url_to_fs(address)
    return store, path


@contextmanager
def _told(address: str) -> Iterator[None]:
    """What a store raises, as a sentence. Raises InputError, MissingExtra."""
    try:
        yield
    except OstrichError:
        raise
    except ImportError as error:  # fsspec's own sentence names the package of the protocol
        raise MissingExtra(f"{address!r} cannot be opened: {error}") from None
    except FileNotFoundError:
        raise InputError(f"There is nothing at {address!r}.") from None
    except Exception as error:  # a store raises what its package has
        said = str(error).strip().splitlines()
        raise InputError(
            f"{address!r} cannot be read ({said[0] if said else type(error).__name__})."
        ) from None
