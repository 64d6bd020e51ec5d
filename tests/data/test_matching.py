"""Classes of data in a classifier's numbering: by which rule, and what is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ostrich.data import load, open_data
from ostrich.data.matching import match_classes, wordnet_ids
from ostrich.data.options import read_class_map
from ostrich.errors import InputError

COLOURS = ("red", "green", "blue")
TWELVE = tuple(str(number) for number in range(12))


@pytest.mark.parametrize(
    ("theirs", "ours", "count", "classes", "how"),
    [
        (("king_penguin", "Ostrich"), ("ostrich", "bus", "king penguin"), 3, (2, 0), "by name"),
        (("a-b", "A_C", " a  d"), ("a b", "a d", "a c"), 3, (0, 2, 1), "by name"),
        (("cafe\u0301", "nai\u0308ve"), ("na\u00efve", "caf\u00e9"), 2, (1, 0), "by name"),  # as on a Mac
        (("tench",), ("goldfish, Carassius auratus", "tench, Tinca tinca"), 2, (1,), "by name"),
        (("tench, Tinca tinca",), ("goldfish", "tench"), 2, (1,), "by name"),
        (("cardigan",), ("Cardigan", "cardigan"), 2, (1,), "by name"),  # as it is written, before all else
        (("01", "2"), ("1", "2"), 2, (0, 1), "by name"),
        (("n01440764", "n15075141"), None, 1000, (0, 999), "WordNet"),
        (("n02085620-Chihuahua",), ("a",) * 1000, 1000, (151,), "WordNet"),
        (("009_ostrich", "779_bus"), None, 1000, (9, 779), "number before"),
        (("1_red", "2_green", "3_blue"), COLOURS, 3, (0, 1, 2), "names behind their numbers"),
        (("1_a", "2_b", "3_c"), COLOURS, 3, (0, 1, 2), "counted from one"),
        (sorted(TWELVE), None, 12, tuple(sorted(range(12), key=str)), "by number, counted from zero"),
        (("2", "10"), None, 12, (2, 10), "by number"),
        (("1", "2", "10", "3"), None, 4, (0, 1, 3, 2), "in sorted order by value, since"),
        (("5", "10", "20", "50", "100"), None, 5, (0, 1, 2, 3, 4), "in sorted order by value, since"),
        (("10", "100", "20", "5", "50"), None, 5, (0, 1, 2, 3, 4), "in sorted order as text, since"),
        (("05", "10", "20"), None, 3, (0, 1, 2), "in sorted order, since"),
        (("3", "1", "2"), None, 3, (2, 0, 1), "by number, counted from one"),
        (("a", "b"), ("x", "y"), 2, (0, 1), "in sorted order, since no name matches: a is x, b is y"),
        (("b", "a"), None, 2, (0, 1), "in the data's own order, since the network has no class names"),
        (("a", "b"), None, None, (0, 1), "sorted order"),
        (("crane", "ball", "crane"), ("crane", "ball", "crane"), 3, (0, 1, 2), "by name"),
    ],
)
def test_the_first_rule_that_holds(theirs, ours, count, classes, how):
    found = match_classes(theirs, ours, count)
    assert found.classes == tuple(classes)
    assert how in found.sentence
    assert found.same == (theirs == ours)


@pytest.mark.parametrize(
    ("theirs", "ours", "count", "message"),
    [
        (("red", "green", "cyan"), COLOURS, 3, "2 of 3 classes .* these do not: cyan. .*--class-map FILE"),
        (("red", "crane"), ("red", "crane", "crane"), 3, "More than one class is named crane"),
        (("a", "b"), ("x", "y", "z"), 3, "no name matches"),
        (("5_a", "1_b"), ("x", "y", "z"), 3, "classes 5_a, but the classifier only 0 to 2"),
        (("0", "12"), None, 12, "classes 12, but"),
        (("n01440764", "n00000001"), None, 1000, "n00000001: no WordNet ids"),
    ],
)
def test_what_cannot_be_told_is_listed(theirs, ours, count, message):
    with pytest.raises(InputError, match=message):
        match_classes(theirs, ours, count)


def test_a_map_settles_what_the_rules_do_not():
    found = match_classes(("red", "green", "cyan"), COLOURS, 3, {"cyan": "blue"})
    assert found.classes == (0, 1, 2)
    assert found.sentence == "1 as --class-map says, 2 by name"
    assert match_classes(("a", "b"), None, 7, {"a": "6", "b": "0"}).classes == (6, 0)
    assert match_classes(("red",), COLOURS, 3, {"Red": "2"}).classes == (2,)  # before the name
    for given_map, message in (
        ({"red": "purple"}, "says that 'red' is 'purple', which is no class"),
        ({"red": "3"}, "no class .* 0 to 2"),
        ({"pink": "red"}, re.escape("names none of the data's classes (red)")),
    ):
        with pytest.raises(InputError, match=message):
            match_classes(("red",), COLOURS, 3, given_map)


def test_the_table_of_a_map(tmp_path):
    table = tmp_path / "map.csv"
    table.write_text("folder,class\ncat , 3\n\ndog,big dog\n", encoding="utf-8-sig")
    assert read_class_map(table) == {"cat": "3", "dog": "big dog"}
    wrong = {"a,b,c\n": "a row is folder,class", "a,1\na,2\n": "both 1 and 2", "\n": "no rows"}
    for text, message in wrong.items():
        table.write_text(text)
        with pytest.raises(InputError, match=message):
            read_class_map(table)
    with pytest.raises(InputError, match="cannot be read"):
        read_class_map(tmp_path / "none.csv")


def test_wordnet_ids_are_those_of_imagenet(shared):
    """The sample photographs are called INDEX_name/WNID.jpg."""
    import zipfile

    names = zipfile.ZipFile(shared / "data/imagenet-samples.zip").namelist()
    pairs = [re.fullmatch(r"(\d+)_[^/]*/(n\d+)\.jpg", name) for name in names]
    found = {match[2]: int(match[1]) for match in pairs if match}
    assert len(found) == 78
    assert {word: wordnet_ids()[word] for word in found} == found
    assert sorted(wordnet_ids()) == list(wordnet_ids())
    assert len(wordnet_ids()) == 1000


@given(st.permutations(range(12)), st.sampled_from(["{}", "{:03d}", "{}_x"]))
def test_numbers_are_indices_in_any_order(numbers, form):
    assert match_classes([form.format(k) for k in numbers], None, 12).classes == tuple(numbers)


def test_data_with_an_order_of_its_own_keeps_it():
    """The toybox's classes are in no alphabetical order; a network without class names has them so."""
    found = match_classes(["school bus", "ostrich", "crane"], None, 3)
    assert found.classes == (0, 1, 2)
    assert "in the data's own order" in found.sentence
    assert "in sorted order" in match_classes(["crane", "ostrich"], None, 2).sentence
    assert match_classes(["9", "10"], ["a", "b"], 2).classes == (0, 1)


def test_folders_called_by_numbers_are_numbered_as_torchvision_does(tmp_path):
    """Folders of banknotes, say, by which a network was trained through ImageFolder; a table has numbers."""
    from torchvision.datasets import ImageFolder

    numbers = (5, 10, 20, 50, 100)
    for number in numbers:
        (tmp_path / str(number)).mkdir()
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / f"{number}/0.png")
    (tmp_path / "t.csv").write_text("path,label\n" + "".join(f"{n}/0.png,{n}\n" for n in numbers))

    theirs = {picture.getpixel((0, 0))[0]: label for picture, label in ImageFolder(tmp_path)}
    for word, expected, how in (
        (f"folder:{tmp_path}", theirs, "as text, since the network has no class names"),
        (f"csv:{tmp_path / 't.csv'}", {n: k for k, n in enumerate(numbers)}, "by value, since the network"),
    ):
        samples = load(open_data(word), size=(4, 4), num_classes=5)
        assert dict(zip(samples.pixels[:, 0, 0, 0].tolist(), samples.labels.tolist())) == expected
        assert how in samples.describe()["classes"]
