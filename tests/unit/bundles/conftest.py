"""One good bundle and its keys, made once; no test changes them."""

from __future__ import annotations

import pytest
from tests_support.bundle_files import make_bundle, make_keys, trusting
from tests_support.good_bundle import Good


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Good:
    """A good bundle."""
    base = tmp_path_factory.mktemp("good-bundle")
    make_keys(base / "keys")
    (base / "scratch").mkdir()
    return Good(
        base / "keys", make_bundle(base, base / "keys"), trusting(base / "trust", base / "keys"), base / "scratch"
    )
