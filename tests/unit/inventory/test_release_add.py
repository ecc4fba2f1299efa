from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest
import zstandard

from edgemgr.errors import ReleaseError
from edgemgr.inventory.release_add import AddedRelease, add_release
from edgemgr.lab.k3s_standin.elf import elf_file
from edgemgr.model.release import Arch

VERSION = "v1.33.5+k3s1"
# A program that ends at once, with an error: a file for this machine that does not tell its version.
SILENT = b"\xbf\x01\x00\x00\x00\xb8\xe7\x00\x00\x00\x0f\x05"


def tar(content: bytes = b"layer") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo("manifest.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def program(arch: Arch = Arch.AMD64) -> bytes:
    return elf_file(arch, SILENT, b"payload of " + arch.encode())


def write_sums(directory: Path, arch: str, names: list[str]) -> None:
    lines = [f"{hashlib.sha256((directory / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (directory / f"sha256sum-{arch}.txt").write_text("".join(lines))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / VERSION
    directory.mkdir()
    (directory / "k3s").write_bytes(program())
    (directory / "k3s-airgap-images-amd64.tar.gz").write_bytes(gzip.compress(tar(os.urandom(5000)), mtime=0))
    write_sums(directory, "amd64", ["k3s", "k3s-airgap-images-amd64.tar.gz"])
    return directory


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def refused(directory: Path, store: Path, **more) -> ReleaseError:
    with pytest.raises(ReleaseError) as caught:
        add_release(directory, store_dir=store, **more)
    assert not list(store.rglob("*")) if store.exists() else True
    return caught.value


def stored(store: Path) -> set[str]:
    return {path.name for path in (store / "sha256").iterdir()}


def test_a_whole_release_is_stored_by_digest(directory: Path, store: Path):
    release = add_release(directory, store_dir=store)
    assert (release.version, release.warnings) == (VERSION, ())
    assert [(f.arch, f.part, f.name) for f in release.files] == [
        ("amd64", "binary", "k3s"),
        ("amd64", "images", "k3s-airgap-images-amd64.tar.gz"),
    ]
    for file in release.files:
        content = (store / "sha256" / file.digest).read_bytes()
        assert content == (directory / file.name).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file.digest, file.size_bytes)
    assert {path.name for path in store.iterdir()} == {"sha256"}


def test_adding_again_copies_nothing(directory: Path, store: Path):
    first = add_release(directory, store_dir=store)
    inodes = {path.stat().st_ino for path in (store / "sha256").iterdir()}
    again = add_release(directory, store_dir=store)
    assert [f.digest for f in again.files] == [f.digest for f in first.files]
    assert {path.stat().st_ino for path in (store / "sha256").iterdir()} == inodes


def test_a_stored_file_of_another_size_is_replaced(directory: Path, store: Path):
    digest = add_release(directory, store_dir=store).files[0].digest
    (store / "sha256" / digest).unlink()
    (store / "sha256" / digest).write_bytes(b"half")
    add_release(directory, store_dir=store)
    assert (store / "sha256" / digest).read_bytes() == program()


def test_progress_reaches_the_size_of_every_file(directory: Path, store: Path):
    seen: dict[str, tuple[int, int]] = {}
    add_release(directory, store_dir=store, on_progress=lambda name, done, size: seen.update({name: (done, size)}))
    assert {name: (directory / name).stat().st_size for name in seen} == {n: s[0] for n, s in seen.items()}
    assert all(done == size for done, size in seen.values())
    assert len(seen) == 2


def test_three_architectures_come_together(directory: Path, store: Path):
    for arch, name in ((Arch.ARM64, "k3s-arm64"), (Arch.ARM, "k3s-armhf")):
        (directory / name).write_bytes(program(arch))
        images = f"k3s-airgap-images-{arch}.tar.zst"
        (directory / images).write_bytes(zstandard.compress(tar(arch.encode())))
        write_sums(directory, arch, [name, images])
    release = add_release(directory, store_dir=store)
    assert {(f.arch, f.part) for f in release.files} == {
        (arch.value, part) for arch in Arch for part in ("binary", "images")
    }
    assert len(stored(store)) == 6


def test_an_altered_file_is_refused_with_both_hashes(directory: Path, store: Path):
    path = directory / "k3s"
    path.write_bytes(path.read_bytes()[:-1] + b"X")
    error = refused(directory, store)
    assert error.code == "E-RELEASE-HASH"
    assert hashlib.sha256(path.read_bytes()).hexdigest() in error.message
    assert "sha256sum-amd64.txt" in error.message


@pytest.mark.parametrize("name", ["k3s", "k3s-airgap-images-amd64.tar.gz"])
@pytest.mark.parametrize("kept", [0, 1, 600, -1])
def test_half_a_file_is_told_from_an_altered_one(directory: Path, store: Path, name: str, kept: int):
    path = directory / name
    path.write_bytes(path.read_bytes()[: min(kept, 200) if name == "k3s" else kept])
    error = refused(directory, store)
    # A single byte of a program or archive is not known for one any more.
    assert error.code == (
        "E-RELEASE-TRUNCATED" if kept != 1 else "E-RELEASE-ARCH" if name == "k3s" else "E-RELEASE-ARCHIVE"
    )


@pytest.mark.parametrize(("name", "pack"), [(".tar.zst", zstandard.compress), (".tar", bytes)])
def test_half_an_archive_of_any_packing_is_found(directory: Path, store: Path, name: str, pack):
    (directory / "k3s-airgap-images-amd64.tar.gz").unlink()
    path = directory / f"k3s-airgap-images-amd64{name}"
    path.write_bytes(pack(tar(os.urandom(300_000))))
    write_sums(directory, "amd64", ["k3s", path.name])
    path.write_bytes(path.read_bytes()[:150_000])
    assert refused(directory, store).code == "E-RELEASE-TRUNCATED"


def test_a_program_for_another_machine_is_named(directory: Path, store: Path):
    (directory / "k3s").write_bytes(program(Arch.ARM64))
    write_sums(directory, "amd64", ["k3s", "k3s-airgap-images-amd64.tar.gz"])
    error = refused(directory, store)
    assert error.code == "E-RELEASE-ARCH"
    assert "k3s must be a program for amd64, but is one for arm64" in error.message
    assert "k3s-arm64" in error.hint


def test_a_page_of_html_is_no_program_and_no_archive(directory: Path, store: Path):
    names = ["k3s", "k3s-airgap-images-amd64.tar.gz"]
    for name in names:
        (directory / name).write_text("<html>Not found</html>" * 100)
    write_sums(directory, "amd64", names)
    error = refused(directory, store)
    assert {fault.code for fault in error.faults} == {"E-RELEASE-ARCH", "E-RELEASE-ARCHIVE"}


def test_an_archive_that_is_packed_but_is_no_tar_is_refused(directory: Path, store: Path):
    (directory / "k3s-airgap-images-amd64.tar.gz").write_bytes(gzip.compress(b"just text" * 100))
    write_sums(directory, "amd64", ["k3s", "k3s-airgap-images-amd64.tar.gz"])
    assert refused(directory, store).code == "E-RELEASE-ARCHIVE"


def test_an_archive_packed_otherwise_than_its_name_says_is_refused(directory: Path, store: Path):
    (directory / "k3s-airgap-images-amd64.tar.gz").write_bytes(zstandard.compress(tar()))
    write_sums(directory, "amd64", ["k3s", "k3s-airgap-images-amd64.tar.gz"])
    error = refused(directory, store)
    assert error.code == "E-RELEASE-ARCHIVE"
    assert ".tar.zst" in error.hint


@pytest.mark.parametrize("name", ["k3s", "k3s-airgap-images-amd64.tar.gz", "sha256sum-amd64.txt"])
def test_every_missing_file_is_named(directory: Path, store: Path, name: str):
    (directory / name).unlink()
    error = refused(directory, store)
    assert error.code == "E-RELEASE-MISSING"
    assert name in error.message


def test_an_architecture_of_which_only_the_hashes_are_there_is_incomplete(directory: Path, store: Path):
    (directory / "sha256sum-arm64.txt").write_text(f"{'0' * 64}  k3s-arm64\n")
    error = refused(directory, store)
    assert error.code == "E-RELEASE-MISSING"
    assert "k3s-arm64" in error.message


def test_a_file_without_a_hash_line_is_refused(directory: Path, store: Path):
    write_sums(directory, "amd64", ["k3s"])
    error = refused(directory, store)
    assert error.code == "E-RELEASE-HASH-LINE"
    assert "k3s-airgap-images-amd64.tar.gz" in error.message


def test_all_faults_come_at_once(directory: Path, store: Path):
    (directory / "k3s").write_bytes(program()[:-1] + b"X")
    (directory / "k3s-arm64").write_bytes(program(Arch.AMD64))
    error = refused(directory, store)
    assert [fault.code for fault in error.faults].count("E-RELEASE-MISSING") == 2
    assert "E-RELEASE-HASH" in {fault.code for fault in error.faults}
    assert error.code == "E-RELEASE"
    assert error.message.startswith(f"{directory} has 3 faults")


def test_an_empty_directory_and_none_at_all_are_refused(tmp_path: Path, store: Path):
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path / "empty", store).code == "E-RELEASE-MISSING"
    assert refused(tmp_path / "nowhere", store).code == "E-RELEASE-MISSING"


def test_further_files_are_named_and_left_out(directory: Path, store: Path):
    (directory / "k3s-images.txt").write_text("docker.io/rancher/mirrored-pause:3.6\n")
    (directory / "notes.txt").write_text("mine")
    (directory / "k3s-airgap-images-amd64.tar").write_bytes(tar())
    release = add_release(directory, store_dir=store)
    assert [warning.partition(" ")[0] for warning in release.warnings] == ["k3s-airgap-images-amd64.tar", "notes.txt"]
    assert len(stored(store)) == 2


def test_a_release_whose_version_nobody_names_is_refused(directory: Path, store: Path):
    nameless = directory.rename(directory.with_name("downloads"))
    error = refused(nameless, store)
    assert error.code == "E-RELEASE-VERSION"
    assert "--version" in error.hint
    assert add_release(nameless, store_dir=store, version="v1.33.5-k3s1").version == VERSION


def test_two_names_for_one_release_are_a_dispute(directory: Path, store: Path):
    error = refused(directory, store, version="v1.33.6+k3s1")
    assert error.code == "E-RELEASE-VERSION"
    assert "--version says v1.33.6+k3s1" in error.message
    assert "v1.33.5+k3s1 says v1.33.5+k3s1" in error.message


def test_a_store_that_cannot_be_written_is_said_without_a_trace(directory: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ReleaseError) as caught:
        add_release(directory, store_dir=tmp_path / "file" / "store")
    assert caught.value.code == "E-RELEASE-STORE"


def test_the_result_says_what_the_rows_need(directory: Path, store: Path):
    release = add_release(directory, store_dir=store)
    assert isinstance(release, AddedRelease)
    assert {file.version for file in release.files} == {VERSION}
