"""What is signed for a site without a link: the work order that goes there, and the receipt that comes back."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from edgemgr.model.digest import Digest
from edgemgr.model.release import Arch

_Fingerprint = Annotated[str, StringConstraints(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$")]
_SiteName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]
_BundleName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9./-]{1,160}$")]
_MOST = 2**53 - 1  # what every reader of JSON can count


class _Signed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def signed_bytes(self) -> bytes:
        """One line in the one form: keys sorted, no blanks, ASCII."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode() + b"\n"


class OrderedSite(_Signed):
    """One site of a work order: just enough to know itself by. No address, no user, no label."""

    name: _SiteName
    host_key: _Fingerprint  #: that is pinned
    arch: Arch


class OrderDocument(_Signed):
    """A work order. The program on the stick reads it (links/stick_stage.py)."""

    format: Literal["edgemgr-workorder"] = "edgemgr-workorder"
    version: Literal[1] = 1
    number: int = Field(ge=1, le=_MOST)  #: of this appliance's orders
    bundle: _BundleName
    created_at: datetime
    expires_at: datetime
    reserve_bytes: int = Field(ge=0, le=_MOST)  #: what has to stay free on a node
    piece_bytes: int = Field(ge=1, le=_MOST)  #: a larger blob lies on the stick as DIGEST.001, DIGEST.002, …
    sites: tuple[OrderedSite, ...]
    content: dict[Arch, tuple[Digest, ...]]  #: what sites of an architecture get
    blobs: dict[Digest, int]  #: sizes


class ReceiptDocument(_Signed):
    """What a site says that it did for a work order. Read it with `model_validate_json`."""

    format: Literal["edgemgr-receipt"]
    version: Literal[1]
    order: int = Field(ge=1, le=_MOST)
    order_digest: Digest  #: SHA-256 of the order's signed line: the number alone may come again after a restore
    site: _SiteName
    host_key: _Fingerprint
    arch: Arch
    blobs: tuple[Digest, ...] = Field(max_length=50_000)  #: sorted; each was hashed on the node and lies in its store
    copied_bytes: int = Field(ge=0, le=_MOST)
    begun_at: datetime  #: by the node's clock, as is the next
    finished_at: datetime

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        if self.begun_at.tzinfo is None or self.finished_at.tzinfo is None:
            raise ValueError("a time has a zone")
        if list(self.blobs) != sorted(set(self.blobs)):
            raise ValueError("its blobs are not sorted, or come twice")
        return self
