"""Archives made by hand to get past a reader: each is refused, and nothing is written anywhere."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from tests_support.bundle_files import Member, foreign, plain, put_together, take_apart
from tests_support.good_bundle import Good

from edgemgr.bundles import ustar
from edgemgr.bundles.names import CAPS, root_member
from edgemgr.errors import BundleError

_FIRST_BLOB = 7
_DIGEST = "0" * 64
_GNU, _PAX = tarfile.GNU_FORMAT, tarfile.PAX_FORMAT


def _sized(name: str, size: int) -> bytes:
    """A header that claims more than the eleven octal digits can hold, in GNU's base 256."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def _with_field(at: int, value: bytes) -> bytes:
    """A good header with another value in one field and a right checksum."""
    block = bytearray(ustar.header(f"blobs/sha256/{_DIGEST}", 0))
    block[at : at + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}".encode() + b"\0 "
    return bytes(block)


INSERTED = {
    "an absolute name": (
        foreign("/etc/cron.d/x", b"x"),
        "Member '/etc/cron.d/x' is not allowed: its name is absolute.",
    ),
    "dot dot": (
        foreign("blobs/../../etc/cron.d/x", b"x"),
        "Member 'blobs/../../etc/cron.d/x' is not allowed: its name leads out of the bundle.",
    ),
    "a symbolic link": (foreign("blobs/sha256/a", type=tarfile.SYMTYPE, linkname="/etc/shadow"), "a symbolic link"),
    "a hard link": (foreign("blobs/sha256/a", type=tarfile.LNKTYPE, linkname="index.json"), "a hard link"),
    "a character device": (foreign("blobs/sha256/a", type=tarfile.CHRTYPE, devmajor=1, devminor=3), "a device"),
    "a block device": (foreign("blobs/sha256/a", type=tarfile.BLKTYPE, devmajor=8), "a device"),
    "a pipe": (foreign("blobs/sha256/a", type=tarfile.FIFOTYPE), "a pipe"),
    "a directory": (foreign("blobs", type=tarfile.DIRTYPE), "a directory"),
    "a NUL in the name": (_with_field(20, b"\0"), "its name holds a NUL"),
    "a pax header": (foreign("a" * 200, b"x", form=_PAX), "a pax header"),
    "a global pax header": (_with_field(156, b"g"), "a pax header"),
    "a GNU long name": (foreign("a" * 200, b"x", form=_GNU), "a GNU long name"),
    "a GNU long link": (_with_field(156, b"K"), "a GNU long name"),
    "a sparse file": (_with_field(156, b"S"), "a sparse file"),
    "a name with a prefix": (_with_field(345, b"/etc"), "no bundle has this member"),
    "an owner": (_with_field(108, b"0000001"), "no bundle has this member"),
    "a set-user-id mode": (_with_field(100, b"0004755"), "no bundle has this member"),
    "the old type of a plain file": (_with_field(156, b"\0"), "no bundle has this member"),
    "a size of 2^40": (_sized(f"blobs/sha256/{_DIGEST}", 1 << 40), "no bundle has this member"),
    "a negative size": (_sized(f"blobs/sha256/{_DIGEST}", -1), "no bundle has this member"),
    "a blob that nothing names": (plain(f"blobs/sha256/{_DIGEST}", b"x").raw, "no bundle has this member"),
    "a terminal's control characters": (foreign("\x1b[2Jx", b"x"), r"\x1b[2Jx"),
}


@pytest.mark.parametrize("case", INSERTED)
@pytest.mark.parametrize("at", ["before the metadata", "before the blobs", "after the blobs"])
def test_what_does_not_belong_is_refused_wherever_it_stands(
    good: Good, case: str, at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    raw, says = INSERTED[case]
    members: list[Member | bytes] = [*take_apart(good.data)]
    members.insert(
        {"before the metadata": 1, "before the blobs": _FIRST_BLOB, "after the blobs": len(members)}[at], raw
    )
    fault = _refusal(good, put_together(members))
    assert fault.code == "E-B070"
    assert says in fault.message
    assert fault.message.endswith("The file was rejected.")
    assert list(tmp_path.iterdir()) == []
    assert "\x1b" not in fault.message


def test_every_header_must_be_the_writers_own(good: Good) -> None:
    """The same contents under headers of the general library, which mean the same to every other reader."""
    members = take_apart(good.data)
    for position in range(1, len(members)):
        info = tarfile.TarInfo.frombuf(members[position].header, "utf-8", "strict")
        info.mtime = 1
        other = Member(info.tobuf(tarfile.USTAR_FORMAT), members[position].data)
        assert _refusal(good, put_together([*members[:position], other, *members[position + 1 :]])).code == "E-B070"


def test_duplicates_swaps_and_losses_are_refused(good: Good) -> None:
    members = take_apart(good.data)
    for position in range(1, len(members)):
        twice = [*members[: position + 1], *members[position:]]
        assert _refusal(good, put_together(twice)).code == "E-B070"
        lost = [*members[:position], *members[position + 1 :]]
        assert _refusal(good, put_together(lost)).code in {"E-B070", "E-B010"}
    for position in range(1, len(members) - 1):
        swapped = [*members]
        swapped[position], swapped[position + 1] = swapped[position + 1], swapped[position]
        assert _refusal(good, put_together(swapped)).code == "E-B070"


@pytest.mark.parametrize("end", [b"x", b"\0", bytes(512), b"x" * 512, foreign("more", b"x")])
def test_nothing_may_follow_the_end(good: Good, end: bytes) -> None:
    fault = _refusal(good, good.data + end)
    assert fault.code == "E-B070"
    assert "something follows it" in fault.message


def test_sixty_thousand_members_are_refused_at_the_first_that_is_too_many(good: Good) -> None:
    members = take_apart(good.data)
    many = plain(f"blobs/sha256/{_DIGEST}", b"").raw * 60_000
    assert _refusal(good, put_together([*members[:_FIRST_BLOB], many])).code == "E-B070"
    assert _refusal(good, put_together([*members, many])).code == "E-B070"


def test_a_chain_of_more_roots_than_any_reader_takes_is_refused(good: Good) -> None:
    members = take_apart(good.data)
    roots = [plain(root_member(n), members[1].data) for n in range(1, CAPS.root_chain + 2)]
    fault = _refusal(good, put_together([members[0], *roots, *members[2:]]))
    assert fault.code == "E-B070"
    assert "at most 32 roots" in fault.message


@pytest.mark.parametrize(
    ("position", "cap"), [(1, CAPS.root), (2, CAPS.timestamp), (3, CAPS.snapshot), (4, CAPS.targets_json)]
)
def test_a_document_that_claims_to_be_huge_is_not_read(good: Good, position: int, cap: int) -> None:
    members = take_apart(good.data)
    claim = Member(ustar.header(members[position].name, cap + 1), b"")
    fault = _refusal(good, put_together([*members[:position], claim]))
    assert fault.code == "E-B070"
    assert f"at most {cap} are accepted" in fault.message


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"a":' * 4000 + b"1" + b"}" * 4000,
        b"[" + b"[]," * 1_500_000 + b"[]]",
        b'"' + b'\\"' * 2_000_000,
        b"9" * 5000,
        b"",
        b"{}",
        b"null",
        b"\xff\xfe{\x00}\x00",
        b'{"signed":{"_type":"targets"},"signatures":[]}',
    ],
    ids=[
        "deep list",
        "deep object",
        "many values",
        "endless string",
        "long number",
        "empty",
        "{}",
        "null",
        "utf-16",
        "hollow",
    ],
)
def test_json_that_would_hurt_a_parser_is_refused_before_it_is_parsed(good: Good, data: bytes) -> None:
    members = take_apart(good.data)
    fault = _refusal(good, put_together([*members[:4], plain("tuf/targets.json", data), *members[5:]]))
    assert fault.code == "E-B012"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b",", b", ", 1),
        lambda text: text + b"\n",
        lambda text: text.replace(b'"sig":"', b'"sig":"\\u0030', 1),
        lambda text: text[:-1] + b',"unsigned":1}',
        lambda text: text.replace(b'{"keyid"', b'{"a":1,"keyid"', 1),
    ],
    ids=["a space", "a new line", "an escape", "a field outside", "a field in a signature"],
)
def test_a_second_form_of_the_same_document_is_refused(good: Good, change: object) -> None:
    members = take_apart(good.data)
    for position in (1, 2, 3, 4):
        data = change(members[position].data)  # type: ignore[operator]
        other = [*members[:position], plain(members[position].name, data), *members[position + 1 :]]
        assert _refusal(good, put_together(other)).code == "E-B012"


def test_signatures_in_capitals_are_a_second_form(good: Good) -> None:
    members = take_apart(good.data)
    document = json.loads(members[2].data)
    document["signatures"][0]["sig"] = document["signatures"][0]["sig"].upper()
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    other = [*members[:2], plain("tuf/timestamp.json", data), *members[3:]]
    assert _refusal(good, put_together(other)).code == "E-B012"


def test_the_layout_and_the_index_must_follow_from_what_is_signed(good: Good) -> None:
    members = take_apart(good.data)
    for position, old, new in ((5, b"1.0.0", b"1.0.1"), (6, b"mirrored-pause", b"mirrored-paused")):
        data = members[position].data.replace(old, new)
        other = [*members[:position], plain(members[position].name, data), *members[position + 1 :]]
        fault = _refusal(good, put_together(other))
        assert fault.code == "E-B070"
        assert members[position].name in fault.message


@pytest.mark.parametrize("data", [b"PK\x03\x04" * 300, b"x" * 2000, bytes(4096), b"\x1f\x8b" + bytes(600)])
def test_other_files_are_no_bundles(good: Good, data: bytes) -> None:
    fault = _refusal(good, data)
    assert fault.code == "E-B001"
    assert fault.message == "retail.emb is not an edgemgr bundle (first member is not edgemgr-bundle.json)."


def test_an_archive_with_the_members_in_another_order_is_no_bundle(good: Good) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("index.json"))
    assert _refusal(good, buffer.getvalue()).code == "E-B001"


@pytest.mark.parametrize(
    ("says", "code"),
    [
        (b'{"format":"edgemgr-bundle","version":2}', "E-B002"),
        (b'{"format":"edgemgr-bundle","version":12,"more":true}', "E-B002"),
        (b'{"format":"edgemgr-bundle","version":0}', "E-B001"),
        (b'{"format":"edgemgr-bundle","version":true}', "E-B001"),
        (b'{"format":"other","version":2}', "E-B001"),
        (b"[" * 4000, "E-B001"),
        (b"{" * 5000, "E-B001"),
    ],
)
def test_a_later_format_is_told_from_what_is_no_bundle(good: Good, says: bytes, code: str) -> None:
    members = take_apart(good.data)
    fault = _refusal(good, put_together([plain(members[0].name, says), *members[1:]]))
    assert fault.code == code
    if b'"version":2' in says and code == "E-B002":
        assert fault.message == "This bundle uses format 2; this appliance understands 1."
        assert fault.hint == "Upgrade edgemgr first."


def _refusal(good: Good, data: bytes) -> BundleError:
    with pytest.raises(BundleError) as caught:
        good.verify(data)
    return caught.value
