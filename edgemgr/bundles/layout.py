"""The OCI image layout of a bundle, derived from the signed targets, so that it needs no signature of its own.

OCI image specification, image-layout.md and image-index.md. Two annotations carry an image's full name: the
specification's own, and the one that containerd prefers on import.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from edgemgr.bundles.content import Target
from edgemgr.model.content import TargetKind

OCI_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def index_of(targets: Iterable[Target]) -> bytes:
    """The bytes of `index.json` for these targets."""
    images = sorted((t for t in targets if t.custom.kind is TargetKind.IMAGE), key=lambda t: t.name)
    index = {"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": [_entry(image) for image in images]}
    return json.dumps(index, sort_keys=True, separators=(",", ":")).encode()


def _entry(image: Target) -> dict[str, Any]:
    custom = image.custom
    return {
        "mediaType": custom.media_type,
        "digest": f"sha256:{image.digest}",
        "size": image.size_bytes,
        "platform": {"architecture": custom.arch, "os": custom.os or "linux"},
        "annotations": {"io.containerd.image.name": custom.ref, "org.opencontainers.image.ref.name": custom.ref},
    }
