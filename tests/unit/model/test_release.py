from __future__ import annotations

import pytest

from edgemgr.lab.k3s_standin.elf import elf_file
from edgemgr.model.release import (
    Arch,
    Packing,
    arch_of_machine,
    elf_arch,
    elf_extent,
    image_archive_name,
    image_archive_names,
    packing_of,
    read_hash_list,
)


def test_the_arm_binary_is_named_armhf_and_its_images_are_named_arm():
    assert image_archive_name(Arch.ARM, Packing.ZSTD) == "k3s-airgap-images-arm.tar.zst"
    assert arch_of_machine("armv7l") is Arch.ARM


def test_the_smallest_archive_is_preferred():
    assert image_archive_names(Arch.AMD64)[0] == "k3s-airgap-images-amd64.tar.zst"


@pytest.mark.parametrize("arch", list(Arch))
def test_the_head_of_a_program_tells_its_architecture_and_least_size(arch: Arch):
    program = elf_file(arch, b"\x90" * 100, b"payload")
    assert elf_arch(program) is arch
    assert elf_extent(program) == len(program)


def test_what_is_no_program_has_no_architecture_and_no_size():
    for head in (b"", b"#!/bin/sh\n", b"\x7fELF", b"MZ" + bytes(100), b"\x7fELF\x02\x02" + bytes(100)):
        assert elf_arch(head) is None
    assert elf_extent(b"\x7fELF\x02") == 0


def test_a_machine_that_k3s_is_not_published_for_has_no_architecture():
    assert arch_of_machine("riscv64") is None


def test_the_packing_is_told_from_the_first_bytes():
    assert packing_of(b"\x28\xb5\x2f\xfd....") is Packing.ZSTD
    assert packing_of(b"\x1f\x8b\x08....") is Packing.GZIP
    assert packing_of(bytes(257) + b"ustar\x0000" + bytes(247)) is Packing.TAR
    assert packing_of(b"<html>") is None


def test_a_hash_list_is_read_with_its_oddities():
    text = f"{'A' * 64}  k3s\r\n{'b' * 64} *k3s-arm64\n\nnot a line\n{'c' * 63}  short\n"
    assert read_hash_list(text) == {"k3s": "a" * 64, "k3s-arm64": "b" * 64}
