"""Built modules: what Ansible packs for the nodes, kept between its processes (collection, callback `lean_start`)."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

from edgemgr.settings import Settings


def built_modules(settings: Settings, playbooks: Path) -> Path:
    """The directory for the modules of these very files and this ansible-core; the callback makes it."""
    digest = hashlib.sha256(version("ansible-core").encode())
    for path in sorted(playbooks.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"\0{path.relative_to(playbooks)}\0{len(content)}\0".encode())
        digest.update(content)
    return settings.runtime_dir.absolute() / f"modules-{digest.hexdigest()[:16]}"
