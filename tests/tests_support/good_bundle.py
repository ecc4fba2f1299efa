"""A good bundle, for tests that damage copies of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgemgr.bundles.content import Content
from edgemgr.bundles.trust import TrustStore
from edgemgr.bundles.verify import verify_bundle
from tests_support.bundle_files import NOW


@dataclass(frozen=True)
class Good:
    """A good bundle, its keys, a store that trusts them, and a place for copies."""

    keys: Path
    bundle: Path
    trust: TrustStore
    scratch: Path

    @property
    def data(self) -> bytes:
        """The bytes of the bundle."""
        return self.bundle.read_bytes()

    def verify(self, data: bytes) -> Content:
        """Verify these bytes instead."""
        path = self.scratch / "retail.emb"
        path.write_bytes(data)
        return verify_bundle(path, self.trust, now=NOW)
