"""The options of a network: the same on every command that takes one, and none of them lost."""

from dataclasses import fields
from pathlib import Path

import pytest
import typer
from typer.main import get_command

import ostrich
from ostrich.cli.main import app, run
from ostrich.cli.options import takes_options
from ostrich.models.options import ModelOptions

TAKES = ("check", "doctor", "attack", "explain", "visualize", "study", "list units")
GIVEN = {
    "weights": "w.pt",
    "mean": "0.1,0.2,0.3",
    "std": "0.5",
    "size": "24x32",
    "resize": "40",
    "crop": "32",
    "interpolation": "bicubic",
    "classes": "names.txt",
    "output": "logits",
    "draws": "5",
    "rename": "module.=",
    "drop": "loss.*",
    "ema": "no",
    "device": "cpu",
}


@pytest.mark.parametrize("name", TAKES)
def test_every_command_on_a_network_has_every_option_of_one(name):
    command = get_command(app)
    for part in name.split():
        command = command.commands[part]
    options = {word for parameter in command.params for word in parameter.opts}
    assert {f"--{f.name}" for f in fields(ModelOptions) if f.name != "model"} <= options


def test_what_is_typed_arrives():
    seen = []

    @takes_options
    def command(chosen: ModelOptions, extra: int = 3) -> None:
        seen.append((chosen, extra))

    app = typer.Typer()
    app.command()(command)
    assert set(GIVEN) == {f.name for f in fields(ModelOptions)} - {"model"}
    words = ["net.py:build", *(word for name, text in GIVEN.items() for word in (f"--{name}", text))]
    app([*words, "--rename", "a=b", "--extra", "4"], standalone_mode=False)
    ((chosen, extra),) = seen
    assert extra == 4
    assert chosen == ModelOptions(
        model="net.py:build",
        weights=Path("w.pt"),
        mean="0.1,0.2,0.3",
        std="0.5",
        size="24x32",
        resize="40",
        crop="32",
        interpolation="bicubic",
        classes=Path("names.txt"),
        output="logits",
        draws=5,
        rename=["module.=", "a=b"],
        drop=["loss.*"],
        ema="no",
        device="cpu",
    )
    again = chosen.words()
    seen.clear()
    app([*again, "--device", "cpu"], standalone_mode=False)
    assert seen == [(chosen, 3)]
    assert ModelOptions(model="zoo:x", device="cuda").words() == ["zoo:x"]


def test_a_command_keeps_what_it_declares_itself():
    seen = []

    @takes_options
    def command(network: ModelOptions, model: str | None = None, device: str | None = None) -> None:
        seen.append((network, model, device))

    rest = dict.fromkeys(("output", "draws", "resize", "crop", "interpolation", "drop", "ema"))
    command(
        model=None,
        device="cpu",
        weights=None,
        mean=None,
        std=None,
        size="8",
        classes=None,
        rename=None,
        **rest,
    )
    assert seen == [(ModelOptions(model="", size="8"), None, "cpu")]


def test_numbers_that_are_none_are_refused():
    with pytest.raises(ostrich.InputError, match="--mean 'half': numbers with commas"):
        ModelOptions(model="arch:resnet8", mean="half").load()
    assert run(["check", "arch:resnet8", "toybox", "--std", "a,b"]) == 2
