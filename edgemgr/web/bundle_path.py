"""A bundle's name as the end of an address: PRODUCT/CHANNEL/NUMBER."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from edgemgr.model.bundle_name import BundleName

#: For the route of an endpoint that takes a `NamedBundle`.
BUNDLE_PATH = "/bundles/{product}/{channel}/{number}"


def _name(product: str, channel: str, number: str) -> BundleName:
    return BundleName.parse(f"{product}/{channel}/{number}")


#: As the type of an endpoint's parameter: the bundle that its address names, which need not exist.
NamedBundle = Annotated[BundleName, Depends(_name)]
