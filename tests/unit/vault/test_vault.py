from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.errors import VaultError
from edgemgr.model.secret import Secret
from edgemgr.vault.vault import Vault

KEY = bytes(range(32))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.text(max_size=40))
def test_what_was_sealed_opens_in_its_own_context(text: str, context: str) -> None:
    vault = Vault(KEY)
    sealed = vault.seal(Secret(text), context=context)
    assert vault.open_sealed(sealed, context=context).reveal() == text


def test_a_record_moved_to_another_row_cannot_be_opened() -> None:
    vault = Vault(KEY)
    sealed = vault.seal(Secret("canary"), context="secret|1|password")
    with pytest.raises(VaultError) as caught:
        vault.open_sealed(sealed, context="secret|2|password")
    assert caught.value.code == "E-VAULT-DAMAGED"


@pytest.mark.parametrize("part", ["wrapped_key", "nonce", "ciphertext"])
def test_one_changed_bit_is_noticed(part: str) -> None:
    vault = Vault(KEY)
    sealed = vault.seal(Secret("canary"), context="c")
    value = bytearray(getattr(sealed, part))
    value[-1] ^= 1
    with pytest.raises(VaultError) as caught:
        vault.open_sealed(dataclasses.replace(sealed, **{part: bytes(value)}), context="c")
    assert caught.value.code == "E-VAULT-DAMAGED"


@pytest.mark.parametrize("part", ["wrapped_key", "nonce", "ciphertext"])
def test_an_emptied_part_is_damage_and_no_traceback(part: str) -> None:
    vault = Vault(KEY)
    sealed = dataclasses.replace(vault.seal(Secret("canary"), context="c"), **{part: b""})
    with pytest.raises(VaultError):
        vault.open_sealed(sealed, context="c")


def test_a_secret_of_another_key_names_both_keys() -> None:
    sealed = Vault(KEY).seal(Secret("canary"), context="c")
    other = Vault(bytes(32))
    with pytest.raises(VaultError) as caught:
        other.open_sealed(sealed, context="c")
    assert caught.value.code == "E-VAULT-KEY-MISSING"
    assert Vault(KEY).key_id in caught.value.message
    assert other.key_id in caught.value.message


def test_sealing_twice_gives_nothing_in_common() -> None:
    vault = Vault(KEY)
    first, second = (vault.seal(Secret("canary"), context="c") for _ in range(2))
    assert first.nonce != second.nonce
    assert first.ciphertext != second.ciphertext
    assert first.wrapped_key != second.wrapped_key


def test_the_key_file_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    first = Vault.open(path)
    assert path.stat().st_mode & 0o777 == 0o400
    assert Vault.open(path).key_id == first.key_id
    assert list(tmp_path.iterdir()) == [path]


def test_many_that_open_a_new_vault_at_once_get_the_same_key(tmp_path: Path) -> None:
    ids: list[str] = []
    start = threading.Barrier(8)

    def work() -> None:
        start.wait(10)
        ids.append(Vault.open(tmp_path / "secret.key").key_id)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(ids) == 8
    assert len(set(ids)) == 1


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o644, 0o660])
def test_a_key_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret.key"
    Vault.open(path)
    path.chmod(mode)
    with pytest.raises(VaultError) as caught:
        Vault.open(path)
    assert caught.value.code == "E-VAULT-KEY-OPEN"


@pytest.mark.parametrize("content", ["", "abc", "00" * 31, "00" * 33, "zz" * 32, "\x00\xff"])
def test_a_file_that_is_no_key_is_refused_and_kept(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secret.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(VaultError) as caught:
        Vault.open(path)
    assert caught.value.code == "E-VAULT-KEY-FORMAT"
    assert path.read_text() == content


def test_a_directory_in_the_place_of_the_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VaultError):
        Vault.open(tmp_path)


def test_a_key_that_cannot_be_made_says_where(tmp_path: Path) -> None:
    with pytest.raises(VaultError) as caught:
        Vault.open(tmp_path / "missing" / "secret.key")
    assert caught.value.code == "E-VAULT-KEY-FILE"
    assert "missing" in caught.value.message
