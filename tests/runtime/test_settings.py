"""Settings from text: every field of everything that is registered, and every kind of value."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ostrich
from ostrich.attacks import ATTACKS
from ostrich.attacks.engine.settings import configure
from ostrich.attribution import EXPLAINERS
from ostrich.generative.recipe import GeneratorRecipe
from ostrich.runtime.settings import changed, pairs, read, read_value, readable, spelled
from ostrich.studies import STUDIES, find
from ostrich.training.recipe import RECIPES, Recipe
from ostrich.visualization.optimisers import OPTIMISERS
from ostrich.visualization.parametrisations import PARAMETRISATIONS

REGISTERED = {
    **{f"attack {name}": kind for name, kind in ATTACKS.items()},
    **{f"explainer {name}": kind for name, kind in EXPLAINERS.items()},
    **{f"study {name}": type(find(name).spec("smoke")) for name in STUDIES},
    **{f"optimiser {name}": kind for name, kind in OPTIMISERS.items()},
    **{f"parametrisation {name}": kind for name, kind in PARAMETRISATIONS.items()},
    "recipe": Recipe,
    "generator recipe": GeneratorRecipe,
}
UNREADABLE = {"threat", "shown", "crops"}  # a threat has norm and eps, a mesh is DATA, crops are a recipe's


@dataclass(frozen=True, kw_only=True)
class Every:
    count: int = 1
    share: float = 0.5
    on: bool = True
    word: str = "a"
    most: float | None = None
    mode: Literal["first", "budget"] = "first"
    depths: tuple[int, ...] = (8,)
    names: list[str] = field(default_factory=list)
    shape: tuple[int, int] = (1, 2)
    masks: tuple[float, ...] | None = None
    crops: tuple[tuple[float, int], ...] = ()
    call: Callable[[], Any] = dict
    own: str = field(default="", metadata={"setting": False})


def test_each_kind_of_value():
    texts = {
        "count": "7",
        "share": "8/255",
        "on": "no",
        "word": "a=b,c",
        "most": "none",
        "mode": "budget",
        "depths": "20, 56",
        "names": "x,y",
        "shape": "3,4",
        "masks": "1/2,0.25",
    }
    found = read(Every, texts, "every")
    assert found == {
        "count": 7,
        "share": 8 / 255,
        "on": False,
        "word": "a=b,c",
        "most": None,
        "mode": "budget",
        "depths": (20, 56),
        "names": ["x", "y"],
        "shape": (3, 4),
        "masks": (0.5, 0.25),
    }
    assert list(readable(Every)) == list(texts)


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1), st.floats(allow_nan=False, allow_infinity=False))
def test_what_is_written_is_read(numbers, number):
    assert read_value("x", ",".join(map(str, numbers)), tuple[int, ...]) == tuple(numbers)
    assert read_value("x", repr(number), float) == number


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("counts", "1", "Unknown setting of every 'counts'. Did you mean count"),
        ("count", "1.5", "count=1.5: a whole number is expected"),
        ("share", "1/0", "share=1/0: a number is expected"),
        ("share", "inf", "a number is expected"),
        ("share", "none", "a number is expected"),
        ("on", "maybe", "true or false is expected"),
        ("mode", "last", "Unknown mode 'last'"),
        ("depths", "20,,56", "values with commas between"),
        ("depths", "", "values with commas between"),
        ("depths", "20,x", "depths=x: a whole number is expected"),
        ("shape", "1,2,3", "2 values with commas between"),
        ("crops", "1", "Unknown setting"),
        ("call", "1", "Unknown setting"),
        ("own", "1", "Unknown setting"),
    ],
)
def test_what_cannot_be_read_is_refused(name, text, message):
    with pytest.raises(ostrich.InputError, match=message.replace("(", r"\(")):
        read(Every, {name: text}, "every")


TEXTS = st.text("ab=/ .", min_size=1).filter(lambda text: text == text.strip() != "none")


@given(
    st.builds(
        Every,
        count=st.integers(-(2**62), 2**62),
        share=st.floats(allow_nan=False, allow_infinity=False),
        on=st.booleans(),
        word=TEXTS,
        most=st.none() | st.floats(0, 1),
        mode=st.sampled_from(["first", "budget"]),
        depths=st.lists(st.integers(0, 99), min_size=1).map(tuple),
        masks=st.none() | st.lists(st.floats(0, 1), min_size=1).map(tuple),
    )
)
def test_what_is_spelled_makes_the_one_of_the_other(other):
    assert changed(Every(), pairs(spelled(other, Every())), "every") == other


def test_what_has_no_text_is_spelled_as_python_writes_it():
    assert spelled(Every(count=2, crops=((0.4, 24),)), Every(), hidden=("count",)) == ["crops=((0.4, 24),)"]


def test_a_name_has_one_value():
    assert pairs(["a=1", "b=2", "a=1"]) == {"a": "1", "b": "2"}
    with pytest.raises(ostrich.InputError, match="a is given twice, 1 and 2"):
        pairs(["a=1", "a=2"])


@pytest.mark.parametrize("name", REGISTERED)
def test_every_registered_field_can_be_set(name):
    kind = REGISTERED[name]
    assert {f.name for f in fields(kind)} - set(readable(kind)) <= UNREADABLE


def test_the_lists_of_a_study_are_settings():
    depth, objective = find("depth").spec("smoke"), find("objective").spec("smoke")
    assert changed(depth, pairs(["depths=20,56"]), "depth").depths == (20, 56)
    assert changed(objective, pairs(["lambdas=0,1/1000"]), "objective").lambdas == (0, 1e-3)


def test_values_are_changed_as_text_is():
    depth, recipe = find("depth").spec("smoke"), RECIPES["digits-cnn"]
    found = changed(depth, {"depths": (20, 56), "steps": "7"}, "depth")
    assert found == replace(depth, depths=(20, 56), steps=7)
    assert repr(changed(recipe, {"epochs": 2}, "a recipe").epochs) == "2.0"  # as `--set epochs=2`
    assert repr(changed(recipe, {"mean": [0]}, "a recipe").mean) == "(0.0,)"
    assert changed(recipe, {"crops": ((0.5, 6),)}, "a recipe").crops == ((0.5, 6),)
    for changes, message in (
        ({"steqs": 3}, "Did you mean steps"),
        ({"steps": "x"}, "steps=x: a whole number"),
    ):
        with pytest.raises(ostrich.InputError, match=message):
            changed(depth, changes, "depth")
    for changes, message in (
        ({"epochs": None}, "epochs=None: a number is expected"),
        ({"name": "mine"}, "Unknown setting of a recipe 'name'"),
        ({"crops": "0.5,6"}, "Unknown setting of a recipe 'crops'"),
    ):
        with pytest.raises(ostrich.InputError, match=message):
            changed(recipe, changes, "a recipe", hidden=("name",))


def test_an_attack_has_its_threat_beside_its_own_settings():
    with pytest.raises(ostrich.InputError, match="Did you mean eps"):
        configure(ATTACKS["pgd"], {"epps": "1"})
    assert configure(ATTACKS["pgd"], {"eps": "1/2", "norm": "l2"}).threat == ostrich.L2(0.5)
