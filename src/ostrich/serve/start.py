"""Open the port, say the address, and serve until the terminal is closed."""

from __future__ import annotations

import ipaddress
import logging
import secrets
import socket
from collections.abc import Callable
from contextlib import ExitStack

import uvicorn

from ostrich.errors import InputError
from ostrich.serve.app import application
from ostrich.serve.playground import Playground

LOCAL, EVERYWHERE = "127.0.0.1", ("0.0.0.0", "::")
BACKLOG, AT_ONCE = 64, 64  # connections that wait; requests at a time
SHORTEST = 12  # characters of a password


def serve(
    playground: Playground,
    *,
    host: str = LOCAL,
    port: int = 8000,
    password: str | None = None,
    ready: Callable[[str], None],
) -> None:
    """Serve until interrupted; `ready` is told the address once the port is open.

    Elsewhere than on this machine a `password` takes the place of the token in the address. Raises InputError
    for a port that is taken or not to be had, and a password that is too short.
    """
    if password is not None and len(password) < SHORTEST:
        raise InputError(f"A password has at least {SHORTEST} characters.")
    token = password or secrets.token_urlsafe(32)
    with _opened(host, port) as door:
        port = door.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        names = {shown, "localhost"} if is_local(host) else {shown, socket.gethostname()}
        app = application(
            playground,
            token=token,
            hosts={f"{name}:{port}" for name in names},
            any_address=port if host in EVERYWHERE else None,
        )
        config = uvicorn.Config(
            app,
            log_level="warning",
            limit_concurrency=AT_ONCE,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=3,
            server_header=False,
            date_header=False,
            ws="none",
        )
        logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of every page that is left
        ready(f"http://{shown}:{port}/" + ("" if password else f"?token={token}"))
        uvicorn.Server(config).run(sockets=[door])


def is_local(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _opened(host: str, port: int) -> socket.socket:
    """A listening socket. Raises InputError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as where_it_fails:
            door = where_it_fails.enter_context(socket.socket(family, kind, protocol))
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind(address)
            door.listen(BACKLOG)
            where_it_fails.pop_all()
    except (OSError, OverflowError) as error:
        raise InputError(f"Port {port} of {host} is not to be had: {error}.") from None
    return door
