"""Changes to sites that exist, one by one: the same rules for fields as in the import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from edgemgr.errors import InventoryError
from edgemgr.inventory.columns import BY_NAME, label_column
from edgemgr.inventory.compare import Wanted, contradictions, difference
from edgemgr.inventory.field_fault import FieldFault
from edgemgr.model.site_change import SiteChange, StoredSite
from edgemgr.store import queries, secrets, sites, stored_sites
from edgemgr.store.database import Database, Session
from edgemgr.store.secrets import Sealer


def edit_site(
    database: Database, vault: Sealer, name: str, cells: Mapping[str, str], *, actor: str, dry_run: bool = False
) -> SiteChange | None:
    """Change fields of a site, by the names of their columns; an empty text takes a value away.

    Returns:
        What was (or would be) changed; None if the site is so already.

    Raises:
        NotFoundError: there is no such site.
        InventoryError: a value is not acceptable, or does not fit the others (E-SITE-FIELD).
    """
    wanted = _read(cells)
    with database.read() if dry_run else database.write() as session:
        site_id = queries.get_site(session, name).id or 0
        stored = stored_sites.by_id(session, [site_id])[0]
        effective = {**stored.values, **wanted.values}
        faults = [(column, effective, fault) for column, fault in contradictions(effective)]
        if faults:
            raise _error([f"{column}: {fault.message}" for column, _, fault in faults], faults[0][2].hint)
        _refuse_taken_address(session, stored, effective)
        change = difference(stored, wanted, partial(secrets.get, session, vault, site_id))
        if change is not None and not dry_run:
            sites.change(session, vault, [change], actor=actor)
        return change


def label_sites(
    database: Database,
    vault: Sealer,
    site_ids: Sequence[int],
    labels: Mapping[str, str | None],
    *,
    actor: str,
    dry_run: bool = False,
) -> list[SiteChange]:
    """Set labels on sites, or take them away where the value is None; returns what was (or would be) changed.

    Raises:
        InventoryError: a key or value breaks the rules of labels (E-SITE-FIELD).
    """
    wanted = Wanted()
    for key, value in labels.items():
        try:
            column = label_column(key)
            wanted.take(column, None if value is None else column.read(value))
        except FieldFault as fault:
            raise _error([f"label {key}={value or ''}: {fault.message}"], fault.hint) from None
    with database.read() if dry_run else database.write() as session:
        stored = stored_sites.by_id(session, site_ids)
        found = [difference(site, wanted, partial(secrets.get, session, vault, site.id)) for site in stored]
        changes = [change for change in found if change is not None]
        if not dry_run:
            sites.change(session, vault, changes, actor=actor)
        return changes


def _read(cells: Mapping[str, str]) -> Wanted:
    wanted = Wanted()
    faults = []
    hint = ""
    for name, text in cells.items():
        column = BY_NAME[name]
        if not text.strip() and column.required:
            faults.append(f"{name}: it may not be empty")
            continue
        try:
            wanted.take(column, column.read(text.strip()) if text.strip() else None)
        except FieldFault as fault:
            faults.append(f"{name} {text!r}: {fault.message}")
            hint = hint or fault.hint
    if faults:
        raise _error(faults, hint)
    return wanted


def _refuse_taken_address(session: Session, stored: StoredSite, effective: dict[str, Any]) -> None:
    endpoint = tuple(effective[name] for name in ("address", "port", "jump_address", "jump_port"))
    for name, *where in stored_sites.at_addresses(session, [effective["address"]]):
        if name != stored.name and tuple(where) == endpoint:
            raise _error([f"site {name} has the address {endpoint[0]}:{endpoint[1]}"], "Correct one of the two.")


def _error(faults: Sequence[str], hint: str) -> InventoryError:
    return InventoryError("; ".join(faults), hint=hint, code="E-SITE-FIELD")
