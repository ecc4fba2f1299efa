"""What lies in the content store though nothing refers to it: left by a kill, or removed on another machine."""

from __future__ import annotations

from edgemgr.inventory.content_store import ContentStore
from edgemgr.store import bundles
from edgemgr.store.database import Database

#: `release add` puts its files here some moments before their rows: younger ones may be its own, seconds.
_YOUNG_S = 3600.0


def sweep(database: Database, store: ContentStore) -> None:
    """Take away what nobody holds. Only under the lock of whoever changes content."""
    store.drop_temporary()
    old = store.untouched(_YOUNG_S)
    if old:
        with database.read() as session:
            held = bundles.held(session, old)
        store.remove(digest for digest in old if digest not in held)
