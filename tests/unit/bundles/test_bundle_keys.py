"""Signing keys: two of three roots, one release key, and a chain that grows by rotation."""

from __future__ import annotations

import hashlib
import json
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from securesystemslib.formats import encode_canonical
from tests_support.bundle_files import MADE_AT, NOW, make_bundle, make_keys

from edgemgr.bundles.keys import export_root, init_keys, load_signer, rotate_key
from edgemgr.errors import BundleError

PASSPHRASE = b"correct horse"


def refusal(call: object, *args: object, **named: object) -> BundleError:
    with pytest.raises(BundleError) as caught:
        call(*args, **named)  # type: ignore[operator]
    return caught.value


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    info = make_keys(tmp_path / "keys")
    assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "keys/private").iterdir()} == {0o600}
    assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "keys", tmp_path / "keys/private")} == {0o700}
    assert (info.name, info.version, info.threshold) == ("vendor", 1, 2)
    assert (len(info.key_ids), len(info.release_key_ids)) == (3, 1)
    assert info.expires_at == MADE_AT + timedelta(days=1825)


def test_a_fingerprint_is_the_digest_of_the_canonical_signed_part(tmp_path: Path) -> None:
    info = make_keys(tmp_path / "keys")
    signed = json.loads(export_root(tmp_path / "keys"))["signed"]
    assert info.fingerprint == "SHA256:" + hashlib.sha256(str(encode_canonical(signed)).encode()).hexdigest()


def test_a_passphrase_protects_the_private_keys(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    init_keys(keys, name="vendor", purpose="release", passphrase=PASSPHRASE, now=NOW)
    assert all(b"BEGIN ENCRYPTED PRIVATE KEY" in p.read_bytes() for p in (keys / "private").iterdir())
    for wrong in (None, b"wrong"):
        assert refusal(load_signer, keys, wrong).code == "E-BUNDLE-PASSPHRASE"
    assert load_signer(keys, PASSPHRASE).root.version == 1
    assert rotate_key(keys, "release", passphrase=PASSPHRASE, now=NOW).version == 2


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    make_keys(tmp_path / "keys")
    before = export_root(tmp_path / "keys")
    assert refusal(make_keys, tmp_path / "keys").code == "E-BUNDLE-KEYS"
    assert export_root(tmp_path / "keys") == before


@pytest.mark.parametrize(("name", "purpose"), [("Vendor", "release"), ("../x", "release"), ("vendor", "test")])
def test_names_and_purposes_are_checked(tmp_path: Path, name: str, purpose: str) -> None:
    fault = refusal(init_keys, tmp_path / "keys", name=name, purpose=purpose, passphrase=None, now=NOW)
    assert fault.code == "E-BUNDLE-INPUT"
    assert not (tmp_path / "keys").exists()


def test_rotation_replaces_one_key_and_leaves_the_others(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    first = make_keys(keys)
    second = rotate_key(keys, "release", passphrase=None, now=NOW)
    assert second.key_ids == first.key_ids
    assert not set(second.release_key_ids) & set(first.release_key_ids)
    third = rotate_key(keys, "root-2", passphrase=None, now=NOW)
    assert len(set(third.key_ids) & set(first.key_ids)) == 2
    assert third.release_key_ids == second.release_key_ids
    assert len(list((keys / "private").iterdir())) == 4
    assert load_signer(keys, None).root == third


def test_one_root_key_may_be_lost_and_two_may_not(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    make_keys(keys)
    next((keys / "private").glob("root-1-*")).unlink()
    assert rotate_key(keys, "root-1", passphrase=None, now=NOW).version == 2
    for name in ("root-1", "root-2"):
        next((keys / "private").glob(f"{name}-*")).unlink()
    fault = refusal(rotate_key, keys, "release", passphrase=None, now=NOW)
    assert fault.code == "E-BUNDLE-KEYS"
    assert fault.message.startswith("1 of 2 root keys that are needed are in")
    assert load_signer(keys, None).root.version == 2


def test_bundles_are_made_without_the_root_keys(tmp_path: Path) -> None:
    make_keys(tmp_path / "keys")
    for path in (tmp_path / "keys/private").glob("root-*"):
        path.unlink()
    assert make_bundle(tmp_path, tmp_path / "keys").exists()
    next((tmp_path / "keys/private").glob("release-*")).unlink()
    assert refusal(load_signer, tmp_path / "keys", None).code == "E-BUNDLE-KEYS"


def test_wrong_directories_and_names_are_told(tmp_path: Path) -> None:
    assert refusal(load_signer, tmp_path, None).message == f"{tmp_path} holds no signing keys"
    make_keys(tmp_path / "keys")
    assert refusal(rotate_key, tmp_path / "keys", "root-4", passphrase=None, now=NOW).code == "E-BUNDLE-KEYS"


def test_a_file_with_another_key_is_noticed(tmp_path: Path) -> None:
    make_keys(tmp_path / "a")
    make_keys(tmp_path / "b")
    mine, other = (next((tmp_path / d / "private").glob("release-*")) for d in ("a", "b"))
    mine.write_bytes(other.read_bytes())
    assert "holds another key" in refusal(load_signer, tmp_path / "a", None).message
    mine.write_text("nothing")
    assert refusal(load_signer, tmp_path / "a", None).code == "E-BUNDLE-KEYS"
