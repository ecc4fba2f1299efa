"""Receipts that come back: which of them are believed."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests_support.stick_company import Company
from tests_support.stick_node import KINDS, StickNode, make_key, signed_by

from edgemgr.errors import UsageError
from edgemgr.inventory.receipt import receipt_files
from edgemgr.links.stick_keys import split_signed
from edgemgr.model.event import Reason
from edgemgr.model.site import Trust

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the script of a stick works as root")


def forge(trip: SimpleNamespace, directory: Path, key: Path | None = None, **changes: object) -> Path:
    """A receipt that says something else."""
    path = directory / "forged.receipt"
    path.write_bytes(signed_by(key or trip.node.key, trip.said | changes))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_any_kind_of_pinned_host_key_signs_receipts(company: Company, kind: str) -> None:
    node = company.node("store-0001", kind=kind)
    order = company.order()
    company.takes(node.staged(order.directory, "--code", order.key.code))


def test_a_receipt_counts_once(company: Company, trip, tmp_path: Path) -> None:
    company.takes(trip.receipt)
    assert company.refuses(trip.receipt) == "E-RECEIPT-REPLAYED"
    trip.node.staged(trip.order.directory)  # the same order once more, with a later time
    assert company.refuses(trip.receipt) == "E-RECEIPT-REPLAYED"


def test_a_receipt_that_another_key_signed_is_refused(company: Company, trip, tmp_path: Path) -> None:
    make_key(tmp_path / "thief")
    assert company.refuses(forge(trip, tmp_path, tmp_path / "thief")) == "E-RECEIPT-KEY"
    other = company.node("store-0002")
    assert company.refuses(forge(trip, tmp_path, other.key)) == "E-RECEIPT-KEY"
    company.takes(trip.receipt)


def test_every_altered_byte_of_a_receipt_is_refused(company: Company, trip, tmp_path: Path) -> None:
    data = trip.receipt.read_bytes()
    path = tmp_path / "altered.receipt"
    codes = set()
    for at in [*range(0, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        codes.add(company.refuses(path))
    path.write_bytes(data + b"\n")
    codes.add(company.refuses(path))
    for end in (0, 1, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:end])
        codes.add(company.refuses(path))
    assert {"E-RECEIPT-FORMAT", "E-RECEIPT-SIGNATURE"} <= codes
    assert codes <= {f"E-RECEIPT-{word}" for word in ("FORMAT", "SIGNATURE", "ORDER", "SITE", "KEY")}
    company.takes(trip.receipt)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"order": 99}, "E-RECEIPT-ORDER"),
        ({"order_digest": "0" * 64}, "E-RECEIPT-ORDER"),
        ({"site": "store-0002"}, "E-RECEIPT-SITE"),
        ({"arch": "arm64"}, "E-RECEIPT-CONTENT"),
        ({"host_key": "SHA256:" + "A" * 43}, "E-RECEIPT-CONTENT"),
        ({"blobs": []}, "E-RECEIPT-CONTENT"),
        ({"blobs": ["f" * 64, "0" * 64]}, "E-RECEIPT-FORMAT"),
        ({"site": "../store-0001"}, "E-RECEIPT-FORMAT"),
        ({"more": 1}, "E-RECEIPT-FORMAT"),
        ({"version": 2}, "E-RECEIPT-FORMAT"),
        ({"order": True}, "E-RECEIPT-FORMAT"),
        ({"finished_at": "2026-11-01T12:00:00"}, "E-RECEIPT-FORMAT"),
    ],
)
def test_a_well_signed_receipt_must_say_what_the_order_asked(
    company: Company, trip, tmp_path: Path, changes: dict, code: str
) -> None:
    company.node("store-0002")  # no site of that order
    assert company.refuses(forge(trip, tmp_path, **changes)) == code
    company.takes(trip.receipt)


def test_a_signature_for_another_purpose_is_no_receipt(company: Company, trip, tmp_path: Path) -> None:
    path = tmp_path / "login.receipt"
    path.write_bytes(signed_by(trip.node.key, trip.said, "file"))
    assert company.refuses(path) == "E-RECEIPT-SIGNATURE"


def test_a_receipt_of_one_order_is_none_of_another(company: Company, trip, tmp_path: Path) -> None:
    second = company.order()
    assert company.refuses(forge(trip, tmp_path, order=second.number)) == "E-RECEIPT-ORDER"
    company.takes(trip.receipt)
    company.takes(trip.node.staged(second.directory))
    assert company.received() == [(second.number, "store-0001"), (trip.order.number, "store-0001")]


@pytest.mark.parametrize("trust", [Trust.MISMATCH, Trust.SEEN, Trust.UNKNOWN])
def test_nothing_is_believed_of_a_site_whose_key_is_not_pinned_any_more(company: Company, trip, trust: Trust) -> None:
    company.change("store-0001", trust=trust.value)
    assert company.refuses(trip.receipt) == "E-RECEIPT-PIN"


def test_a_receipt_of_a_node_that_was_replaced_is_refused(company: Company, trip, tmp_path: Path) -> None:
    company.change("store-0001", host_key_fingerprint=StickNode(tmp_path / "new").fingerprint)
    assert company.refuses(trip.receipt) == "E-RECEIPT-KEY"


def test_the_time_of_a_node_without_a_clock_is_not_believed(company: Company, trip, tmp_path: Path) -> None:
    forged = forge(trip, tmp_path, begun_at="1970-01-01T00:00:10Z", finished_at="1970-01-01T00:01:00Z")
    assert company.takes(forged).staged_at is None


def test_files_that_are_no_receipts_are_told_as_such(company: Company, tmp_path: Path) -> None:
    path = tmp_path / "x.receipt"
    for data in (b"", b"{}\n", os.urandom(5000), b"[" * 100_000, bytes(5 << 20)):
        path.write_bytes(data)
        assert company.refuses(path) == "E-RECEIPT-FORMAT"
    signature = split_signed(signed_by(StickNode(tmp_path / "any").key, {}))[1]
    for line in (b"[" * 1_000_000, b'{"order":' + b"9" * 10_000 + b"}", b"\xff", b"null", b'"\\ud800"'):
        path.write_bytes(line + b"\n" + signature)
        assert company.refuses(path) == "E-RECEIPT-FORMAT"
    assert company.refuses(tmp_path / "none.receipt") == "E-RECEIPT-FILE"
    (tmp_path / "stick/receipts").mkdir(parents=True)
    with pytest.raises(UsageError) as caught:
        receipt_files(tmp_path / "stick")
    assert caught.value.code == "E-RECEIPT-FILE"
    (tmp_path / "stick/receipts/a.receipt").touch()
    assert [file.name for file in receipt_files(tmp_path / "stick")] == ["a.receipt"]


def test_what_lies_on_a_stick_in_the_place_of_a_receipt_is_not_followed_and_does_not_block(
    company: Company, trip, tmp_path: Path
) -> None:
    receipts = trip.order.directory / "receipts"
    data = trip.receipt.read_bytes()
    trip.receipt.rename(tmp_path / "elsewhere")
    trip.receipt.symlink_to(tmp_path / "elsewhere")
    assert company.refuses(trip.receipt) == "E-RECEIPT-FILE"
    os.mkfifo(receipts / "pipe.receipt")
    assert company.refuses(receipts / "pipe.receipt") == "E-RECEIPT-FILE"
    (receipts / "directory.receipt").mkdir()
    assert company.refuses(receipts / "directory.receipt") == "E-RECEIPT-FILE"
    odd = Path(os.fsdecode(os.fsencode(receipts) + b"/\x1b[2J\xff.receipt"))
    odd.write_bytes(data[:-1])
    assert company.refuses(odd) == "E-RECEIPT-FORMAT"
    assert company.happened(Reason.RECEIPT_REFUSED)[0].message.startswith("?[2J?.receipt was refused")
    odd.write_bytes(data)
    assert company.takes(odd).file == "?[2J?.receipt"
