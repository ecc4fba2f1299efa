"""Our own static files, with a name that changes when the content does, so that browsers may keep them for good."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC_DIR = Path(__file__).parent / "static"
_FOR_GOOD = "public, max-age=31536000, immutable"
_DIGEST_LENGTH = 12


@cache
def asset_url(path: str) -> str:
    """The address of a file below `static/`, as `/static/console.css?v=1a2b3c4d5e6f`."""
    digest = hashlib.sha256((STATIC_DIR / path).read_bytes()).hexdigest()
    return f"/static/{path}?v={digest[:_DIGEST_LENGTH]}"


class Assets(StaticFiles):
    """Serves `static/`."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC_DIR)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file; kept by browsers where the address names its content."""
        response = await super().get_response(path, scope)
        if scope["query_string"].startswith(b"v=") and response.status_code < 400:  # noqa: PLR2004 - HTTP's bound
            response.headers["cache-control"] = _FOR_GOOD
        return response
