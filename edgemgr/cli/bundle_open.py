"""Opens a bundle to look at it: against the roots that are trusted here, or against one root that was named."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edgemgr.cli.bundle_view import BundleView, view_of

if TYPE_CHECKING:
    from edgemgr.bundles.content import Content
    from edgemgr.bundles.trust import TrustStore


def contents_of(path: Path, *, root: bytes | None, now: datetime) -> Content:
    """What a bundle's signed metadata says; neither its age nor its number keeps it from being looked at.

    Args:
        path: a file, a first part, or a directory with parts.
        root: trusted for this once, in place of those that are trusted here.
        now: the present.

    Raises:
        BundleError: it is damaged, or not signed by a trusted root.
    """
    return _opened(path, root, now)[0]


def look(path: Path, *, root: bytes | None, now: datetime) -> BundleView:
    """The same for the screen."""
    content, size_bytes = _opened(path, root, now)
    return _view(path, content, size_bytes, now, "signatures; `edgemgr bundle verify` reads all of it")


def verified(
    path: Path, *, root: bytes | None, now: datetime, on_progress: Callable[[int, int], None] | None = None
) -> BundleView:
    """Read a bundle to its last byte, as an import would.

    Raises:
        BundleError: whatever an import would refuse it for.
    """
    from edgemgr.bundles.source import open_source
    from edgemgr.bundles.trust import TrustStore
    from edgemgr.bundles.verify import verify_bundle
    from edgemgr.settings import load_settings

    with tempfile.TemporaryDirectory() as name:
        trust = TrustStore(load_settings().trust_dir) if root is None else _only(root, Path(name), now)
        content = verify_bundle(path, trust, now=now, on_progress=on_progress)
    with open_source(path) as source:
        size_bytes = source.size_bytes
    return _view(path, content, size_bytes, now, "signatures and every byte")


def _opened(path: Path, root: bytes | None, now: datetime) -> tuple[Content, int]:
    from edgemgr.bundles.read import read_head
    from edgemgr.bundles.source import open_source
    from edgemgr.bundles.verify import verify_metadata

    with _trust_without_past(root, now) as trust, open_source(path) as source:
        return verify_metadata(read_head(source), trust, now=now, accept_expired=True), source.size_bytes


@contextmanager
def _trust_without_past(root: bytes | None, now: datetime) -> Iterator[TrustStore]:
    """The roots without what was imported: a bundle before the newest can be looked at, though not imported."""
    from edgemgr.bundles.trust import TrustStore
    from edgemgr.settings import load_settings

    with tempfile.TemporaryDirectory() as name:
        if root is not None:
            yield _only(root, Path(name), now)
            return
        for trusted in sorted(load_settings().trust_dir.glob("*/root.json")):
            line = trusted.parent
            shutil.copytree(line, Path(name) / line.name, ignore=shutil.ignore_patterns("products"))
        yield TrustStore(Path(name))


def _only(root: bytes, directory: Path, now: datetime) -> TrustStore:
    """A trust of that root alone."""
    from edgemgr.bundles.chain import info_of, read_root
    from edgemgr.bundles.trust import TrustStore

    trust = TrustStore(directory)
    trust.add_root(root, fingerprint=info_of(read_root(root, "root.json")).fingerprint, now=now)
    return trust


def _view(path: Path, content: Content, size_bytes: int, now: datetime, checked: str) -> BundleView:
    return view_of(
        content.release,
        content.targets.values(),
        file=str(path),
        size_bytes=size_bytes,
        expires_at=content.expires_at,
        now=now,
        checked=checked,
        content=content,
    )
