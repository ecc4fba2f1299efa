"""The console, put together: pages, live fragments, JSON, static files, and what protects them."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.types import ASGIApp

from edgemgr import __version__
from edgemgr.app import App
from edgemgr.web import faults
from edgemgr.web.api import bundle_uploads, bundles, operations, queue, sites, stages
from edgemgr.web.assets import Assets
from edgemgr.web.bundle_imports import BundleImports
from edgemgr.web.console import bundle_pages, live, pages
from edgemgr.web.listen import ListenAddress
from edgemgr.web.protection import Protection

_OWN_NAMES = ("localhost", "127.0.0.1", "::1")


class Console(FastAPI):
    """FastAPI with the protection outermost: around its own answer to a fault, too."""

    def build_middleware_stack(self) -> ASGIApp:
        """What a request passes through."""
        return Protection(super().build_middleware_stack(), hosts=self.state.hosts)


def make_console(app: App) -> FastAPI:
    """The web application of an opened appliance.

    Raises:
        ConfigurationError: `settings.listen` is no address, or one that other machines can reach (E-CONFIG-LISTEN).
    """
    listen = ListenAddress.parse(app.settings.listen)
    console = Console(
        title="edgemgr",
        version=__version__,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # FastAPI's own pages of documentation load their scripts from the internet
        redoc_url=None,
    )
    console.state.appliance = app
    console.state.imports = BundleImports(app)
    console.state.hosts = {*_OWN_NAMES, listen.host}
    for router in (pages.router, bundle_pages.router, live.router):
        console.include_router(router, include_in_schema=False)
    for router in (sites.router, operations.router, queue.router, bundles.router, bundle_uploads.router, stages.router):
        console.include_router(router, prefix="/api/v1")
    console.mount("/static", Assets(), name="static")
    faults.register(console)
    return console
