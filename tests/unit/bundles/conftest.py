"""One good bundle and its keys, made once; no test changes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests_support.bundle_files import NOW, make_bundle, make_keys, trusting

from edgemgr.bundles.content import Content
from edgemgr.bundles.trust import TrustStore
from edgemgr.bundles.verify import verify_bundle


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


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Good:
    """A good bundle."""
    base = tmp_path_factory.mktemp("good-bundle")
    make_keys(base / "keys")
    (base / "scratch").mkdir()
    return Good(
        base / "keys", make_bundle(base, base / "keys"), trusting(base / "trust", base / "keys"), base / "scratch"
    )
