"""Who may ask: a request that knows the token, from a page of this server, under one of its names.

The token stands in the address that is printed; its digest then lives in a cookie that scripts cannot read
and other sites cannot send. A foreign Host (DNS rebinding) or Origin (another site's page) is refused,
whatever it knows.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "ostrich"
ENTER = "/enter"  # where the token or password is typed in
OPEN = (ENTER, "/assets/report.css", "/assets/playground.css")  # what a page without a token is made of
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware that lets through who may ask. `hosts` are the names of this server, with its port.

    Where any address of its machine reaches it, `any_address` is its port: an address is nobody else's, as a
    name may be (DNS rebinding).
    """

    def __init__(
        self, app: ASGIApp, *, token: str, hosts: Iterable[str], any_address: int | None = None
    ) -> None:
        self.app, self._token, self._hosts, self._port = app, token, frozenset(hosts), any_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # no web sockets; starting and ending pass
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self.app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        """The answer to who may not ask; None where all is well."""
        headers, path, request = Headers(scope=scope), scope["path"], Request(scope)
        host = headers.get("host", "")
        if host not in self._hosts and not (self._port is not None and is_address(host, self._port)):
            return _refused("This server does not go by that name.", HTTPStatus.MISDIRECTED_REQUEST)
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc not in (*self._hosts, host):
            return _refused("Another site may not ask this server.")
        if scope["method"] not in ("GET", "HEAD") and origin is None:
            return _refused("A request that changes something says from which page it comes.")
        if path in OPEN:
            return None
        if path == "/" and (given := request.query_params.get("token")) is not None:
            return (
                entered(self._token)
                if is_token(given, self._token)
                else RedirectResponse(ENTER, HTTPStatus.SEE_OTHER)
            )
        if is_token(request.cookies.get(COOKIE, ""), cookie_of(self._token)):
            return None
        if path == "/":
            return RedirectResponse(ENTER, HTTPStatus.SEE_OTHER)
        return _refused("Open the address that `ostrich serve` printed.")


def is_address(host: str, port: int) -> bool:
    """Whether a Host is a numeric address with that port."""
    try:
        found = urlsplit("//" + host)
        ipaddress.ip_address(found.hostname or "")
        return found.port == port
    except ValueError:
        return False


def is_token(given: str, token: str) -> bool:
    """Whether that is the token; how long it takes to say so tells nothing of it."""
    return hmac.compare_digest(given.encode(), token.encode())


def entered(token: str) -> Response:
    """To the page, with the token's digest in a cookie."""
    answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
    answer.set_cookie(COOKIE, cookie_of(token), httponly=True, samesite="strict", path="/")
    return answer


def cookie_of(token: str) -> str:
    """What the cookie holds: a password may have letters that a header has not, and is nobody's to read."""
    return hashlib.sha256(token.encode()).hexdigest()


def _refused(sentence: str, status: HTTPStatus = HTTPStatus.FORBIDDEN) -> Response:
    return PlainTextResponse(sentence, status)
