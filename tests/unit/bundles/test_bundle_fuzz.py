"""Damage: every flipped bit, every cut, and bytes that a machine thought of. Nothing gets through, nothing escapes.

The normal run takes samples, evenly and by a fixed seed; the long forms take all.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from tests_support.bundle_files import NOW, plain, put_together, take_apart
from tests_support.good_bundle import Good
from tests_support.shards import in_shards

from edgemgr.bundles import ustar
from edgemgr.bundles.content import Content
from edgemgr.bundles.read import read_blobs, read_head
from edgemgr.bundles.source import open_source
from edgemgr.bundles.verify import verify_metadata
from edgemgr.errors import BundleError

_METADATA = {"E-B012", "E-B020"}
#: In the metadata, codes for what a flipped bit can also say: another name or purpose, another root.
_METADATA_CODES = _METADATA | {"E-B021", "E-B022"}
_MIB = 1 << 20


def _regions(data: bytes) -> list[tuple[int, int, set[str]]]:
    """Start, end and the right codes of every region of a bundle."""
    regions, at = [], 0
    for number, member in enumerate(take_apart(data)):
        body, end = at + 512, at + len(member.raw)
        if number == 0:
            regions.append((at, end, {"E-B001", "E-B002"}))
        else:
            codes = {"E-B011"} if member.name.startswith("blobs/") else {"E-B070"}
            codes = _METADATA_CODES if member.name.startswith("tuf/") else codes
            # A bit in the name of a root's member can make it a root of a later number.
            regions.append((at, body, {"E-B070", "E-B021"} if member.name.endswith("root.json") else {"E-B070"}))
            regions.append((body, body + len(member.data), codes))
            regions.append((body + len(member.data), end, {"E-B070"}))
        at = end
    return [*regions, (at, at + len(ustar.TRAILER), {"E-B070"})]


class _Damage:
    """Damages one file in place and verifies it, without making the whole file anew each time."""

    def __init__(self, good: Good, path: Path) -> None:
        self._good, self._path, self.data = good, path, good.data
        path.write_bytes(self.data)
        self._codes = [codes for start, end, codes in _regions(self.data) for _ in range(start, end)]

    def flip(self, bit: int) -> None:
        at = bit // 8
        self._write(at, bytes([self.data[at] ^ (1 << bit % 8)]))
        code = self._code()
        self._write(at, self.data[at : at + 1])
        assert code in self._codes[at], f"bit {bit % 8} of byte {at}: {code}, not one of {self._codes[at]}"

    def cut(self, size: int) -> None:
        self._path.write_bytes(self.data[:size])
        assert self._code() == "E-B010", f"cut to {size} bytes"

    def _write(self, at: int, data: bytes) -> None:
        with self._path.open("r+b") as file:
            file.seek(at)
            file.write(data)

    def _code(self) -> str:
        try:
            _read(self._path, self._good)
        except BundleError as exc:
            return exc.code
        return "accepted"


def _read(path: Path, good: Good) -> Content:
    with open_source(path) as source:
        head = read_head(source)
        content = verify_metadata(head, good.trust, now=NOW)
        for _ in read_blobs(source, head, content):
            pass
    return content


def _sample(total: int, count: int) -> Iterable[int]:
    """Half of them evenly spread, half by a fixed seed."""
    evenly = range(0, total, -(-total * 2 // count))
    return sorted({*evenly, *random.Random(20261101).sample(range(total), count // 2)})  # noqa: S311


def test_the_regions_cover_the_whole_bundle(good: Good) -> None:
    regions = _regions(good.data)
    assert regions[0][0] == 0
    assert regions[-1][1] == len(good.data)
    assert all(before[1] == after[0] for before, after in pairwise(regions))


def test_flipped_bits_are_refused_with_the_right_code(good: Good, tmp_path: Path) -> None:
    damage = _Damage(good, tmp_path / "retail.emb")
    for bit in _sample(8 * len(damage.data), 240):
        damage.flip(bit)


def test_cut_files_are_refused_as_cut(good: Good, tmp_path: Path) -> None:
    damage = _Damage(good, tmp_path / "retail.emb")
    for size in [0, 1, 511, 512, 1023, 1024, len(damage.data) - 1, *_sample(len(damage.data), 80)]:
        damage.cut(size)


def _flips(number: int, count: int, good: Good, path: Path) -> None:
    damage = _Damage(good, path / f"flips-{number}.emb")
    for bit in range(number, 8 * len(damage.data), count):
        damage.flip(bit)


def _cuts(number: int, count: int, good: Good, path: Path) -> None:
    damage = _Damage(good, path / f"cuts-{number}.emb")
    for size in range(number, len(damage.data), count):
        damage.cut(size)


@pytest.mark.exhaustive
@pytest.mark.parametrize("harm", [_flips, _cuts])
def test_every_flipped_bit_and_every_cut_is_refused_with_the_right_code(
    good: Good, tmp_path: Path, harm: Callable[[int, int, Good, Path], None]
) -> None:
    in_shards(harm, good, tmp_path)


def _edits(size: int) -> st.SearchStrategy[list[tuple[int, bytes]]]:
    return st.lists(st.tuples(st.integers(0, size - 1), st.binary(min_size=1, max_size=40)), min_size=1, max_size=4)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
_EXTRA: list[Any] = [None, -1, 0, 2**70, "", "1.0.31", "sha256", [], {}, "\ud800", "2026-13-01T00:00:00Z", True]


def _change_reader(good: Good, draw: st.DataObject) -> bytes:
    if draw.draw(st.booleans()):
        return draw.draw(st.binary(max_size=3000))
    data = bytearray(good.data)
    for at, new in draw.draw(_edits(len(data))):
        if draw.draw(st.booleans()):
            data[at : at + len(new)] = new
        else:
            data[at:at] = new
    return bytes(data)


def _change_metadata(good: Good, draw: st.DataObject) -> bytes:
    """A document with a value somewhere replaced, removed or added, in canonical form, in a sound archive."""
    members = take_apart(good.data)
    position = draw.draw(st.integers(1, 4))
    document = json.loads(members[position].data)
    for _ in range(draw.draw(st.integers(1, 3))):
        place: Any = document
        for _ in range(draw.draw(st.integers(0, 6))):
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            inner = [key for key in keys if isinstance(place[key], dict | list)]
            if not inner:
                break
            place = place[draw.draw(st.sampled_from(inner))]
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if keys and draw.draw(st.booleans()):
            key = draw.draw(st.sampled_from(keys))
            if draw.draw(st.booleans()):
                del place[key]
            else:
                place[key] = deepcopy(draw.draw(st.sampled_from(_EXTRA) | _JSON))
        elif isinstance(place, dict):
            place[draw.draw(st.text(max_size=12))] = draw.draw(_JSON)
    if draw.draw(st.integers(0, 9)) == 0:
        document = draw.draw(_JSON)
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return put_together([*members[:position], plain(members[position].name, data), *members[position + 1 :]])


def _only_bundle_errors(good: Good, data: bytes, name: str = "fuzz.emb") -> None:
    """Refused with a code of the table, or nothing that counts was changed.

    A root that lost one of three signatures, of which two are needed, is as good as before: there bytes may differ.
    """
    path = good.scratch / name
    path.write_bytes(data)
    try:
        content = _read(path, good)
    except BundleError as exc:
        assert exc.code.startswith("E-B0")  # noqa: PT017 — whether it is raised at all is not the question
        return
    same = [m for m in take_apart(data) if not m.name.endswith("root.json")]
    assert same == [m for m in take_apart(good.data) if not m.name.endswith("root.json")]
    assert content == _read(good.bundle, good)


_ROUND = 2000
_FEW = settings(max_examples=150, derandomize=True, suppress_health_check=list(HealthCheck))


@_FEW
@given(draw=st.data())
def test_the_reader_says_a_code_whatever_it_is_given(good: Good, draw: st.DataObject) -> None:
    _only_bundle_errors(good, _change_reader(good, draw))


@_FEW
@given(draw=st.data())
def test_the_metadata_says_a_code_whatever_is_in_it(good: Good, draw: st.DataObject) -> None:
    _only_bundle_errors(good, _change_metadata(good, draw))


def _many(number: int, count: int, good: Good, change: Callable[[Good, st.DataObject], bytes]) -> None:
    """A share of the inputs, in rounds: hypothesis remembers every example of a round, some 5 KiB each."""
    for start in range(number * _ROUND, 100_000, count * _ROUND):

        @seed(start)
        @settings(_FEW, max_examples=_ROUND, derandomize=False, database=None)
        @given(draw=st.data())
        def run(draw: st.DataObject) -> None:
            _only_bundle_errors(good, change(good, draw), f"fuzz-{number}.emb")

        run()


@pytest.mark.exhaustive
@pytest.mark.parametrize("change", [_change_reader, _change_metadata])
def test_a_hundred_thousand_inputs_and_no_error_but_ours_within_256_mib(
    good: Good, change: Callable[[Good, st.DataObject], bytes]
) -> None:
    assert max(in_shards(_many, good, change)) < 256 * _MIB


def test_the_samples_need_no_directory_of_the_machine(good: Good) -> None:
    """What verification needs for a moment it takes away again."""
    before = {p.name for p in Path(tempfile.gettempdir()).glob("edgemgr-bundle-*")}
    good.verify(good.data)
    assert {p.name for p in Path(tempfile.gettempdir()).glob("edgemgr-bundle-*")} <= before
