"""Somebody who makes bundles for an appliance: whole k3s versions with images that share layers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from edgemgr.bundles.keys import export_root, init_keys, load_signer
from edgemgr.bundles.payload import Payload
from edgemgr.bundles.trust import TrustStore
from edgemgr.lab.k3s_standin.elf import elf_file
from edgemgr.model.content import TargetKind
from edgemgr.model.release import Arch
from edgemgr.model.timestamp import utc_now
from tests_support.bundle_files import CONFIG_TYPE, IMAGE_TYPE, payload, record, write
from tests_support.image_archives import config_bytes, layer_bytes

OLD, NEW = "v1.33.5+k3s1", "v1.34.6+k3s1"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
SHARED = layer_bytes("shared", 40_000)


@dataclass(frozen=True)
class BundleShop:
    """Keys and a place for files. Times follow the clock, so that what is made here is valid today."""

    directory: Path

    @classmethod
    def open(cls, directory: Path, *, name: str = "vendor", purpose: str = "release") -> BundleShop:
        """Make the keys."""
        init_keys(directory / "keys", name=name, purpose=purpose, passphrase=None, now=utc_now() - timedelta(days=100))
        return cls(directory)

    @property
    def keys(self) -> Path:
        return self.directory / "keys"

    def trusted_in(self, trust_dir: Path) -> TrustStore:
        """Let an appliance trust this shop."""
        store = TrustStore(trust_dir)
        fingerprint = load_signer(self.keys, None).root.fingerprint
        store.add_root(export_root(self.keys), fingerprint=fingerprint, now=utc_now())
        return store

    def bundle(
        self,
        number: int = 1,
        versions: Sequence[str] = (NEW,),
        *,
        archs: Sequence[Arch] = (Arch.AMD64,),
        file: str | None = None,
        product: str = "retail",
        expires_at: datetime | None = None,
        more: Sequence[Payload] = (),
    ) -> Path:
        """A bundle with these versions; returns its file."""
        items = {item.name: item for version in versions for arch in archs for item in self.release(version, arch)}
        items.update({item.name: item for item in more})
        target = self.directory / (file or f"{product}-{number}.emb")
        made_at = utc_now() - timedelta(days=90)
        release = record(number, product=product, k3s_versions=tuple(versions), archs=tuple(archs), created_at=made_at)
        write(target, list(items.values()), self.keys, release, expires_at or utc_now() + timedelta(days=400))
        return target

    def release(self, version: str, arch: Arch) -> list[Payload]:
        """The program and two images of a version; the images share a layer with those of every other version."""
        files = self.directory / "payload"
        program = elf_file(arch, b"\xbf\x01\x00\x00\x00\xb8\xe7\x00\x00\x00\x0f\x05", version.encode())
        items = [
            payload(files, f"k3s/{version}/{arch}/k3s", program, TargetKind.K3S_BINARY, arch=arch, k3s_version=version)
        ]
        for number, image in enumerate(("coredns", "pause"), 1):
            layers = (SHARED, layer_bytes(f"{image}-{version}-{arch}"))
            config = config_bytes(layers, arch.value)
            parts = [
                payload(files, "oci/{digest}", config, TargetKind.IMAGE_BLOB, media_type=CONFIG_TYPE, os="linux"),
                *(
                    payload(files, "oci/{digest}", layer, TargetKind.IMAGE_BLOB, media_type=LAYER_TYPE, os="linux")
                    for layer in layers
                ),
            ]
            document = {
                "schemaVersion": 2,
                "mediaType": IMAGE_TYPE,
                "config": {"mediaType": CONFIG_TYPE, "digest": f"sha256:{parts[0].digest}", "size": len(config)},
                "layers": [
                    {"mediaType": LAYER_TYPE, "digest": f"sha256:{part.digest}", "size": part.size_bytes}
                    for part in parts[1:]
                ],
            }
            manifest = payload(
                files,
                f"images/k3s-{version}/{arch}/{number}.json",
                json.dumps(document).encode(),
                TargetKind.IMAGE,
                arch=arch,
                k3s_version=version,
                os="linux",
                media_type=IMAGE_TYPE,
                ref=f"docker.io/rancher/{image}:{version.replace('+', '-')}",
            )
            items += [*parts, manifest]
        return items

    def large(self, size_bytes: int, seed: str = "large") -> Payload:
        """A chart of that size, so that an import takes a while."""
        block = hashlib.shake_256(seed.encode()).digest(1 << 20)
        content = (block * (size_bytes // len(block) + 1))[:size_bytes]
        return payload(self.directory / "payload", f"charts/{seed}.tgz", content, TargetKind.CHART)
