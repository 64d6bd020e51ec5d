"""Pickles as an attacker makes them: nothing of theirs is imported or called, and memory stays bounded.

Each is read in a process of its own with 1 GB of address space above what it starts with; beside it lies a
module whose import, like each call, would leave a file.
"""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from ostrich.cli.main import run
from ostrich.errors import InputError
from ostrich.models.checkpoints import Checkpoint
from ostrich.models.checkpoints.files import read_file
from ostrich.models.checkpoints.machine import Global, Stub
from ostrich.models.checkpoints.pickles import read_pickle

GLOBAL = {
    "system": b"cos\nsystem\n",
    "posix": b"cposix\nsystem\n",
    "eval": b"cbuiltins\neval\n",
    "getattr": b"cbuiltins\ngetattr\n",
    "trap": b"ctrap\nspring\n",
    "tensor": b"ctorch._utils\n_rebuild_tensor_v2\n",
    "ordered": b"ccollections\nOrderedDict\n",
}
TOUCH = b"X\x0c\x00\x00\x00touch called"  # what a shell is told
STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"


def tensor(offset: bytes, shape: bytes, stride: bytes) -> bytes:
    return (
        b"\x80\x02}X\x01\x00\x00\x00w"
        + GLOBAL["tensor"]
        + b"("
        + STORAGE
        + offset
        + shape
        + stride
        + b"\x89}tRs."
    )


def deep(count: int, opening: bytes, closing: bytes) -> bytes:
    return b"\x80\x02" + opening * count + closing * count + b"."


CRAFTED = {
    "reduce": b"\x80\x02" + GLOBAL["system"] + TOUCH + b"\x85R.",
    "reduce in posix": b"\x80\x02" + GLOBAL["posix"] + TOUCH + b"\x85R.",
    "eval": b"\x80\x02" + GLOBAL["eval"] + b"X\x1b\x00\x00\x00__import__('trap').spring()\x85R.",
    "getattr of a module": b"\x80\x02"
    + GLOBAL["getattr"]
    + GLOBAL["trap"]
    + b"X\x08\x00\x00\x00__call__\x86R)R.",
    "import of a name": b"\x80\x04\x8c\x04trap\x8c\x06spring\x93.",
    "a dotted name": b"\x80\x04\x8c\x09torch.hub\x8c\x09os.system\x93" + TOUCH + b"\x85R.",
    "instance": b"(" + TOUCH + b"ios\nsystem\n.",
    "object": b"\x80\x02(" + GLOBAL["system"] + TOUCH + b"o.",
    "newobj": b"\x80\x02" + GLOBAL["trap"] + b")\x81.",
    "newobj with keywords": b"\x80\x04" + GLOBAL["trap"] + b")}\x92.",
    "build on an allowed class": b"\x80\x02"
    + GLOBAL["ordered"]
    + b")R}X\x0c\x00\x00\x00__setstate__"
    + GLOBAL["system"]
    + b"sb"
    + TOUCH
    + b"b.",
    "build on a class": b"\x80\x02"
    + GLOBAL["ordered"]
    + b"}X\x08\x00\x00\x00__init__"
    + GLOBAL["system"]
    + b"sb)R.",
    "setitem on a stub": b"\x80\x02" + GLOBAL["trap"] + b")RX\x01\x00\x00\x00a" + GLOBAL["system"] + b"s.",
    "setitem on a name": b"\x80\x02" + GLOBAL["trap"] + b"X\x01\x00\x00\x00aK\x01s.",
    "append to a stub": b"\x80\x02" + GLOBAL["trap"] + b")RK\x01a.",
    "append to a name": b"\x80\x02" + GLOBAL["trap"] + b"K\x01a.",
    "an argument that calls": b"\x80\x02" + GLOBAL["ordered"] + GLOBAL["system"] + TOUCH + b"\x85R\x85R.",
    "a key that is called": b"\x80\x02}" + GLOBAL["trap"] + b")RK\x01s.",
    "extension": b"\x80\x02\x82\x01)R.",
    "extension of four bytes": b"\x80\x02\x84\xff\xff\xff\x7f)R.",
    "persistent text": b"Pstorage\n.",
    "persistent object": b"\x80\x02" + GLOBAL["trap"] + b")RQ.",
    "a storage of code": b"\x80\x02(X\x07\x00\x00\x00storage"
    + GLOBAL["trap"]
    + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ.",
    "memo far away": b"\x80\x02}r\xff\xff\xff\x7f.",
    "memo of text": b"}p99999999999999999999\n.",
    "memo that is not there": b"\x80\x02j\xff\xff\xff\x7f.",
    "bytes of eight": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
    "bytes of four": b"\x80\x03B\xff\xff\xff\x7fx.",
    "text of eight": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"x.",
    "an array of bytes": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
    "a long number": b"\x80\x02\x8b\xff\xff\xff\x7f" + b"\xff" * 64,
    "a number in words": b"I" + b"9" * 100_000 + b"\n.",
    "nested lists": deep(100_000, b"]", b"a"),
    "nested tuples": b"\x80\x02)" + b"\x85" * 100_000 + b".",
    "a nested key": b"\x80\x02})" + b"\x85" * 100_000 + b"K\x01s.",
    "marks": b"\x80\x02" + b"(" * 100_000,
    "many lists": b"\x80\x02" + b"]" * 4_000_000,
    "a list taken often": b"\x80\x02]("
    + b"K\x01" * 100_000
    + b"eq\x00"
    + (GLOBAL["ordered"] + b"h\x00\x85Rq\x01h\x01") * 4000
    + b".",
    "names from one text": b"\x80\x04X"
    + struct.pack("<I", 2**20)
    + b"a" * 2**20
    + b"q\x00"
    + b"h\x00h\x00\x93" * 3000
    + b".",
    "itself": b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
    "a million copies": b"\x80\x02}q\x00("
    + b"".join(b"X\x02\x00\x00\x00" + b"%02d" % i + b"h\x00" for i in range(99))
    + b"u.",
    "a huge tensor": tensor(b"K\x00", b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85", b"K\x01\x85"),
    "a tensor spread by zero": tensor(b"K\x00", b"J\x00\x00\x00\x40\x85", b"K\x00\x85"),
    "a tensor beyond its end": tensor(b"K\x02", b"K\x04\x85", b"K\x01\x85"),
    "a negative offset": tensor(b"J\xff\xff\xff\xff", b"K\x02\x85", b"K\x01\x85"),
    "a negative stride": tensor(b"K\x00", b"K\x02\x85", b"J\xff\xff\xff\xff\x85"),
    "a shape that is none": tensor(b"K\x00", b"]", b"K\x01\x85"),
    "a shape of names": tensor(b"K\x00", GLOBAL["trap"] + b"\x85", b"K\x01\x85"),
    "cut off": b"\x80\x02}(X\x01",
    "no instruction": b"\x80\x02\xff.",
    "nothing": b"\x80\x02.",
    "no mark": b"\x80\x02u.",
}

READER = """
import json, resource, sys
from pathlib import Path
sys.path.insert(0, ".")
import ostrich
from ostrich.errors import InputError
from ostrich.models.checkpoints import Checkpoint
from torch import nn
import fnmatch, mmap, zipfile, zlib
pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (pages + 2**30, pages + 2**30))
before, answers = set(sys.modules), {}
for path in sorted(Path("files").iterdir()):
    try:
        Checkpoint(path).load_into(nn.Linear(2, 2))
        answers[path.name] = "loaded"
    except InputError as error:
        answers[path.name] = "refused"
    except BaseException as error:
        answers[path.name] = repr(error)[:200]
json.dump([answers, sorted(set(sys.modules) - before)], sys.stdout)
"""


def archive(path: Path, content: bytes, storage: bytes = bytes(16), **info) -> None:
    with zipfile.ZipFile(path, "w", **info) as file:
        file.writestr("a/data.pkl", content)
        file.writestr("a/byteorder", b"little")
        file.writestr("a/data/0", storage)


def fitting(path: Path, offset: int | None = None) -> None:
    """Weights that are read; with an offset, their values are said to lie there."""
    weight = b"X\x06\x00\x00\x00weight" + tensor(b"K\x00", b"K\x02K\x02\x86", b"K\x02K\x01\x86")[9:-1]
    bias = b"X\x04\x00\x00\x00bias" + tensor(b"K\x00", b"K\x02\x85", b"K\x01\x85")[9:-1]
    archive(path, b"\x80\x02}" + weight + bias + b".")
    if offset is not None:
        found = bytearray(path.read_bytes())
        place = found.rfind(b"PK\x01\x02")
        found[place + 42 : place + 46] = struct.pack("<I", offset)
        path.write_bytes(found)


def named(path: Path, numbers: bytes = b"") -> None:
    """A list of entries that says more than there is."""
    archive(path, tensor(b"K\x00", b"K\x04\x85", b"K\x01\x85"))
    found = bytearray(path.read_bytes())
    place = found.rfind(b"PK\x01\x02")
    found[place + 20 : place + 28] = numbers  # of the last entry, its sizes
    path.write_bytes(found)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crafted")
    (folder / "files").mkdir()
    for name, content in CRAFTED.items():
        (folder / "files" / f"{name}.pkl").write_bytes(content)
        if len(content) < 2**16:
            archive(folder / "files" / f"{name}.zip", content)
    archive(folder / "files/bomb.zip", b"\x80\x02" + b"]" * 2**27, compression=zipfile.ZIP_DEFLATED)
    fitting(folder / "files/control.zip")
    fitting(folder / "files/elsewhere.zip", 2**31)
    named(folder / "files/sizes.zip", struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0))
    with zipfile.ZipFile(folder / "files/entries.zip", "w") as file:
        for i in range(200):
            file.writestr(f"a/{i}" + "x" * 60_000, b"")
    with zipfile.ZipFile(folder / "files/directory.zip", "w") as file:
        for i in range(400):
            file.writestr(f"a/{i}" + "x" * 60_000, b"")
    (folder / "trap.py").write_text("open('imported', 'w')\ndef spring(*a, **k): open('called', 'w')\n")
    done = subprocess.run(
        [sys.executable, "-c", READER], cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found, imported = json.loads(done.stdout)
    left = {path.name for path in folder.iterdir()}
    return found, imported, left


def test_every_crafted_file_is_refused(answers):
    found, _, _ = answers
    assert len(found) > 1.5 * len(CRAFTED)
    assert {name: said for name, said in found.items() if said != "refused"} == {"control.zip": "loaded"}


def test_nothing_is_imported_and_nothing_called(answers):
    _, imported, left = answers
    assert [name for name in imported if not name.startswith(("ostrich", "encodings"))] == []
    assert left == {"files", "trap.py"}


def test_the_command_line_ends_with_two(tmp_path, capsys):
    path = tmp_path / "evil.pt"
    archive(path, CRAFTED["reduce"])
    assert run(["check", "arch:resnet8", "toybox", "--weights", str(path)]) == 2
    assert "is a pickle of os.system" in capsys.readouterr().err


@pytest.mark.parametrize("protocol", range(2, 6))
def test_plain_values_are_those_of_pickle(protocol):
    value = {
        "a": [1, -2, 2**40, 1.5, True, None, "é", b"x", (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        7: {"b": {}, "c": [], "d": ()},
        "again": bytearray(b"ab") if protocol == 5 else b"ab",
    }
    value["shared"] = value["a"]
    found, _, _ = read_pickle(pickle.dumps(value, protocol), 0, {}, lambda _: None)
    if protocol == 2:  # which has no bytes: they are made by a call
        assert isinstance(found["again"], Stub)
        return
    assert found["shared"] is found["a"]
    assert found == value


def test_what_is_not_known_becomes_a_stub():
    found, _, names = read_pickle(pickle.dumps({"path": Path("runs"), "kind": Path}), 0, {}, lambda _: None)
    assert isinstance(found["path"], Stub)
    assert found["path"].arguments == ("runs",)
    assert isinstance(found["kind"], Global)
    assert any(name.startswith("pathlib") for name in names)


@pytest.mark.parametrize("archived", [True, False])
@pytest.mark.parametrize(
    "dtype",
    [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool, torch.complex64],
)
def test_tensors_are_those_of_torch(tmp_path, dtype, archived):
    whole = torch.arange(24).reshape(4, 6).to(dtype)
    content = {
        "whole": whole,
        "part": whole[1:, 2:],
        "turned": whole.T,
        "none": whole[:0],
        "one": whole[0, 0],
    }
    torch.save({"state_dict": content}, tmp_path / "w.pt", _use_new_zipfile_serialization=archived)
    found = read_file(tmp_path / "w.pt")["state_dict"]
    for name, value in content.items():
        assert torch.equal(found[name].tensor(), value), name
    assert found["whole"].tensor().data_ptr() == found["turned"].tensor().data_ptr()


def test_newer_types_and_parameters(tmp_path):
    content = {"a": torch.ones(4).to(torch.float8_e4m3fn), "b": torch.nn.Parameter(torch.arange(3.0))}
    torch.save(content, tmp_path / "w.pt")
    found = read_file(tmp_path / "w.pt")
    assert torch.equal(found["a"].tensor().float(), torch.ones(4))
    assert torch.equal(found["b"].tensor(), torch.arange(3.0))


def test_a_damaged_archive_is_refused(tmp_path):
    torch.save({"weight": torch.arange(1000.0)}, tmp_path / "w.pt")
    content = bytearray((tmp_path / "w.pt").read_bytes())
    content[content.find(torch.arange(500.0, 501.0).numpy().tobytes())] ^= 1
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        Checkpoint(tmp_path / "w.pt").load_into(torch.nn.Linear(1000, 1, bias=False))
