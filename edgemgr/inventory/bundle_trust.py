"""A root or an update of one → trust in whoever signs with it; what came of it is recorded either way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from edgemgr.bundles.roots import RootInfo
from edgemgr.bundles.trust import TrustStore
from edgemgr.errors import BundleError
from edgemgr.model.event import Reason
from edgemgr.store import events
from edgemgr.store.database import Database


def trust_root(
    database: Database, trust_dir: Path, data: bytes, *, fingerprint: str, now: datetime, actor: str
) -> RootInfo:
    """Trust a root whose fingerprint came by another way.

    Raises:
        BundleError: as `TrustStore.add_root`.
    """
    store = TrustStore(trust_dir)
    before = {root.name for root in store.roots()}
    with _refusals_recorded(database, actor):
        info = store.add_root(data, fingerprint=fingerprint, now=now)
    if info.name not in before:
        _record(database, f"root {info.version} of '{info.name}' is trusted: {info.fingerprint}", actor)
    return info


def update_trust(database: Database, trust_dir: Path, data: bytes, *, now: datetime, actor: str) -> RootInfo:
    """Follow the line of a trusted root to its newest version.

    Raises:
        BundleError: as `TrustStore.update_root`.
    """
    store = TrustStore(trust_dir)
    with _refusals_recorded(database, actor):
        info, is_new = store.update_root(data, now=now)
    if is_new:
        note_update(database, info, actor)
    return info


def note_update(database: Database, info: RootInfo, actor: str) -> None:
    """Record that a newer root of a trusted line has come, from then on the only one that counts."""
    message = f"root {info.version} of '{info.name}' is trusted in the place of an older one: {info.fingerprint}"
    _record(database, message, actor)


@contextmanager
def _refusals_recorded(database: Database, actor: str) -> Iterator[None]:
    try:
        yield
    except BundleError as exc:
        with database.write() as session:
            message = f"a root was refused: {exc.message} ({exc.code})"
            events.record(session, Reason.TRUST_REFUSED, message, actor=actor, warning=True)
        raise


def _record(database: Database, message: str, actor: str) -> None:
    with database.write() as session:
        events.record(session, Reason.TRUST_CHANGED, message, actor=actor)
