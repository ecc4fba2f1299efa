"""What every answer carries and every request must satisfy, whatever the endpoint does.

The policy lets a page load nothing but our own files: markup that a hostile site smuggled into a page runs nothing.
The Host header is checked because a name that somebody else's DNS points to 127.0.0.1 would otherwise make a
visitor's browser read the console for them (DNS rebinding). What changes something is taken only from our own pages, or
from a program that is no browser: browsers say where a request comes from, in `Sec-Fetch-Site` or `Origin` (W3C Fetch
Metadata), and a page cannot change what they say.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_READS = ("GET",)
_WRITES = ("POST", "PATCH", "DELETE")
#: The only parts of the console that take anything in: signed bundles, and the wish to have one brought to sites, which
#: disturbs nothing there (docs/adr/0011). Whoever may reach the rest only looks.
_WRITABLE = re.compile(r"/api/v1/bundle-uploads(/.*)?|/api/v1/stages|/stages")


class Protection:
    """ASGI middleware around the whole console."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what must not pass, hand on the rest, and add the headers to either answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await (self._refusal(scope) or self._app)(scope, receive, send_protected)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        if _host_name(Headers(scope=scope).get("host", "")) not in self._hosts:
            return PlainTextResponse("This host name is not the console's: use http://127.0.0.1.\n", status_code=400)
        if scope["method"] in _READS:
            return None
        if scope["method"] not in _WRITES or not _WRITABLE.fullmatch(scope["path"]):
            return PlainTextResponse(
                "This cannot be changed here yet: use the command line.\n",
                status_code=405,
                headers={"allow": ", ".join(_READS)},
            )
        if not _is_ours(Headers(scope=scope)):
            return PlainTextResponse("This request comes from the page of somebody else.\n", status_code=403)
        return None


def _is_ours(headers: Headers) -> bool:
    """Whether a request that changes something comes from our own pages, or from no browser at all."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2].lower() == headers.get("host", "").lower()


def _host_name(header: str) -> str:
    """The name without the port: behind an SSH tunnel the port is another one."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()
