"""Pinning roots: by a fingerprint that came another way, and by nothing else."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from tests_support.bundle_files import MADE_AT, NOW, make_keys, trusting

from edgemgr.bundles.keys import export_chain, export_root, load_signer, rotate_key
from edgemgr.bundles.trust import TrustStore
from edgemgr.errors import BundleError


def refusal(store: TrustStore, data: bytes, fingerprint: str, days: int = 0) -> BundleError:
    with pytest.raises(BundleError) as caught:
        store.add_root(data, fingerprint=fingerprint, now=NOW + timedelta(days=days))
    return caught.value


def test_no_root_is_trusted_by_itself(tmp_path: Path) -> None:
    assert TrustStore(tmp_path / "trust").roots() == []


def test_a_root_is_pinned_by_its_fingerprint_however_it_is_written(tmp_path: Path) -> None:
    info = make_keys(tmp_path / "keys")
    root = export_root(tmp_path / "keys")
    store = TrustStore(tmp_path / "trust")
    digits = info.fingerprint.removeprefix("SHA256:")
    for text in (info.fingerprint, digits.upper(), " ".join((digits[:32], digits[32:]))):
        assert store.add_root(root, fingerprint=text, now=NOW) == info
    assert store.roots() == [info]
    assert (tmp_path / "trust/vendor/fingerprint").read_text() == f"{info.fingerprint}\n"


def test_another_fingerprint_is_refused(tmp_path: Path) -> None:
    info = make_keys(tmp_path / "keys")
    other = make_keys(tmp_path / "other")
    store = TrustStore(tmp_path / "trust")
    for fingerprint in (other.fingerprint, "", info.fingerprint[:-1]):
        assert refusal(store, export_root(tmp_path / "keys"), fingerprint).code == "E-BUNDLE-FINGERPRINT"
    assert store.roots() == []


def test_a_root_without_enough_signatures_is_refused(tmp_path: Path) -> None:
    info = make_keys(tmp_path / "keys")
    root = json.loads(export_root(tmp_path / "keys"))
    root["signatures"] = root["signatures"][:1]
    data = json.dumps(root, sort_keys=True, separators=(",", ":")).encode()
    fault = refusal(TrustStore(tmp_path / "trust"), data, info.fingerprint)
    assert fault.code == "E-B020"
    assert "1 of 2 needed signatures are valid" in fault.message


def test_what_is_no_root_and_what_has_expired_is_refused(tmp_path: Path) -> None:
    info = make_keys(tmp_path / "keys")
    store = TrustStore(tmp_path / "trust")
    for data in (b"", b"{}", b"x" * 600_000):
        assert refusal(store, data, info.fingerprint).code == "E-B012"
    assert refusal(store, export_root(tmp_path / "keys"), info.fingerprint, days=2000).code == "E-B030"


def test_a_name_belongs_to_one_line_of_roots(tmp_path: Path) -> None:
    make_keys(tmp_path / "keys")
    other = make_keys(tmp_path / "other")
    store = trusting(tmp_path / "trust", tmp_path / "keys")
    fault = refusal(store, export_root(tmp_path / "other"), other.fingerprint)
    assert fault.code == "E-BUNDLE-ROOT"
    owner = make_keys(tmp_path / "owner", name="site-owner")
    store.add_root(export_root(tmp_path / "owner"), fingerprint=owner.fingerprint, now=NOW)
    assert [root.name for root in store.roots()] == ["site-owner", "vendor"]


def test_a_later_root_comes_by_the_chain_and_not_by_hand(tmp_path: Path) -> None:
    make_keys(tmp_path / "keys")
    store = trusting(tmp_path / "trust", tmp_path / "keys")
    later = rotate_key(tmp_path / "keys", "root-1", passphrase=None, now=MADE_AT)
    assert refusal(store, export_root(tmp_path / "keys"), later.fingerprint).code == "E-BUNDLE-ROOT"


def test_a_later_root_can_be_the_first(tmp_path: Path) -> None:
    make_keys(tmp_path / "keys")
    later = rotate_key(tmp_path / "keys", "root-1", passphrase=None, now=MADE_AT)
    assert trusting(tmp_path / "trust", tmp_path / "keys").roots() == [later]


def test_a_development_root_does_not_come_beside_a_release_root(tmp_path: Path) -> None:
    make_keys(tmp_path / "keys")
    make_keys(tmp_path / "dev", name="dev", purpose="development")
    store = trusting(tmp_path / "trust", tmp_path / "keys")
    fingerprint = load_signer(tmp_path / "dev", None).root.fingerprint
    assert refusal(store, export_root(tmp_path / "dev"), fingerprint).code == "E-B022"


def test_damaged_trust_is_no_trust(tmp_path: Path) -> None:
    make_keys(tmp_path / "keys")
    store = trusting(tmp_path / "trust", tmp_path / "keys")
    (tmp_path / "trust/vendor/root.json").write_bytes(b"{}")
    with pytest.raises(BundleError, match="cannot be read"):
        store.roots()


def updated(tmp_path: Path, rotations: int = 3) -> tuple[TrustStore, list[bytes]]:
    """An appliance that trusts root 1, and the roots that were made since, a line each."""
    make_keys(tmp_path / "keys")
    store = trusting(tmp_path / "trust", tmp_path / "keys")
    for _ in range(rotations):
        rotate_key(tmp_path / "keys", "release", passphrase=None, now=MADE_AT)
    return store, export_chain(tmp_path / "keys").splitlines(keepends=True)


def refused_update(store: TrustStore, data: bytes, days: int = 0) -> BundleError:
    before = store.roots()
    with pytest.raises(BundleError) as caught:
        store.update_root(data, now=NOW + timedelta(days=days))
    assert store.roots() == before
    return caught.value


def test_an_update_of_roots_leads_on_from_the_trusted_one(tmp_path: Path) -> None:
    store, lines = updated(tmp_path)
    assert len(lines) == 4
    info, is_new = store.update_root(lines[1].rstrip(), now=NOW)  # one root alone is an update too
    assert (info.version, is_new, [root.version for root in store.roots()]) == (2, True, [2])
    info, is_new = store.update_root(b"".join(lines), now=NOW)
    assert (info.version, is_new, [root.version for root in store.roots()]) == (4, True, [4])
    assert store.root("vendor", 3) is not None
    for older in (lines[0], b"".join(lines[:3]), b"".join(lines)):
        assert store.update_root(older, now=NOW) == (info, False)
    assert store.roots() == [info]


def test_an_update_that_leaves_roots_out_is_refused_and_they_are_named(tmp_path: Path) -> None:
    store, lines = updated(tmp_path)
    fault = refused_update(store, lines[3])
    assert (fault.code, "contains 2 and 3" in (fault.hint or "")) == ("E-B021", True)
    assert refused_update(store, lines[0] + lines[2]).code == "E-B021"
    assert refused_update(store, lines[2] + lines[1]).code == "E-B021"


def test_an_update_of_another_line_of_roots_is_refused(tmp_path: Path) -> None:
    store, lines = updated(tmp_path, 1)
    make_keys(tmp_path / "thief")
    rotate_key(tmp_path / "thief", "release", passphrase=None, now=MADE_AT)
    forged = export_chain(tmp_path / "thief").splitlines(keepends=True)
    assert refused_update(store, b"".join(forged)).code == "E-B020"
    assert refused_update(store, forged[1]).code == "E-B020"
    assert refused_update(store, lines[0] + forged[1]).code == "E-B020"
    make_keys(tmp_path / "stranger", name="stranger")
    assert refused_update(store, export_chain(tmp_path / "stranger")).code == "E-B020"


@pytest.mark.parametrize("data", [b"", b"\n", b"{}\n", b"x" * 600_000, b"{}\n" * 33])
def test_what_is_no_update_of_roots_is_refused(tmp_path: Path, data: bytes) -> None:
    assert refused_update(updated(tmp_path, 0)[0], data).code == "E-B012"


def test_an_update_that_has_expired_is_refused(tmp_path: Path) -> None:
    store, lines = updated(tmp_path, 1)
    assert refused_update(store, b"".join(lines), days=365 * 40).code == "E-B030"
