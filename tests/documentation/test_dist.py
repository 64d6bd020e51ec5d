"""What `make dist` finds wrong with an archive."""

from __future__ import annotations

import dist

WANTED = {"README.md", "requirements.txt", "src/ostrich/a.py", "src/ostrich/b.json", "tests/test_a.py"}
SOUND = dict.fromkeys(WANTED, b"x") | {"PKG-INFO": b"x"}
PACKED = {"ostrich/a.py": b"x", "ostrich/b.json": b"x", "ostrich-0.1.dist-info/METADATA": b"x"}


def test_what_is_sound_has_no_faults():
    assert dist.faults_of_source(SOUND, WANTED | {".ci/run"}, "/place") == []
    assert dist.faults_of_wheel(PACKED, WANTED, "/place") == []


def test_what_is_missing_what_is_too_much_and_what_tells_of_a_machine_is_found():
    less = {name: text for name, text in SOUND.items() if name != "tests/test_a.py"}
    more = SOUND | {"src/ostrich/__pycache__/a.pyc": b"x"}
    assert dist.faults_of_source(less, WANTED, "/place") == ["tests/test_a.py is missing"]
    assert dist.faults_of_source(more, WANTED, "/place") == [
        "src/ostrich/__pycache__/a.pyc does not belong there"
    ]
    found = dist.faults_of_source(SOUND | {"requirements.txt": b"x @ file://y"}, WANTED, "/place")
    assert found == ["requirements.txt carries an address"]
    found = dist.faults_of_wheel(PACKED | {"ostrich/a.py": b"open('/place/a')"}, WANTED, "/place")
    assert found == ["ostrich/a.py names the folder of this machine"]
    assert dist.faults_of_wheel({}, WANTED, "/place") == [
        "ostrich/a.py is missing",
        "ostrich/b.json is missing",
    ]


def test_what_is_under_version_control_is_listed():
    files = dist.tracked()
    assert {"README.md", "src/ostrich/__init__.py", "tests/conftest.py"} <= files
    assert not any("__pycache__" in name for name in files)
