"""What an import or an edit must know of the sites that exist."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlmodel import Session, col

from edgemgr.model.site import Site, SiteLabel
from edgemgr.model.site_change import StoredSite
from edgemgr.store.queries import in_chunks, labels_of

_SET_BY_OPERATORS = (
    "name", "address", "port", "user", "jump_address", "jump_port", "jump_user", "jump_host_key", "host_key",
    "host_key_fingerprint", "trust", "key_installed", "profile", "arch", "timezone", "latitude", "longitude", "notes",
)  # fmt: skip
_COLUMNS = [getattr(Site, name) for name in ("id", *_SET_BY_OPERATORS)]


def by_name(session: Session, names: Sequence[str]) -> dict[str, StoredSite]:
    """Read those of these sites that exist."""
    return {
        site.name: site
        for part in in_chunks(names)
        for site in _read(session, list(session.execute(select(*_COLUMNS).where(col(Site.name).in_(part)))))
    }


def by_id(session: Session, ids: Sequence[int]) -> list[StoredSite]:
    """Read these sites, in the order given."""
    found = {
        site.id: site
        for part in in_chunks(ids)
        for site in _read(session, list(session.execute(select(*_COLUMNS).where(col(Site.id).in_(part)))))
    }
    return [found[site_id] for site_id in ids if site_id in found]


def at_addresses(session: Session, addresses: Collection[str]) -> list[tuple[str, str, int, str | None, int | None]]:
    """List the sites at these addresses: name, address, port, and address and port of the jump host."""
    shown = [col(Site.name), col(Site.address), col(Site.port), col(Site.jump_address), col(Site.jump_port)]
    return [
        (name, address, port, jump_address, jump_port)
        for part in in_chunks(sorted(addresses))
        for name, address, port, jump_address, jump_port in session.execute(
            select(*shown).where(col(Site.address).in_(part))
        )
    ]


def with_host_keys(session: Session, fingerprints: Collection[str]) -> dict[str, str]:
    """Tell which site has which of these host keys: fingerprint → name."""
    return {
        fingerprint: name
        for part in in_chunks(sorted(fingerprints))
        for fingerprint, name in session.execute(
            select(col(Site.host_key_fingerprint), col(Site.name)).where(col(Site.host_key_fingerprint).in_(part))
        )
    }


def label_keys(session: Session, ids: Sequence[int]) -> list[str]:
    """List the keys of all labels that these sites have, in order."""
    keys: set[str] = set()
    for part in in_chunks(ids):
        keys.update(
            session.execute(select(col(SiteLabel.key)).where(col(SiteLabel.site_id).in_(part)).distinct()).scalars()
        )
    return sorted(keys)


def _read(session: Session, rows: Sequence[tuple[object, ...]]) -> list[StoredSite]:
    ids = [row[0] for row in rows if isinstance(row[0], int)]
    labels = labels_of(session, ids)
    return [
        StoredSite(site_id, str(row[1]), dict(zip(_SET_BY_OPERATORS, row[1:], strict=True)), labels.get(site_id, {}))
        for site_id, row in zip(ids, rows, strict=True)
    ]
