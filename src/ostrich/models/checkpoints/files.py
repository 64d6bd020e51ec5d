"""What a weights file holds, read as data: safetensors, torch's zip archives, and its older files.

The tree that comes back has dictionaries, lists and values; tensors (`Described`, read when they are
used); and stubs for everything else. What is no weights file is refused with what to do instead.
"""

from __future__ import annotations

import io
import mmap
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from ostrich.errors import InputError
from ostrich.models.checkpoints.machine import Global, Refused, Source, Stub
from ostrich.models.checkpoints.pickles import read_pickle
from ostrich.models.checkpoints.tensors import MAKERS, Storage, storage_of

MAGIC = 0x1950A86A20F9469CFC6C  # of torch's files before archives
LARGEST_PICKLE = 2**27  # bytes; tensors lie beside it
LARGEST_DIRECTORY = 2**24  # bytes of an archive's list of entries: some 200,000
WHOLE = ("_parameters", "_modules")  # what the state of a pickled Module has
HDF5, ZIP, PICKLE, LFS = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x80", b"version https://git-lfs"


def read_file(path: Path) -> Any:
    """The tree of a weights file. Raises InputError."""
    if not path.is_file():
        raise InputError(
            f"There is no weights file {str(path)!r}; --weights is a safetensors file or a saved state_dict."
        )
    with path.open("rb") as file:
        start = file.read(32)
    try:
        if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
            return load_file(path)
        if start.startswith(ZIP):
            return _archive(path)
        if start.startswith(PICKLE) and start[1:2] in (b"\2", b"\3", b"\4", b"\5"):
            return _stream(path)
    except Refused as reason:
        raise InputError(
            f"{str(path)!r} is not read: {reason}. Save `network.state_dict()`, best as safetensors."
        ) from None
    except InputError:
        raise
    except (SafetensorError, OSError, ValueError, struct.error, zipfile.BadZipFile, NotImplementedError):
        raise InputError(_not_weights(path)) from None
    if start.startswith(HDF5):
        raise InputError(f"{str(path)!r} is a Keras (HDF5) file. {keras_way_out(path)}")
    if start.startswith(LFS):
        raise InputError(f"{str(path)!r} only points to a file in Git LFS. Fetch it: git lfs pull.")
    if start.startswith(b"\x1f\x8b"):
        raise InputError(f"{str(path)!r} is compressed. Unpack it first: gunzip {path}.")
    raise InputError(_not_weights(path))


def is_torchscript(path: Path) -> bool:
    """Whether it is an archive of TorchScript, a program with its weights."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def keras_way_out(path: str | Path) -> str:
    """How a Keras file becomes one that can be read."""
    target = Path(path).with_suffix(".onnx").name
    return (
        f"Convert it where Keras is: python -c \"import keras; keras.models.load_model('{path}')."
        f"export('{target}', format='onnx')\"; then ostrich doctor {target} DATA"
    )


def whole_network(path: str | Path, key: str = "") -> InputError:
    """The error about a pickled network, with the lines of Python that make a file of weights alone."""
    path = Path(path)
    part = "".join(f"[{name!r}]" for name in key.split(".") if name)
    target = str(path.with_name(f"{path.stem}-weights.pt"))
    return InputError(
        f"{str(path)!r} holds a whole network, a pickle of code, which is not run here. Where you trust it, "
        "these two lines of Python make a file that can be read:\n"
        f"network = torch.load({str(path)!r}, weights_only=False){part}\n"
        f"torch.save(network.state_dict(), {target!r})"
    )


def is_network(value: object) -> bool:
    """Whether it is a pickled Module."""
    return isinstance(value, Stub) and isinstance(value.state, dict) and all(k in value.state for k in WHOLE)


def _not_weights(path: Path) -> str:
    return f"{str(path)!r} is not a weights file: a safetensors file or a saved state_dict is expected."


# Archives ----------------------------------------------------------------------------------------


class _Guarded(io.BufferedReader):
    """A file that does not give more bytes at once than an archive's directory may have."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > LARGEST_DIRECTORY:
            raise Refused("the list of its entries is too long")
        return super().read(size)


def _archive(path: Path) -> Any:
    """The tree of a torch archive: `NAME/data.pkl`, and a storage `NAME/data/KEY` for each of its keys."""
    with _Guarded(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
        found = archive.NameToInfo
    entries = {name.partition("/")[2]: info for name, info in found.items()}
    if "constants.pkl" in entries:
        raise InputError(
            f"{str(path)!r} is TorchScript, a program with its weights: name it as MODEL, without --weights."
        )
    if "data.pkl" not in entries:
        if "config.json" in found and "model.weights.h5" in found:
            raise InputError(f"{str(path)!r} is a Keras file. {keras_way_out(path)}")
        raise InputError(_not_weights(path))
    if "byteorder" in entries and _entry(path, entries["byteorder"], 16) != b"little":
        raise Refused("its numbers are not little-endian")
    content = bytes(_entry(path, entries["data.pkl"], LARGEST_PICKLE))
    left = path.stat().st_size

    def read(key: str, size: int) -> bytearray:
        nonlocal left
        info = entries.get(f"data/{key}")
        if info is None or info.file_size != size or size > left:
            raise Refused(f"the values {key!r} are not whole")
        left -= size  # entries may lie upon each other: together they hold no more than the file
        return _entry(path, info, size)

    return _pickle(path, content, 0, read)[0]


def _entry(path: Path, info: zipfile.ZipInfo, most: int) -> bytearray:
    """What an entry of an archive holds, which is stored as it is."""
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise Refused("it is compressed, as torch never does")
    if info.file_size > min(most, path.stat().st_size) or info.header_offset < 0:
        raise Refused(f"{info.filename} is larger than it can be, or elsewhere")
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)  # the header has 30 bytes, then a name and more
        name, more = struct.unpack("<HH", _whole(file, info.filename, 4))
        file.seek(name + more, io.SEEK_CUR)
        found = _whole(file, info.filename, info.file_size)
    if zlib.crc32(found) != info.CRC:
        raise Refused(f"{info.filename} is damaged")
    return found


def _whole(file: IO[bytes], name: str, size: int) -> bytearray:
    """So many bytes from where the file stands."""
    found = bytearray(size)
    done, view = 0, memoryview(found)
    while done < size and (part := file.read(min(2**20, size - done))):
        view[done : done + len(part)] = part
        done += len(part)
    if done < size:
        raise Refused(f"{name} is not whole")
    return found


# Older files -------------------------------------------------------------------------------------


def _stream(path: Path) -> Any:
    """A torch file before archives: five pickles (magic, version, system, tree, keys), then the storages.

    Without the magic it is one pickle, and that is the tree.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as source:
        places: dict[str, tuple[int, int]] = {}  # of a storage: where it begins, and its bytes
        with_sizes: dict[str, Storage] = {}

        def read(key: str, size: int) -> bytearray:
            begin, held = places.get(key, (0, -1))
            if held < size:
                raise Refused(f"the values {key!r} are not whole")
            with path.open("rb") as again:
                again.seek(begin)
                return _whole(again, key, size)

        first, place = _pickle(path, source, 0, read)
        if first != MAGIC:
            return first
        for _ in range(2):
            _, place = _pickle(path, source, place, read)
        tree, place = _pickle(path, source, place, read, with_sizes)
        keys, place = _pickle(path, source, place, read)
        if not isinstance(keys, list):
            raise Refused("the list of its storages is missing")
        for key in keys:
            if key not in with_sizes:
                raise Refused("the list of its storages is another one")
            count = int.from_bytes(source[place : place + 8], "little")
            size = count * with_sizes[key].dtype.itemsize
            if count != with_sizes[key].count or place + 8 + size > len(source):
                raise Refused(f"the values {key!r} are not whole")
            places[key] = (place + 8, size)
            place += 8 + size
    return tree


def _pickle(
    path: Path,
    source: Source,
    start: int,
    read: Callable[[str, int], bytearray],
    storages: dict[str, Storage] | None = None,
) -> tuple[Any, int]:
    """The value of a pickle and where it ends; a pickled network is refused. `storages` collects its own."""
    known: dict[str, Storage] = {} if storages is None else storages

    def stored(found: object) -> object:
        storage = storage_of(found, read)
        if isinstance(storage, Stub):
            return storage
        before = known.setdefault(storage.key, storage)
        if (before.dtype, before.count) != (storage.dtype, storage.count):
            raise Refused("two storages have one name")
        return before

    value, place, names = read_pickle(source, start, MAKERS, stored)
    if is_network(value):
        raise whole_network(path)
    if isinstance(value, Stub | Global):
        kind = next((name for name in sorted(names) if not name.startswith(("torch.", "collections."))), "")
        raise InputError(
            f"{str(path)!r} is a pickle of {value.made_by if isinstance(value, Stub) else kind}, not of "
            "weights, and no code of it is run here. Where you trust it, write a file with a function that "
            "loads it and returns a Module, or a callable from images to scores: PATH.py:FUNCTION."
        )
    return value, place
