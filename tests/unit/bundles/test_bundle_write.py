"""The writer: the same input gives the same bytes, whole or not at all."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests_support.bundle_files import (
    EXPIRES_AT,
    MADE_AT,
    make_bundle,
    payload,
    record,
    small_payload,
    take_apart,
    trusting,
    write,
)
from tests_support.good_bundle import Good

from edgemgr.bundles.keys import load_signer
from edgemgr.bundles.names import CAPS, CHUNK_BYTES, CHUNKED_FROM_BYTES
from edgemgr.bundles.payload import Payload
from edgemgr.bundles.write import write_bundle
from edgemgr.errors import BundleError
from edgemgr.model.content import TargetKind


def refusal(good: Good, tmp_path: Path, items: list[Payload], **changes: object) -> BundleError:
    with pytest.raises(BundleError) as caught:
        write(tmp_path / "x.emb", items, good.keys, record(**changes))
    assert not list(tmp_path.glob("*x.emb*"))
    return caught.value


def test_the_same_input_gives_the_same_bytes(good: Good, tmp_path: Path) -> None:
    items = small_payload(tmp_path / "p")
    write(tmp_path / "a.emb", items, good.keys, record())
    write(tmp_path / "b.emb", list(reversed(items)), good.keys, record())
    assert (tmp_path / "a.emb").read_bytes() == (tmp_path / "b.emb").read_bytes() == good.data


def test_what_was_written_is_told(good: Good, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    written = write_bundle(
        tmp_path / "a.emb",
        small_payload(tmp_path / "p"),
        record(),
        load_signer(good.keys, None),
        expires_at=EXPIRES_AT,
        on_progress=lambda done, total: steps.append((done, total)),
    )
    data = (tmp_path / "a.emb").read_bytes()
    assert (written.size_bytes, written.digest) == (len(data), hashlib.sha256(data).hexdigest())
    assert steps[-1] == (len(data), len(data))


def test_members_stand_in_the_one_order(good: Good) -> None:
    names = [member.name for member in take_apart(good.data)]
    assert names[:7] == [
        "edgemgr-bundle.json",
        "tuf/1.root.json",
        "tuf/timestamp.json",
        "tuf/snapshot.json",
        "tuf/targets.json",
        "oci-layout",
        "index.json",
    ]
    assert names[7:] == sorted(names[7:])
    assert all(name.startswith("blobs/sha256/") for name in names[7:])


def test_any_tar_program_can_list_it_and_nobody_is_in_it(good: Good) -> None:
    with tarfile.open(good.bundle) as archive:
        members = archive.getmembers()
    assert len(members) == len(take_apart(good.data))
    assert {(m.mode, m.uid, m.gid, m.mtime, m.uname, m.type) for m in members} == {
        (0o444, 0, 0, 0, "", tarfile.REGTYPE)
    }


def test_files_of_the_same_bytes_are_carried_once(good: Good, tmp_path: Path) -> None:
    items = [payload(tmp_path / "p", f"manifests/{n}.yaml", b"same", TargetKind.MANIFEST) for n in "abc"]
    write(tmp_path / "a.emb", items, good.keys, record())
    blobs = [m for m in take_apart((tmp_path / "a.emb").read_bytes()) if m.name.startswith("blobs/")]
    assert [m.data for m in blobs] == [b"same"]


def test_large_files_have_the_digests_of_their_chunks(good: Good, tmp_path: Path) -> None:
    data = b"0123456789abcdef" * (CHUNKED_FROM_BYTES // 16) + b"x"
    item = payload(tmp_path / "p", "packs/big/1.tar", data, TargetKind.PACK)
    assert len(item.custom.chunks) == 3
    write(tmp_path / "a.emb", [item], good.keys, record())
    content = good.verify((tmp_path / "a.emb").read_bytes())
    assert content.targets["packs/big/1.tar"].custom.chunks[2] == hashlib.sha256(b"x").hexdigest()
    bare = item.custom.model_copy(update={"chunk_bytes": None, "chunks": ()})
    assert "digests of chunks" in refusal(good, tmp_path, [replace(item, custom=bare)]).message
    wrong = item.custom.model_copy(update={"chunk_bytes": CHUNK_BYTES * 2})
    assert refusal(good, tmp_path, [replace(item, custom=wrong)]).code == "E-BUNDLE-INPUT"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda item: replace(item, name="manifests/../x.yaml"), "no name of a target"),
        (lambda item: replace(item, name="charts/x.tgz"), "no name for a manifest"),
        (lambda item: replace(item, size_bytes=CAPS.member + 1), "at most"),
    ],
)
def test_what_no_reader_takes_is_not_written(
    good: Good, tmp_path: Path, change: Callable[[Payload], Payload], says: str
) -> None:
    item = payload(tmp_path / "p", "manifests/x.yaml", b"x", TargetKind.MANIFEST)
    fault = refusal(good, tmp_path, [change(item)])
    assert fault.code == "E-BUNDLE-INPUT"
    assert says in fault.message


def test_a_name_comes_once(good: Good, tmp_path: Path) -> None:
    items = [payload(tmp_path / "p", "manifests/x.yaml", data, TargetKind.MANIFEST) for data in (b"a", b"b")]
    assert "comes twice" in refusal(good, tmp_path, items).message


@pytest.mark.parametrize("data", [b"other", b"", b"longer than it was said to be"])
def test_a_file_that_changed_under_the_writer_is_noticed_and_the_old_bundle_stays(
    good: Good, tmp_path: Path, data: bytes
) -> None:
    items = small_payload(tmp_path / "p")
    write(tmp_path / "x.emb", items, good.keys, record())
    before = (tmp_path / "x.emb").read_bytes()
    items[0].path.write_bytes(data)
    with pytest.raises(BundleError) as caught:
        write(tmp_path / "x.emb", items, good.keys, record(2))
    assert caught.value.code == "E-B011"
    assert (tmp_path / "x.emb").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["x.emb"]


def test_a_bundle_does_not_expire_before_it_is_made(good: Good, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="expire before"):
        make_bundle(tmp_path, good.keys, expires_at=MADE_AT - timedelta(days=1))


def test_missing_files_and_full_disks_are_told(good: Good, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = small_payload(tmp_path / "p")
    with pytest.raises(BundleError) as caught:
        write(tmp_path / "none" / "x.emb", items, good.keys, record())
    assert caught.value.code == "E-BUNDLE-FILE"
    free = type("Usage", (), {"free": 100})
    monkeypatch.setattr("edgemgr.bundles.write.shutil.disk_usage", lambda path: free)
    assert refusal(good, tmp_path, items).code == "E-B060"


def test_bytes_and_trust_do_not_depend_on_the_day_of_writing(good: Good, tmp_path: Path) -> None:
    """Two makers with the same keys, in two directories, give bundles that either appliance takes for the other's."""
    again = make_bundle(tmp_path, good.keys)
    store = trusting(tmp_path / "trust", good.keys)
    assert store.roots()[0].fingerprint == good.trust.roots()[0].fingerprint
    assert again.read_bytes() == good.data
