"""How an endpoint gets at the appliance."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from edgemgr.app import App


def _appliance(request: Request) -> App:
    opened: App = request.app.state.appliance
    return opened


#: As the type of an endpoint's parameter: the appliance that this console belongs to.
Appliance = Annotated[App, Depends(_appliance)]
