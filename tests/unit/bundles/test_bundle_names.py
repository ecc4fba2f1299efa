"""Names of targets and what is said of them: closed lists, and each name fits what it names."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests_support.bundle_files import IMAGE_TYPE, K3S, record

from edgemgr.bundles.names import MAGIC, TARGET_NAME, blob_member, root_member, target_name_fault
from edgemgr.model.content import PLACES, ReleaseRecord, TargetCustom, TargetKind
from edgemgr.model.release import Arch

DIGEST = "ab" * 32


def custom(kind: TargetKind, **more: Any) -> TargetCustom:
    return TargetCustom(kind=kind, place=PLACES[kind], **more)


BINARY = custom(TargetKind.K3S_BINARY, arch=Arch.ARM64, k3s_version=K3S)
IMAGE = custom(TargetKind.IMAGE, arch=Arch.ARM, ref="docker.io/rancher/x:1", media_type=IMAGE_TYPE)
BLOB = custom(TargetKind.IMAGE_BLOB, media_type="application/octet-stream")

GOOD = [
    (f"k3s/{K3S}/arm64/k3s", BINARY),
    (f"images/k3s-{K3S}/arm/17.json", IMAGE),
    ("images/extra/arm/1.json", IMAGE),
    (f"oci/{DIGEST}", BLOB),
    ("charts/shop-1.2.3+build.tgz", custom(TargetKind.CHART)),
    ("manifests/Shop_a.yaml", custom(TargetKind.MANIFEST)),
    ("packs/ingress/1.2.tar", custom(TargetKind.PACK)),
    ("playbooks/edgemgr-2.tar.gz", custom(TargetKind.PLAYBOOKS)),
    ("wheels/edgemgr-1.0-py3-none-any.whl", custom(TargetKind.WHEEL)),
    ("notes/de.md", custom(TargetKind.NOTES)),
    ("sbom/bundle.cdx.json", custom(TargetKind.SBOM)),
]


@pytest.mark.parametrize(("name", "said"), GOOD)
def test_each_kind_has_its_own_names_and_no_other(name: str, said: TargetCustom) -> None:
    assert target_name_fault(name, DIGEST, said) == ""
    others = [other for other, about in GOOD if about.kind is not said.kind]
    assert all(target_name_fault(other, DIGEST, said) for other in others)


@pytest.mark.parametrize(
    "name",
    [
        *("", "notes", "/notes/a.md", "notes//a.md", "notes/../a.md", "notes/a..b.md", "notes/.a.md", "notes/a.md\n"),
        *("Notes/a.md", "notes/ä.md", "notes/a\0.md", "notes/a b.md", "notes/-a.md", "a/b/c/d/e/f/a.md"),
        "notes/" + "a" * 300,
    ],
)
def test_names_that_could_lead_astray_are_none(name: str) -> None:
    assert target_name_fault(name, DIGEST, custom(TargetKind.NOTES)) == "is no name of a target"


def test_a_name_says_the_same_as_its_description() -> None:
    assert target_name_fault(f"k3s/{K3S}/amd64/k3s", DIGEST, BINARY)
    assert target_name_fault("k3s/v1.30.0+k3s1/arm64/k3s", DIGEST, BINARY)
    assert target_name_fault("images/extra/amd64/1.json", DIGEST, IMAGE)
    assert target_name_fault("oci/" + "cd" * 32, DIGEST, BLOB)


@given(st.text(alphabet="ab/.-+_A0 \n\0ä", max_size=30))
def test_no_name_that_matches_leads_out_of_a_directory(name: str) -> None:
    if TARGET_NAME.fullmatch(name) and ".." not in name:
        parts = name.split("/")
        assert 2 <= len(parts) <= 5
        assert all(part and part not in {".", ".."} and part[0] not in ".-" for part in parts)


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "k3s-binary", "place": "images", "arch": "amd64", "k3s_version": K3S},
        {"kind": "k3s-binary", "place": "binary", "arch": "amd64"},
        {"kind": "k3s-binary", "place": "binary", "k3s_version": K3S},
        {"kind": "k3s-binary", "place": "binary", "arch": "amd64", "k3s_version": "latest"},
        {"kind": "k3s-binary", "place": "binary", "arch": "riscv64", "k3s_version": K3S},
        {"kind": "notes", "place": "/etc/cron.d"},
        {"kind": "script", "place": "none"},
        {"kind": "image", "place": "images", "arch": "amd64", "media_type": "x"},
        {"kind": "image-blob", "place": "images"},
        {"kind": "notes", "place": "none", "path": "/etc"},
        {"kind": "pack", "place": "pack", "chunks": [DIGEST]},
        {"kind": "pack", "place": "pack", "chunk_bytes": 4194304},
        {"kind": "pack", "place": "pack", "requires_from": ["any"]},
        {"kind": "image-blob", "place": "images", "media_type": "x", "uncompressed_size": -1},
    ],
)
def test_descriptions_that_make_no_sense_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TargetCustom.model_validate_json(json.dumps(bad))


@pytest.mark.parametrize(
    "bad",
    [
        {"product": "../retail"},
        {"product": ""},
        {"channel": ".hidden"},
        {"channel": "a/b"},
        {"number": 0},
        {"number": 2**31},
        {"title": "two\nlines"},
        {"k3s_versions": ("v1.34",)},
        {"k3s_versions": ("v1.34.6-k3s1",)},
        {"from_versions": ("1.x",)},
        {"min_free_bytes": -1},
        {"min_edgemgr": "soon"},
    ],
)
def test_records_that_make_no_sense_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        record(**bad)


def test_a_record_reads_as_it_was_written() -> None:
    assert ReleaseRecord.model_validate_json(record(3).model_dump_json(exclude_defaults=True)) == record(3)


def test_members_have_the_names_of_the_format() -> None:
    assert blob_member(DIGEST) == f"blobs/sha256/{DIGEST}"
    assert root_member(7) == "tuf/7.root.json"
    assert MAGIC == b'{"format":"edgemgr-bundle","version":1}'
