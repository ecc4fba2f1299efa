"""Parts for small sticks: joined they are the bundle, and the one that is short or damaged is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests_support.bundle_files import NOW
from tests_support.good_bundle import Good

from edgemgr.bundles.source import open_source
from edgemgr.bundles.split import split
from edgemgr.bundles.verify import verify_bundle
from edgemgr.errors import BundleError


@pytest.fixture
def parts(good: Good, tmp_path: Path) -> list[Path]:
    bundle = tmp_path / "retail.emb"
    bundle.write_bytes(good.data)
    written = split(bundle, 7000)
    bundle.unlink()
    return written


def refusal(good: Good, path: Path) -> BundleError:
    with pytest.raises(BundleError) as caught:
        verify_bundle(path, good.trust, now=NOW)
    return caught.value


def test_parts_have_the_size_that_was_asked_for(good: Good, parts: list[Path]) -> None:
    names = ["retail.emb.001", "retail.emb.002", "retail.emb.003", "retail.emb.parts"]
    assert [path.name for path in parts] == names
    assert [path.stat().st_size for path in parts[:-1]] == [7000, 7000, len(good.data) - 14000]
    assert b"".join(path.read_bytes() for path in parts[:-1]) == good.data


@pytest.mark.parametrize("name", ["", "retail.emb.parts", "retail.emb.001"])
def test_any_of_the_three_ways_opens_all_parts(good: Good, parts: list[Path], name: str) -> None:
    path = parts[0].parent / name
    assert verify_bundle(path, good.trust, now=NOW).release.number == 1
    with open_source(path) as source:
        assert (source.name, len(source.names)) == ("retail.emb", 3)
        assert source.read(source.size_bytes) == good.data
        source.seek(6990)
        assert source.read(7020) == good.data[6990:14010]


def test_a_directory_with_one_whole_bundle_opens_too(good: Good, tmp_path: Path) -> None:
    (tmp_path / "retail.emb").write_bytes(good.data)
    assert verify_bundle(tmp_path, good.trust, now=NOW).release.number == 1
    (tmp_path / "other.emb").write_bytes(good.data)
    assert refusal(good, tmp_path).message == f"{tmp_path} cannot be used: it holds 2 bundles, not one"


def test_a_short_or_missing_part_is_named(good: Good, parts: list[Path]) -> None:
    parts[1].write_bytes(parts[1].read_bytes()[:-1])
    fault = refusal(good, parts[0].parent)
    assert (fault.code, fault.hint) == ("E-B010", "Copy retail.emb.002 again.")
    assert fault.message == "The file ends early: part retail.emb.002 is short, 6 999 of 7 000 bytes."
    parts[1].unlink()
    assert "part retail.emb.002 is short, 0 of 7 000 bytes" in refusal(good, parts[0].parent).message


def test_a_part_that_is_too_long_is_refused(good: Good, parts: list[Path]) -> None:
    parts[2].write_bytes(parts[2].read_bytes() + b"x")
    assert refusal(good, parts[0].parent).code == "E-B070"


def test_a_damaged_part_is_named_beside_what_is_wrong(good: Good, parts: list[Path]) -> None:
    data = bytearray(parts[2].read_bytes())
    data[100] ^= 1
    parts[2].write_bytes(data)
    fault = refusal(good, parts[0].parent)
    assert fault.code in {"E-B011", "E-B070"}
    assert fault.message.endswith("Part retail.emb.003 is damaged.")


def test_parts_in_the_wrong_order_are_damage(good: Good, parts: list[Path]) -> None:
    first, second = parts[0].read_bytes(), parts[1].read_bytes()
    parts[0].write_bytes(second)
    parts[1].write_bytes(first)
    assert refusal(good, parts[0].parent).code == "E-B001"


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../retail.emb"},
        {"size": 1},
        {"parts": []},
        {"version": 2},
        {"sha256": "x"},
        {"more": 1},
        {"name": "other.emb"},
        {"parts": [{"name": "/etc/passwd", "size": 7000, "sha256": "0" * 64}]},
    ],
)
def test_a_list_of_parts_that_is_none_is_refused(good: Good, parts: list[Path], change: dict[str, object]) -> None:
    parts[-1].write_text(json.dumps(json.loads(parts[-1].read_text()) | change))
    assert refusal(good, parts[-1]).code == "E-B012"


def test_a_size_that_makes_no_parts_is_refused_and_leaves_nothing(good: Good, tmp_path: Path) -> None:
    bundle = tmp_path / "retail.emb"
    bundle.write_bytes(good.data)
    for size in (0, -1, 19):
        with pytest.raises(BundleError) as caught:
            split(bundle, size)
        assert caught.value.code == "E-BUNDLE-INPUT"
    (tmp_path / "retail.emb.002").write_text("mine")
    with pytest.raises(BundleError) as caught:
        split(bundle, 7000)
    assert caught.value.code == "E-BUNDLE-FILE"
    assert (tmp_path / "retail.emb.002").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["retail.emb", "retail.emb.002"]
