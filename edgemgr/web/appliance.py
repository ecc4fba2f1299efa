"""How an endpoint gets at the appliance."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from edgemgr.app import App
from edgemgr.web.bundle_imports import BundleImports


def _appliance(request: Request) -> App:
    opened: App = request.app.state.appliance
    return opened


#: As the type of an endpoint's parameter: the appliance that this console belongs to.
Appliance = Annotated[App, Depends(_appliance)]


def _imports(request: Request) -> BundleImports:
    imports: BundleImports = request.app.state.imports
    return imports


#: The same for the imports of uploaded bundles.
Imports = Annotated[BundleImports, Depends(_imports)]
