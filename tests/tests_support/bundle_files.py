"""Bundles for tests: keys, small payloads, bundle files, and the means to take them apart and damage them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edgemgr.bundles import ustar
from edgemgr.bundles.keys import export_root, init_keys, load_signer
from edgemgr.bundles.names import CHUNK_BYTES, CHUNKED_FROM_BYTES
from edgemgr.bundles.payload import Payload
from edgemgr.bundles.roots import RootInfo
from edgemgr.bundles.trust import TrustStore
from edgemgr.bundles.write import Written, write_bundle
from edgemgr.model.content import PLACES, ReleaseRecord, TargetCustom, TargetKind
from edgemgr.model.release import Arch

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
MADE_AT = NOW - timedelta(days=10)
EXPIRES_AT = MADE_AT + timedelta(days=548)
K3S = "v1.34.6+k3s1"
IMAGE_TYPE = "application/vnd.oci.image.manifest.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"


def make_keys(directory: Path, *, name: str = "vendor", purpose: str = "release") -> RootInfo:
    """A directory of keys without a passphrase."""
    return init_keys(directory, name=name, purpose=purpose, passphrase=None, now=MADE_AT)


def trusting(directory: Path, *keys: Path) -> TrustStore:
    """A trust store that trusts the newest root of each of these directories of keys."""
    store = TrustStore(directory)
    for one in keys:
        store.add_root(export_root(one), fingerprint=load_signer(one, None).root.fingerprint, now=NOW)
    return store


def record(number: int = 1, **changes: Any) -> ReleaseRecord:
    """A release record."""
    values: dict[str, Any] = {
        "product": "retail",
        "channel": "stable",
        "number": number,
        "title": "Retail stores",
        "k3s_versions": (K3S,),
        "from_versions": ("v1.33", "v1.34"),
        "archs": (Arch.AMD64,),
        "created_at": MADE_AT,
    }
    return ReleaseRecord(**(values | changes))


def payload(directory: Path, name: str, data: bytes, kind: TargetKind, **custom: Any) -> Payload:
    """A file with these bytes, as a payload under this name; `{digest}` in the name is filled in."""
    directory.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(data).hexdigest()
    path = directory / digest
    path.write_bytes(data)
    if len(data) > CHUNKED_FROM_BYTES:
        blocks = [data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
        custom |= {"chunk_bytes": CHUNK_BYTES, "chunks": tuple(hashlib.sha256(block).hexdigest() for block in blocks)}
    said = TargetCustom(kind=kind, place=PLACES[kind], **custom)
    return Payload(name.format(digest=digest), digest, len(data), said, path)


def small_payload(directory: Path) -> list[Payload]:
    """A k3s binary, one image of two blobs, a manifest and notes, of odd sizes; a few kilobytes in all."""
    layer = payload(directory, "oci/{digest}", b"layer" * 300, TargetKind.IMAGE_BLOB, media_type=LAYER_TYPE)
    config = payload(
        directory, "oci/{digest}", b'{"architecture":"amd64"}', TargetKind.IMAGE_BLOB, media_type=CONFIG_TYPE
    )
    image = {"schemaVersion": 2, "config": config.digest, "layers": [layer.digest]}
    return [
        payload(
            directory, f"k3s/{K3S}/amd64/k3s", b"\x7fELF" * 257, TargetKind.K3S_BINARY, arch=Arch.AMD64, k3s_version=K3S
        ),
        payload(
            directory,
            f"images/k3s-{K3S}/amd64/1.json",
            json.dumps(image).encode(),
            TargetKind.IMAGE,
            arch=Arch.AMD64,
            ref="docker.io/rancher/mirrored-pause:3.6",
            media_type=IMAGE_TYPE,
        ),
        layer,
        config,
        payload(directory, "manifests/shop.yaml", b"kind: Namespace\n", TargetKind.MANIFEST),
        payload(directory, "notes/en.md", b"# What is new\n", TargetKind.NOTES),
    ]


def make_bundle(
    directory: Path,
    keys: Path,
    *,
    number: int = 1,
    name: str = "retail.emb",
    expires_at: datetime = EXPIRES_AT,
    **changes: Any,
) -> Path:
    """A small bundle, signed with these keys."""
    write(directory / name, small_payload(directory / "payload"), keys, record(number, **changes), expires_at)
    return directory / name


def write(
    target: Path, items: Sequence[Payload], keys: Path, release: ReleaseRecord, expires_at: datetime = EXPIRES_AT
) -> Written:
    """Write a bundle with these keys."""
    return write_bundle(target, items, release, load_signer(keys, None), expires_at=expires_at)


@dataclass(frozen=True)
class Member:
    """One member of an archive as it lies in the file."""

    header: bytes
    data: bytes

    @property
    def name(self) -> str:
        """Its name."""
        return ustar.name_of(self.header)

    @property
    def raw(self) -> bytes:
        """Header, contents and padding."""
        return self.header + self.data + bytes(ustar.padded(len(self.data)) - len(self.data))


def take_apart(bundle: bytes) -> list[Member]:
    """The members of a good bundle."""
    members, at = [], 0
    while any(header := bundle[at : at + 512]):
        size = int(header[124:135], 8)
        members.append(Member(header, bundle[at + 512 : at + 512 + size]))
        at += 512 + ustar.padded(size)
    return members


def put_together(members: Sequence[Member | bytes]) -> bytes:
    """An archive of members and of raw blocks, with its end."""
    return b"".join(member if isinstance(member, bytes) else member.raw for member in members) + ustar.TRAILER


def plain(name: str, data: bytes) -> Member:
    """A member as the writer writes it."""
    return Member(ustar.header(name, len(data)), data)


def foreign(name: str, data: bytes = b"", *, form: int = tarfile.GNU_FORMAT, **fields: Any) -> bytes:
    """A member as the general library writes it, with whatever fields it is told to have; without the end."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        archive.addfile(info, io.BytesIO(data))
        end = archive.offset
    return buffer.getvalue()[:end]
