"""What every test runs under: one torch thread per worker, and no network."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Workers side by side: a thread each is faster than two that wait for one another. Set before torch
# is imported, and inherited by the commands that tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")

# Where Python is told to keep no bytecode, each command that a test starts would compile torch anew.
if sys.dont_write_bytecode:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(__file__).parents[1] / ".pytest_cache/bytecode"))

# A shell's background jobs ignore interrupts, which tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# How long an example takes says how busy the machine is.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that no worker begins one when the others are done."""

    def seconds(item: pytest.Item) -> float:
        """About: most tests are short, those in these folders give whole commands."""
        whole = item.path.parent.name in ("golden", "verbs")
        return 20.0 if item.get_closest_marker("slow") else 3.0 if whole else 0.3

    long: dict[Path, float] = defaultdict(float)
    for item in items:
        long[item.path] += seconds(item)
    items.sort(key=lambda item: (-long[item.path], str(item.path)))  # inside a file as they were


class NetworkUsed(RuntimeError):
    """A test tried to leave this machine."""


def _is_local(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if not isinstance(host, str) or host in ("", "localhost", socket.gethostname()):
        return True  # None and "": this machine
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False  # a name would have to be looked up
    return address.is_loopback or address.is_unspecified


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Connections and name look-ups beyond this machine raise NetworkUsed."""
    patch = pytest.MonkeyPatch()

    def guarded(name: str) -> Any:
        original = getattr(socket.socket, name)

        def connect(self: socket.socket, address: Any) -> Any:
            internet = self.family in (socket.AF_INET, socket.AF_INET6)
            if internet and not _is_local(address[0]):
                raise NetworkUsed(f"Tests run without network; this one connects to {address!r}.")
            return original(self, address)

        return connect

    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_local(host):
            raise NetworkUsed(f"Tests run without network; this one looks up {host!r}.")
        return look_up(host, *args, **kwargs)

    for name in ("connect", "connect_ex"):
        patch.setattr(socket.socket, name, guarded(name))
    patch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and checkpoints; without it the test is skipped."""
    folder = os.environ.get("OSTRICH_SHARED")
    if not folder:
        pytest.skip("needs real data and checkpoints: set OSTRICH_SHARED to their folder")
    return Path(folder)


@pytest.fixture
def always_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every checkpoint that is offered is written."""
    from ostrich.runtime import resumable

    monkeypatch.setattr(resumable, "EVERY", 0.0)
    monkeypatch.setattr(resumable, "SHARE", 1e9)


@pytest.fixture
def untouched_network() -> Iterator[Any]:
    """A network in a state of its own; after the test it must be exactly as it was."""
    import copy

    import nets  # after the threads are set
    import torch

    model = nets.small()
    network = model.network
    network.train()
    list(network.modules())[2].eval()
    first, second, *_ = network.parameters()
    first.requires_grad_(False)
    second.grad = torch.ones_like(second)
    before, values, grad = nets.state(network), copy.deepcopy(network.state_dict()), second.grad
    yield model
    assert nets.state(network) == before
    assert torch.equal(grad, torch.ones_like(second))
    assert all(torch.equal(values[key], value) for key, value in network.state_dict().items())


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A pretend device (tests/helpers/accelerator.py), which can be asked for by name as "cuda" can."""
    import torch  # after the threads are set
    from accelerated import accelerated

    from ostrich.models.loading import pick_device

    with accelerated() as device:
        by_name = torch.device(device.type)

        def pick(asked: str | torch.device) -> torch.device:
            return by_name if asked == device.type else pick_device(asked)

        studies = ("fitting", "generated", "stability", "steps", "systematic")
        for module in ("models.loading", *(f"studies.{name}" for name in studies)):
            monkeypatch.setattr(f"ostrich.{module}.pick_device", pick)
        yield device
