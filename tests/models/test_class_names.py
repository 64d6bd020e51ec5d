"""Names of classes that a file gives."""

from __future__ import annotations

import numpy as np
import pytest

from ostrich.errors import InputError, UnknownName
from ostrich.models.class_names import class_index, given_class_names, read_class_names


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_one_name_a_line_with_or_without_a_byte_order_mark(tmp_path, encoding):
    """Editors of Windows begin a file with one, which is no part of the first name."""
    (tmp_path / "names.txt").write_text("k\u00f6nig\n\n school bus \n", encoding=encoding)
    assert read_class_names(tmp_path / "names.txt") == ("k\u00f6nig", "school bus")


def test_files_without_names(tmp_path):
    (tmp_path / "names.txt").write_text("\n", encoding="utf-8-sig")
    with pytest.raises(InputError, match="holds no class names"):
        read_class_names(tmp_path / "names.txt")
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read"):
        read_class_names(tmp_path / "names.txt")


def test_a_class_is_found_by_name_as_those_of_data_are():
    names = ("school bus", "caf\u00e9", "Cardigan", "cardigan")
    found = [class_index(name, names, 4) for name in ("School-Bus", " school_bus", "cafe\u0301", "cardigan")]
    assert found == [0, 0, 1, 3]
    with pytest.raises(InputError, match="Several"):
        class_index("CARDIGAN", names, 4)


def test_a_negative_number_is_no_class():
    for names in (None, ("0", "1")):
        for name in ("-1", "-2", "\u00b2"):
            with pytest.raises(UnknownName):
                class_index(name, names, 2)
    assert class_index("-1", ("1", "-1"), 2) == 1
    assert class_index(" -01 ", ("1", "-1"), 2) == 1
    assert class_index("_1_", ("0", "1"), 2) == 1


def test_names_as_python_has_them():
    for given in (["a", "b"], np.array(["a", "b"]), {0: "a", 1: "b"}, {"1": "b", "0": "a"}, iter("ab")):
        assert given_class_names(given) == ("a", "b")
    assert given_class_names(range(2)) == ("0", "1")
    for given in (4, [], [None, "b"], {1: "a", 2: "b"}, {"a": 0}):
        with pytest.raises(InputError, match="Class names are texts"):
            given_class_names(given)
