from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests_support.stick_node import KINDS, make_key, signed_by

from edgemgr.links.access_key import make_key_pair
from edgemgr.links.host_keys import fingerprint
from edgemgr.links.ssh_signature import WrongSignerError, public_blob, sign, verify
from edgemgr.links.stick_keys import armor, code_of, fingerprint_of, is_code, signer_of, split_signed, unpack_armor

PAIR = make_key_pair("test")
BLOB = public_blob(PAIR.public)
PIN = fingerprint_of(BLOB)
SIGNATURE = sign(b"text\n", PAIR.private, "ours")


def test_openssh_accepts_what_is_signed_here(tmp_path: Path) -> None:
    (tmp_path / "allowed").write_text(f"appliance {PAIR.public}\n")
    (tmp_path / "signature").write_bytes(SIGNATURE)
    command = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "appliance", "-n", "ours", "-s", "signature"]
    done = [
        subprocess.run(command, cwd=tmp_path, input=text, capture_output=True, timeout=30, check=False).returncode
        for text in (b"text\n", b"other\n")
    ]
    assert done[0] == 0
    assert done[1] != 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_openssh_signs_with_any_kind_of_host_key_is_accepted_here(tmp_path: Path, kind: str) -> None:
    make_key(tmp_path / "key", kind)
    payload, signature = split_signed(signed_by(tmp_path / "key", {"order": 1}))
    pin = fingerprint((tmp_path / "key.pub").read_text())
    verify(payload, signature, pin=pin, namespace="edgemgr-receipt")
    assert fingerprint_of(signer_of(signature)) == pin
    with pytest.raises(ValueError, match="changed"):
        verify(payload.replace(b"1", b"2"), signature, pin=pin, namespace="edgemgr-receipt")


def test_a_signature_for_another_purpose_or_by_another_key_is_refused() -> None:
    verify(b"text\n", SIGNATURE, pin=PIN, namespace="ours")
    with pytest.raises(ValueError, match="another purpose"):
        verify(b"text\n", SIGNATURE, pin=PIN, namespace="theirs")
    other = fingerprint_of(public_blob(make_key_pair("other").public))
    with pytest.raises(WrongSignerError) as caught:
        verify(b"text\n", SIGNATURE, pin=other, namespace="ours")
    assert caught.value.fingerprint == PIN


def test_every_flipped_bit_of_a_signature_is_refused() -> None:
    blob = unpack_armor(SIGNATURE)
    for at in range(6, len(blob)):
        damaged = bytearray(blob)
        damaged[at] ^= 1 << at % 8
        with pytest.raises((ValueError, WrongSignerError)):
            verify(b"text\n", armor(bytes(damaged)), pin=PIN, namespace="ours")


@given(st.binary(max_size=300))
def test_no_bytes_whatever_pass_for_a_signature_or_raise_anything_unforeseen(data: bytes) -> None:
    for blob in (data, b"SSHSIG\0\0\0\1" + data):
        with pytest.raises((ValueError, WrongSignerError)):
            verify(b"text\n", armor(blob), pin=PIN, namespace="ours")


def test_a_signed_file_is_one_line_and_a_signature() -> None:
    assert split_signed(b"text\n" + SIGNATURE) == (b"text\n", SIGNATURE)
    for data in (b"", b"text\n", SIGNATURE, b"text" + SIGNATURE, b"text\n" + SIGNATURE + b" ", b"a\nb\n" + SIGNATURE):
        with pytest.raises(ValueError, match="one line"):
            split_signed(data)


def test_the_code_of_a_key_can_be_typed_as_people_type() -> None:
    code = code_of(BLOB)
    assert [len(group) for group in code.split("-")] == [4, 4, 4, 4, 4]
    for typed in (code, code.lower(), code.replace("-", " "), f" {code}\n", code.replace("O", "0").replace("B", "8")):
        assert is_code(typed, BLOB)
    for typed in ("", code[:-1], code + "A", code_of(public_blob(make_key_pair("other").public))):
        assert not is_code(typed, BLOB)
