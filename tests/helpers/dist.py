"""Look through what `uv build` made, and try the wheel where nothing else is: `make dist`.

    python tests/helpers/dist.py FOLDER

The source distribution holds every file under version control and the wheel every file of the package, and
neither anything else; no requirement carries an address, and no file a path of this machine. Then the wheel
is installed in a new environment, with the versions of requirements.txt; the demo and an attack run there.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEFT_OUT = (".ci/", ".gitattributes", ".pre-commit-config.yaml")  # of no use to who has the archive
WITHOUT_ADDRESS = ("pyproject.toml", "requirements.txt", "requirements-peers.txt")
ATTACK = """
import ostrich
images, labels = ostrich.data.toybox("test", limit=4)
print(ostrich.attack("fgsm", ostrich.load("zoo:toybox-resnet20"), images, labels))
"""


def tracked(root: Path = ROOT) -> set[str]:
    """The files under version control."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True)
    return {name for name in listed.stdout.split("\0") if name}


def source(path: Path) -> dict[str, bytes]:
    """The files of a source distribution, without its folder."""
    with tarfile.open(path) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
        return {m.name.partition("/")[2]: archive.extractfile(m).read() for m in members}  # type: ignore[union-attr]


def wheel(path: Path) -> dict[str, bytes]:
    """The files of a wheel."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def faults_of_source(files: Mapping[str, bytes], wanted: set[str], place: str) -> list[str]:
    """What is wrong with a source distribution, in sentences."""
    wanted = {name for name in wanted if not name.startswith(LEFT_OUT)}
    found = set(files) - {"PKG-INFO"}
    faults = [f"{name} is missing" for name in sorted(wanted - found)]
    faults += [f"{name} does not belong there" for name in sorted(found - wanted)]
    faults += [f"{n} carries an address" for n in WITHOUT_ADDRESS if b"://" in files.get(n, b"")]
    return faults + _with(place, files)


def faults_of_wheel(files: Mapping[str, bytes], wanted: set[str], place: str) -> list[str]:
    """What is wrong with a wheel, in sentences."""
    wanted = {name.removeprefix("src/") for name in wanted if name.startswith("src/")}
    found = {name for name in files if ".dist-info/" not in name}
    faults = [f"{name} is missing" for name in sorted(wanted - found)]
    faults += [f"{name} does not belong there" for name in sorted(found - wanted)]
    return faults + _with(place, files)


def _with(place: str, files: Mapping[str, bytes]) -> list[str]:
    return [f"{n} names the folder of this machine" for n, text in files.items() if place.encode() in text]


def try_out(built: Path) -> None:
    """Install a wheel in a new environment and use it from a folder of its own; raises where that fails."""
    with tempfile.TemporaryDirectory(prefix="ostrich-dist-") as name:
        place = Path(name)
        python = place / "environment/bin/python"

        def run(*words: str | Path) -> None:
            print("==>", *(Path(words[0]).name, *words[1:]), flush=True)  # noqa: T201
            subprocess.run(words, cwd=place, check=True)

        run(sys.executable, "-m", "venv", "--without-pip", place / "environment")
        uv = Path(sys.executable).with_name("uv")
        pins = ROOT / "requirements.txt"
        run(uv, "pip", "install", "--quiet", "--python", python, "--constraint", pins, built)
        run(python.with_name("ostrich"), "demo", "--out", "demo")
        assert (place / "demo/index.html").is_file() or list((place / "demo").glob("*.html"))
        run(python, "-c", ATTACK)


def main(folder: Path) -> int:
    (packed,), (built,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    files = tracked()
    faults = [f"{packed.name}: {fault}" for fault in faults_of_source(source(packed), files, str(ROOT))]
    faults += [f"{built.name}: {fault}" for fault in faults_of_wheel(wheel(built), files, str(ROOT))]
    for fault in faults:
        print(fault, file=sys.stderr)  # noqa: T201
    if faults:
        return 1
    try_out(built.resolve())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
