from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from edgemgr.errors import LabError, ReleaseError
from edgemgr.inventory.release_add import add_release
from edgemgr.lab.k3s_standin.build import build_standin
from edgemgr.lab.k3s_standin.node.images import ImportFailedError, read_archive
from edgemgr.lab.release_files import write_real_release, write_standin_release
from edgemgr.model.release import Arch, elf_arch, elf_extent

VERSION = "v1.33.5+k3s1"


def digests(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def test_the_same_arguments_give_the_same_bytes_and_another_version_other_ones():
    assert build_standin(VERSION, padding_bytes=100) == build_standin(VERSION, padding_bytes=100)
    assert build_standin(VERSION, padding_bytes=100) != build_standin("v1.33.6+k3s1", padding_bytes=100)


@pytest.mark.parametrize("arch", list(Arch))
def test_the_file_is_a_program_for_its_architecture_to_its_last_byte(arch: Arch):
    program = build_standin(VERSION, arch=arch, padding_bytes=1000)
    assert elf_arch(program) is arch
    assert elf_extent(program[:4096]) == len(program)


def test_an_unknown_fault_is_refused_with_those_that_are_known():
    with pytest.raises(LabError) as caught:
        build_standin(VERSION, faults={"explode": 1})
    assert caught.value.code == "E-LAB-FAULT"
    assert "never_ready" in caught.value.hint


def test_a_release_of_the_stand_in_is_accepted_as_a_release(tmp_path: Path):
    write_standin_release(tmp_path / "downloads", VERSION, arches=("amd64", "arm64", "arm"), images_mib=1)
    release = add_release(tmp_path / "downloads", store_dir=tmp_path / "store")
    assert release.version == VERSION  # the directory does not say it: the program did
    assert release.warnings == ()
    assert {(f.arch, f.part) for f in release.files} == {(a.value, p) for a in Arch for p in ("binary", "images")}


def test_a_directory_named_after_another_version_than_its_program_is_refused(tmp_path: Path):
    write_standin_release(tmp_path / "v1.33.6+k3s1", VERSION, images_mib=1)
    with pytest.raises(ReleaseError) as caught:
        add_release(tmp_path / "v1.33.6+k3s1", store_dir=tmp_path / "store")
    assert caught.value.code == "E-RELEASE-VERSION"
    assert not list((tmp_path / "store").iterdir())


def test_the_hash_lists_are_such_that_sha256sum_checks_them(tmp_path: Path):
    write_standin_release(tmp_path / "r", VERSION, arches=("amd64", "arm"), images_mib=1)
    assert "k3s-armhf" in (tmp_path / "r/sha256sum-arm.txt").read_text()
    for name in ("sha256sum-amd64.txt", "sha256sum-arm.txt"):
        subprocess.run(["sha256sum", "--strict", "-c", name], cwd=tmp_path / "r", check=True, capture_output=True)


def test_the_archive_holds_the_images_that_are_listed(tmp_path: Path):
    write_standin_release(tmp_path / "r", VERSION, arches=("amd64", "arm64"), images_mib=1)
    images = read_archive(tmp_path / "r/k3s-airgap-images-amd64.tar.gz")
    assert sorted(images) == (tmp_path / "r/k3s-images.txt").read_text().split()
    with pytest.raises(ImportFailedError):
        read_archive(tmp_path / "r/k3s-airgap-images-arm64.tar.gz")


def test_writing_again_changes_nothing_and_another_release_is_not_written_over(tmp_path: Path):
    write_standin_release(tmp_path / "r", VERSION, images_mib=1)
    before = digests(tmp_path / "r")
    write_standin_release(tmp_path / "r", VERSION, images_mib=1)
    with pytest.raises(LabError) as caught:
        write_standin_release(tmp_path / "r", "v1.34.1+k3s1", images_mib=1)
    assert caught.value.code == "E-LAB-RELEASE"
    assert digests(tmp_path / "r") == before
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_a_release_around_given_files_takes_its_version_from_the_program(tmp_path: Path):
    write_standin_release(tmp_path / "r", VERSION, images_mib=1)
    binary, archive = tmp_path / "r/k3s", tmp_path / "r/k3s-airgap-images-amd64.tar.gz"
    assert write_real_release(tmp_path / "real", binary, archive) == VERSION
    assert add_release(tmp_path / "real", store_dir=tmp_path / "store").version == VERSION
    with pytest.raises(LabError) as caught:
        write_real_release(tmp_path / "mixed", archive, binary)
    assert caught.value.code == "E-LAB-RELEASE"
