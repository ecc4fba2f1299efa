"""A key for much data, sealed by the vault."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.errors import VaultError
from edgemgr.vault.data_key import DataKey
from edgemgr.vault.vault import Vault

VAULT = Vault(bytes(range(32)))


@given(st.binary(max_size=5000), st.binary(max_size=20))
def test_what_is_sealed_opens_as_what_it_is(plain: bytes, what: bytes) -> None:
    key = DataKey(bytes(32), "backup|store-1")
    sealed = key.seal(plain, what=what)
    assert key.open_sealed(sealed, what=what) == plain
    assert sealed != key.seal(plain, what=what)
    with pytest.raises(ValueError, match="cannot be decrypted"):
        key.open_sealed(sealed, what=what + b"!")
    with pytest.raises(ValueError, match="cannot be decrypted"):
        DataKey(bytes(32), "backup|store-2").open_sealed(sealed, what=what)


@given(st.binary(min_size=1, max_size=60), st.data())
def test_every_flipped_bit_is_noticed(plain: bytes, data: st.DataObject) -> None:
    key = DataKey(bytes(32), "backup|store-1")
    sealed = bytearray(key.seal(plain, what=b"head"))
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ValueError, match="cannot be decrypted"):
        key.open_sealed(bytes(sealed), what=b"head")


def test_the_key_is_made_once_for_its_owner_alone_and_opens_what_it_sealed(tmp_path: Path) -> None:
    path = tmp_path / "key"
    sealed = DataKey.open(VAULT, path, "backup|store-1").seal(b"plain", what=b"x")
    assert path.stat().st_mode & 0o777 == 0o400
    assert [each.name for each in tmp_path.iterdir()] == ["key"]
    assert DataKey.open(VAULT, path, "backup|store-1").open_sealed(sealed, what=b"x") == b"plain"
    with pytest.raises(VaultError) as caught:
        DataKey.open(VAULT, path, "backup|store-2")
    assert caught.value.code == "E-VAULT-DAMAGED"
    with pytest.raises(VaultError) as caught:
        DataKey.open(Vault(bytes(32)), path, "backup|store-1")
    assert caught.value.code == "E-VAULT-KEY-MISSING"


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b'{"key_id": 1}', b"\xff"])
def test_a_damaged_key_file_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(VaultError) as caught:
        DataKey.open(VAULT, tmp_path / "key", "backup|store-1")
    assert caught.value.code == "E-VAULT-DAMAGED"
