"""Bundles of several GiB: one file of zeros, so that making them costs little disk."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgemgr.bundles.names import CHUNK_BYTES
from edgemgr.bundles.payload import Payload
from edgemgr.model.content import PLACES, TargetCustom, TargetKind
from tests_support.bundle_shop import BundleShop


def sparse_bundle(shop: BundleShop, size_bytes: int) -> Path:
    """A bundle with one chart of so many zeros, and a byte at its end that is none."""
    path = shop.directory / "payload" / "sparse"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.seek(size_bytes - 1)
        file.write(b"\x01")
    whole, chunks = hashlib.sha256(), []
    with path.open("rb") as file:
        while block := file.read(CHUNK_BYTES):
            whole.update(block)
            chunks.append(hashlib.sha256(block).hexdigest())
    custom = TargetCustom(
        kind=TargetKind.CHART, place=PLACES[TargetKind.CHART], chunk_bytes=CHUNK_BYTES, chunks=tuple(chunks)
    )
    return shop.bundle(more=[Payload("charts/zeros.tgz", whole.hexdigest(), size_bytes, custom, path)])
