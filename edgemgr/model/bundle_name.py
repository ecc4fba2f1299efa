"""BundleName: how commands and addresses name a bundle."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgemgr.errors import UsageError

_NAME = re.compile(r"([a-z0-9][a-z0-9-]{0,62})/([a-z0-9][a-z0-9.-]{0,62})/([1-9][0-9]{0,9})", re.ASCII)


@dataclass(frozen=True)
class BundleName:
    """Product, channel and number: no two bundles share all three."""

    product: str
    channel: str
    number: int

    @classmethod
    def parse(cls, text: str) -> BundleName:
        """Read `retail/stable/12`.

        Raises:
            UsageError: it is no name of a bundle (E-BUNDLE-NAME).
        """
        match = _NAME.fullmatch(text.strip())
        if match is None:
            raise UsageError(
                f"{text!r} is no name of a bundle",
                hint="Write product, channel and number, for example retail/stable/12; `edgemgr bundle list` has them.",
                code="E-BUNDLE-NAME",
            )
        return cls(match[1], match[2], int(match[3]))

    def __str__(self) -> str:
        return f"{self.product}/{self.channel}/{self.number}"
