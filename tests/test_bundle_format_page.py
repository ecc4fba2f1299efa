"""docs/bundle-format.md, held against the names, kinds, fields and limits of the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgemgr.bundles import names
from edgemgr.bundles.layout import OCI_LAYOUT
from edgemgr.bundles.names import CAPS
from edgemgr.bundles.parts import MAX_PARTS
from edgemgr.model.content import PLACES, ReleaseRecord, TargetCustom

PAGE = (Path(__file__).parent.parent / "docs/bundle-format.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def rows_after(title: str) -> list[list[str]]:
    """The rows of the table that has this title over its first column."""
    start = next(number for number, row in enumerate(ROWS) if row[0] == title)
    end = next((n for n in range(start + 2, len(ROWS)) if set("".join(ROWS[n])) <= set("-")), len(ROWS) + 1)
    return ROWS[start + 2 : end - 1]


def test_every_kind_has_its_row_and_its_place() -> None:
    shown = {words(kind)[0]: words(place) for kind, _, place in rows_after("kind")}
    assert shown == {kind.value: [place.value] for kind, place in PLACES.items()}


def test_every_signed_field_has_a_row() -> None:
    assert [words(field)[0] for field, _ in rows_after("field")] == list(ReleaseRecord.model_fields)
    custom = [word for field, _ in rows_after("field of `custom`") for word in words(field)]
    assert custom == list(TargetCustom.model_fields)


def test_the_members_are_listed_in_their_order() -> None:
    shown = [words(member)[0] for member, *_ in rows_after("member")]
    assert shown == [
        names.MAGIC_MEMBER,
        names.root_member(1).replace("1", "N"),
        names.TIMESTAMP_MEMBER,
        names.SNAPSHOT_MEMBER,
        names.TARGETS_MEMBER,
        names.LAYOUT_MEMBER,
        names.INDEX_MEMBER,
        names.blob_member("DIGEST"),
    ]


@pytest.mark.parametrize(
    "said",
    [
        f"exactly `{names.MAGIC.decode()}`, {len(names.MAGIC)} bytes | {CAPS.magic:,} bytes",
        f"{CAPS.root:,} bytes each, {CAPS.root_chain} of them",
        f"| TUF | {CAPS.timestamp:,} bytes |",
        f"| TUF | {CAPS.snapshot:,} bytes |",
        f"| {CAPS.targets_json:,} bytes |",
        f"exactly `{OCI_LAYOUT.decode()}` | {len(OCI_LAYOUT)} bytes",
        f"| {CAPS.index:,} bytes |",
        f"takes {CAPS.bundle >> 30} GiB at most",
        f"more than {CAPS.json_depth} levels",
        f"at most {CAPS.targets:,} targets",
        f"for files over {names.CHUNKED_FROM_BYTES >> 20} MiB, and only those: {names.CHUNK_BYTES},",
        f"{MAX_PARTS} at most",
        f"format version {names.FORMAT_VERSION}",
    ],
)
def test_the_page_tells_the_limits(said: str) -> None:
    assert said in PAGE
