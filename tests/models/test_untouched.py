"""A network is asked in whole float32, whatever the user has set, and the settings are the user's again."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ostrich.models.untouched import _kinds, untouched

BACKENDS = torch.backends


def settings() -> list[object]:
    """What torch says of its precisions, the older settings too, where they can be read."""
    found: list[object] = [one.fp32_precision for one in _kinds()]
    for ask in (torch.get_float32_matmul_precision, lambda: BACKENDS.cudnn.allow_tf32):
        try:
            found.append(ask())
        except RuntimeError:
            found.append("mixed")
    return found


@pytest.fixture
def restored():
    """The settings that torch begins with, afterwards."""
    before = [one.fp32_precision for one in _kinds()]
    yield
    BACKENDS.fp32_precision = "none"
    BACKENDS.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("highest")
    for one, precision in zip(_kinds(), before, strict=True):
        one.fp32_precision = precision


def high() -> None:
    torch.set_float32_matmul_precision("high")


def medium() -> None:
    torch.set_float32_matmul_precision("medium")


def older() -> None:
    BACKENDS.cuda.matmul.allow_tf32 = True
    BACKENDS.cudnn.allow_tf32 = False


def newer() -> None:
    BACKENDS.cuda.matmul.fp32_precision = "tf32"
    BACKENDS.mkldnn.matmul.fp32_precision = "bf16"


def for_all() -> None:
    BACKENDS.fp32_precision = "tf32"


@pytest.mark.parametrize("chosen", [lambda: None, high, medium, older, newer, for_all])
@pytest.mark.parametrize("network", [nn.Linear(2, 2), lambda images: images])
def test_a_network_is_asked_in_whole_float32_and_the_settings_are_as_they_were(chosen, network, restored):
    chosen()
    before = settings()
    with untouched(network), untouched(network):
        inside = settings()
        assert set(inside[: len(_kinds())]) <= {"ieee", "none"}
        # what could be read can be read: a compiled network reads it
        assert all(one != "mixed" for one, was in zip(inside, before, strict=True) if was != "mixed")
    assert settings() == before


def test_the_settings_are_the_users_after_an_exception_too(restored):
    high()
    before = settings()
    with pytest.raises(KeyError), untouched(nn.Linear(2, 2)):
        raise KeyError
    assert settings() == before
