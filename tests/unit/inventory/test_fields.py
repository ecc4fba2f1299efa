from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.inventory import fields, key_fields
from edgemgr.inventory.columns import BY_NAME, COLUMNS, find
from edgemgr.inventory.field_fault import FieldFault
from edgemgr.inventory.formula import defuse, restore


@pytest.mark.parametrize("text", ["a", "store-0001", "a.b-c", "0", "x" * 63])
def test_names_like_those_of_hosts_are_taken(text: str) -> None:
    assert fields.name(text) == text


@pytest.mark.parametrize(
    ("text", "instead"),
    [("Store 1", "store-1"), ("-rf", "rf"), ("x" * 64, "x" * 63), ("é", "store-0001"), ("a\n", "for example a.")],
)
def test_other_names_are_refused_with_one_that_would_do(text: str, instead: str) -> None:
    with pytest.raises(FieldFault) as caught:
        fields.name(text)
    assert instead in caught.value.hint


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("Store-1.Example.COM", "store-1.example.com"),
        ("localhost", "localhost"),
    ],
)
def test_an_address_is_kept_in_the_one_form_that_shows_duplicates(text: str, kept: str) -> None:
    assert fields.address(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.300", "192.0.2.01", "192.0.2", "2130706433", "0x7f000001", "a.0x1", "224.0.0.1", "::",
        "fe80::1%eth0", "-oProxyCommand=id", "a b", "a;b", "$(id)", "host:22", "a..b", "a.", "x" * 254, "a\n", "{{x}}",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(FieldFault) as caught:
        fields.address(text)
    assert caught.value.code == "E-CSV-ADDRESS"


@pytest.mark.parametrize("text", ["0", "65536", "-1", "22.0", "٢٢", "022222", "", "1e3", "+22"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(FieldFault):
        fields.port(text)


@pytest.mark.parametrize("text", ["-l", "Root", "a b", "a$(id)", "a\\b", "x" * 33, "a\n", "1a"])
def test_a_user_that_could_become_an_option_or_a_command_is_refused(text: str) -> None:
    with pytest.raises(FieldFault):
        fields.user(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("edge@198.51.100.1", ("edge", "198.51.100.1", 22)),
        ("edge@198.51.100.1:2200", ("edge", "198.51.100.1", 2200)),
        ("edge@[2001:db8::1]:22", ("edge", "2001:db8::1", 22)),
        ("edge@relay.example.com", ("edge", "relay.example.com", 22)),
    ],
)
def test_a_jump_host_is_user_host_and_port(text: str, expected: tuple[str, str, int]) -> None:
    assert fields.jump(text) == expected
    assert fields.jump(BY_NAME["jump"].write(*expected)) == expected


@pytest.mark.parametrize("text", ["relay", "a@", "@b", "a@b:c", "a@b:22:22", "-o@b", "a@2001:db8::1", "a@b@c", "a@[b"])
def test_what_is_no_jump_host_is_refused(text: str) -> None:
    with pytest.raises(FieldFault) as caught:
        fields.jump(text)
    assert caught.value.code == "E-CSV-JUMP"


@pytest.mark.parametrize(
    ("read", "text", "instead"),
    [
        (fields.arch, "x86_64", "Write amd64."),
        (fields.arch, "aarch64", "Write arm64."),
        (fields.arch, "AMD64", "Write amd64."),
        (fields.arch, "riscv64", "Write amd64, arm64 or arm."),
        (fields.timezone, "Europe/Berln", "Write Europe/Berlin."),
        (fields.timezone, "europe/paris", "Write Europe/Paris."),
        (fields.timezone, "../../etc/passwd", "Write for example Europe/Berlin."),
        (fields.latitude, "52,52", "Write for example 52.52."),
        (fields.latitude, "90.1", "52.52"),
        (fields.latitude, "nan", "52.52"),
        (fields.longitude, "1_0", "13.405"),
        (fields.longitude, "inf", "13.405"),
    ],
)
def test_a_refusal_says_what_to_write_instead(read: object, text: str, instead: str) -> None:
    with pytest.raises(FieldFault) as caught:
        read(text)  # type: ignore[operator]
    assert instead in caught.value.hint


@pytest.mark.parametrize("text", ["{{ lookup('pipe','id') }}", "{% if %}", "{# x", "a\x1b[2J", "a\x00", "a\x85b"])
def test_templates_and_control_characters_are_refused_in_free_text(text: str) -> None:
    with pytest.raises(FieldFault):
        fields.notes(text)


def test_notes_keep_their_line_breaks() -> None:
    assert fields.notes("one\r\ntwo\tthree") == "one\ntwo\tthree"


def _public(key: Ed25519PrivateKey | rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def test_a_full_host_key_loses_its_comment_and_shows_its_fingerprint() -> None:
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGsHBDz0LvTsJcL6mkUkndck6bjMjXCz7ax4Vm/Ibmjl"
    known = "SHA256:cml5knqWaxwtNcl25J10spvcfRcOeIZNWwC4+RRqqGA"  # as ssh-keygen -lf prints it for this key
    assert key_fields.host_key(f"{line} root@somewhere") == (line, known)
    assert key_fields.host_key(known) == (None, known)
    assert key_fields.host_key(f"{known}=") == (None, known)


@pytest.mark.parametrize(
    "text",
    [
        "SHA256:abc",
        "SHA256:" + "/" * 43,  # the last character carries bits that a SHA-256 does not have
        "MD5:1a:2b:3c:4d:5e:6f:70:81:92:a3:b4:c5:d6:e7:f8:09",
        "1a:2b:3c:4d:5e:6f:70:81:92:a3:b4:c5:d6:e7:f8:09",
        "ssh-dss AAAAB3NzaC1kc3MAAAAA",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGsHBDz0LvTsJcL6mkUkndck",
        "ssh-ed25519",
        "ssh-ed25519 !!!!",
        "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIGsHBDz0LvTsJcL6mkUkndck6bjMjXCz7ax4Vm/Ibmjl",
        "192.0.2.1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGsHBDz0LvTsJcL6mkUkndck6bjMjXCz7ax4Vm/Ibmjl",
    ],
)
def test_damaged_weak_or_forgeable_host_keys_are_refused(text: str) -> None:
    with pytest.raises(FieldFault) as caught:
        key_fields.host_key(text)
    assert caught.value.code == "E-CSV-HOST-KEY"


def test_a_short_rsa_host_key_is_refused() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - that is the point
    with pytest.raises(FieldFault, match="1024 bits"):
        key_fields.host_key(_public(weak))


def test_a_private_key_is_read_and_checked() -> None:
    key = Ed25519PrivateKey.generate()
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, BestAvailableEncryption(b"secret"))
    assert key_fields.private_key("/k", read=lambda _: plain) == plain.decode()
    for content in (locked, b"", b"\xff\xfe", _public(key).encode()):
        with pytest.raises(FieldFault, match="no private key"):
            key_fields.private_key("/k", read=lambda _, content=content: content)  # type: ignore[misc]
    with pytest.raises(FieldFault, match="no absolute path"):
        key_fields.private_key("id_ed25519", read=lambda _: plain)
    with pytest.raises(FieldFault, match="cannot be read"):
        key_fields.private_key("/nowhere/at/all", read=Path.read_bytes)


@pytest.mark.parametrize("column", [column for column in COLUMNS if column.example], ids=lambda column: column.name)
def test_every_example_in_the_description_of_the_columns_is_acceptable(column: object) -> None:
    assert column.read(column.example) is not None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("adress", "Did you mean address?"),
        ("Host Key", "Did you mean host_key?"),
        ("region", "A label's column is called labels.region."),
        ("", "Columns are name,"),
    ],
)
def test_an_unknown_column_is_refused_with_the_nearest_name(header: str, told: str) -> None:
    with pytest.raises(FieldFault) as caught:
        find(header)
    assert caught.value.code == "E-CSV-COLUMN-UNKNOWN"
    assert told in caught.value.hint


@given(st.text(max_size=20))
def test_a_defused_cell_comes_back_as_it_was(cell: str) -> None:
    assert restore(defuse(cell)) == cell


@pytest.mark.parametrize("cell", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "-2+cmd|' /C calc'!A0"])
def test_a_cell_that_a_spreadsheet_would_run_is_defused(cell: str) -> None:
    assert defuse(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["-33.86", "+49", "plain", "'quoted'", "", "a=b"])
def test_harmless_cells_are_left_alone(cell: str) -> None:
    assert defuse(cell) == cell
