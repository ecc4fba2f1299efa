from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgemgr.links import stick_keys, stick_stage
from edgemgr.links.node_archive import recorded_sets
from edgemgr.links.node_fence import RefusedError

ORDER = {"format": "edgemgr-workorder", "version": 1, "number": 7, "expires_at": "2999-01-01T00:00:00Z"}


def code_of(refused: pytest.ExceptionInfo[RefusedError]) -> str:
    return refused.value.error["code"]


def test_an_order_is_read_until_it_expires() -> None:
    assert stick_stage.understood(json.dumps(ORDER).encode())["number"] == 7
    with pytest.raises(RefusedError) as refused:
        stick_stage.understood(json.dumps(ORDER | {"expires_at": "2026-01-01T00:00:00Z"}).encode())
    assert code_of(refused) == "E-STICK-EXPIRED"


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", json.dumps(ORDER | {"version": 2})])
def test_an_order_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(RefusedError) as refused:
        stick_stage.understood(text.encode())
    assert code_of(refused) == "E-STICK-ORDER"


def test_the_script_works_as_root_only(monkeypatch) -> None:
    monkeypatch.setattr(stick_stage.os, "geteuid", lambda: 1000)
    with pytest.raises(RefusedError) as refused:
        stick_stage.refuse_without_root()
    assert code_of(refused) == "E-STICK-ROOT"


def test_a_node_without_ssh_keygen_is_told_so(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "ssh_host_ed25519_key").touch()
    with pytest.raises(RefusedError) as refused:
        stick_keys.host_keys(tmp_path)
    assert code_of(refused) == "E-STICK-SSH"


def test_a_host_key_that_is_damaged_or_has_a_passphrase_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "ssh_host_ed25519_key").write_text("damaged")
    assert stick_keys.host_keys(tmp_path) == {}


@pytest.mark.parametrize("record", ["damaged", "[]", '{"sets": 1}', '{"sets": [1]}'])
def test_a_record_of_sets_in_another_form_is_left_alone(tmp_path: Path, record: str) -> None:
    path = tmp_path / "staged.json"
    path.write_text(record)
    stick_stage.note_set(path, "retail/stable/2", ["a"])
    assert path.read_text() == record


def test_what_a_stick_brings_is_noted_as_a_transfer_notes_it(tmp_path: Path) -> None:
    path = tmp_path / stick_stage.SETS
    for number in (1, 2, 3, 3):
        stick_stage.note_set(path, f"retail/stable/{number}", ["b", "a"])
    sets = recorded_sets(path)
    assert sets is not None
    assert [each["bundle"] for each in sets] == ["retail/stable/3", "retail/stable/2"]
    assert sets[0]["digests"] == ["a", "b"]


def ordered(number: int, created_at: str) -> dict[str, object]:
    return ORDER | {"number": number, "created_at": created_at}


def test_an_order_made_before_the_last_one_is_refused_and_the_last_one_may_come_again(tmp_path: Path) -> None:
    record = tmp_path / stick_stage.NEWEST_ORDER
    stick_stage.refuse_older(record, ordered(5, "2026-11-01T08:00:00Z"))
    stick_stage.refuse_older(record, ordered(5, "2026-11-01T08:00:00Z"))
    for older in (ordered(4, "2026-11-01T08:00:00Z"), ordered(9, "2026-10-31T23:59:59Z")):
        with pytest.raises(RefusedError) as refused:
            stick_stage.refuse_older(record, older)
        assert code_of(refused) == "E-STICK-OLDER"
    # After a restore from a backup the appliance's numbers begin earlier again; its clock does not.
    stick_stage.refuse_older(record, ordered(3, "2026-11-02T08:00:00Z"))
    with pytest.raises(RefusedError):
        stick_stage.refuse_older(record, ordered(5, "2026-11-01T08:00:00Z"))


@pytest.mark.parametrize("text", ["damaged", "[]", "{}", '{"created_at": 1, "number": 1}'])
def test_where_the_last_order_is_not_known_none_is_carried_out(tmp_path: Path, text: str) -> None:
    record = tmp_path / stick_stage.NEWEST_ORDER
    record.write_text(text)
    with pytest.raises(RefusedError) as refused:
        stick_stage.refuse_older(record, ordered(5, "2026-11-01T08:00:00Z"))
    assert code_of(refused) == "E-STICK-OLDER"
    assert record.read_text() == text


def test_a_receipt_goes_onto_the_stick_and_never_through_a_link_on_it(tmp_path: Path) -> None:
    stick, outside = tmp_path / "stick", tmp_path / "outside"
    stick.mkdir()
    outside.mkdir()
    (stick / "receipts").symlink_to(outside)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        stick_stage.give_back(b"receipt", "a.receipt", stick)
    (stick / "receipts").unlink()
    (stick / "receipts").mkdir()
    precious = outside / "precious"
    precious.write_text("mine")
    for name in ("a.receipt", "a.receipt.new"):
        (stick / "receipts" / name).symlink_to(precious)
    stick_stage.give_back(b"receipt", "a.receipt", stick)
    assert precious.read_text() == "mine"
    assert [path.name for path in (stick / "receipts").iterdir()] == ["a.receipt"]
    assert (stick / "receipts/a.receipt").read_bytes() == b"receipt"
