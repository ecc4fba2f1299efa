"""The names in a bundle file and of its signed targets, and the limits that hold for all of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgemgr.model.content import TargetCustom, TargetKind

FORMAT = "edgemgr-bundle"
FORMAT_VERSION = 1
MAGIC_MEMBER = "edgemgr-bundle.json"
#: What the first member says, byte for byte.
MAGIC = b'{"format":"edgemgr-bundle","version":1}'
TIMESTAMP_MEMBER = "tuf/timestamp.json"
SNAPSHOT_MEMBER = "tuf/snapshot.json"
TARGETS_MEMBER = "tuf/targets.json"
LAYOUT_MEMBER = "oci-layout"
INDEX_MEMBER = "index.json"

CHUNK_BYTES = 4 << 20
#: Files of more than this have the digests of their chunks in the signed metadata, so that a cut transfer can go on.
CHUNKED_FROM_BYTES = 8 << 20

_PART = r"[A-Za-z0-9][A-Za-z0-9._+-]*"
TARGET_NAME = re.compile(rf"[a-z0-9][A-Za-z0-9._+-]*(?:/{_PART}){{1,4}}", re.ASCII)
ROOT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)

_SHAPES = {
    TargetKind.IMAGE: rf"images/(?:k3s-{_PART}|extra)/[a-z0-9]+/[0-9]+\.json",
    TargetKind.IMAGE_BLOB: r"oci/[0-9a-f]{64}",
    TargetKind.CHART: rf"charts/{_PART}\.tgz",
    TargetKind.MANIFEST: rf"manifests/{_PART}\.yaml",
    TargetKind.PACK: rf"packs/{_PART}/{_PART}\.tar",
    TargetKind.PLAYBOOKS: rf"playbooks/{_PART}\.tar\.gz",
    TargetKind.WHEEL: rf"wheels/{_PART}\.whl",
    TargetKind.NOTES: rf"notes/{_PART}\.md",
    TargetKind.SBOM: rf"sbom/{_PART}\.json",
}
_SHAPE_OF = {kind: re.compile(shape, re.ASCII) for kind, shape in _SHAPES.items()}


@dataclass(frozen=True)
class Caps:
    """How much of everything a reader takes at most. Sizes in bytes; the metadata's are python-tuf's defaults."""

    bundle: int = 16 << 30
    member: int = (8 << 30) - 1  #: eleven octal digits, all that a ustar header holds
    magic: int = 4096
    root: int = 512_000
    timestamp: int = 16_384
    snapshot: int = 2_000_000
    targets_json: int = 5_000_000
    index: int = 10_000_000
    targets: int = 20_000
    members: int = 50_000
    root_chain: int = 32
    json_depth: int = 32
    target_name: int = 300


CAPS = Caps()


def blob_member(digest: str) -> str:
    """The member that holds the file of this SHA-256 (64 hexadecimal digits)."""
    return f"blobs/sha256/{digest}"


def root_member(version: int) -> str:
    """The member that holds this version of the root metadata."""
    return f"tuf/{version}.root.json"


def target_name_fault(name: str, digest: str, custom: TargetCustom) -> str:
    """What is wrong with a target's name for what it is; empty when nothing is."""
    if len(name) > CAPS.target_name or TARGET_NAME.fullmatch(name) is None or ".." in name:
        return "is no name of a target"
    if custom.kind is TargetKind.K3S_BINARY:
        fits = name == f"k3s/{custom.k3s_version}/{custom.arch}/k3s"
    elif custom.kind is TargetKind.IMAGE_BLOB:
        fits = name == f"oci/{digest}"
    else:
        fits = _SHAPE_OF[custom.kind].fullmatch(name) is not None
        if custom.kind is TargetKind.IMAGE:
            fits = fits and name.split("/")[2] == custom.arch
    return "" if fits else f"is no name for a {custom.kind}"
