"""One attempt of a pull: the newest backup that the node holds comes into this appliance's store, block by block."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from edgemgr.errors import Retry, SiteError, SiteUnreachableError
from edgemgr.inventory.backup_pull import keep_backup
from edgemgr.inventory.backup_shelf import rule_of, shelf_of
from edgemgr.inventory.backup_store import BackupStore
from edgemgr.links.backup_pull import Pulled, list_backups, pull_blocks
from edgemgr.links.connection import Connection
from edgemgr.links.ssh import connect
from edgemgr.links.transfer import Stop
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.timestamp import utc_now
from edgemgr.queue.errand import Errand
from edgemgr.queue.fault import result_of
from edgemgr.queue.staging import GAVE_WAY, window_closed
from edgemgr.queue.traffic import SiteTraffic, traffic_of
from edgemgr.store import backups, stages

CANCELED = AttemptResult(Outcome.CANCELED, message="what has come is kept; the next pull goes on from there")
#: A cut after so much says that the link brings something: the next connection goes on at once.
_ADVANCED_BYTES = 1 << 20


def pull(errand: Errand) -> AttemptResult:
    """Bring what is new of the node's newest backup; what has come once never travels again.

    Where a link was lost after something had come, the site is tried again at once, as long as that brings more.

    Raises:
        SiteError: as `pull_blocks`; the node holds no backup (E-BACKUP-GONE).
        BackupStoreError: the store cannot be used.
    """
    with errand.database.read() as session:
        traffic = traffic_of(errand.database).of_site(stages.parts_of(session, errand.site_id))
    result = _pull(errand, traffic)
    while result.advanced:
        try:
            result = _pull(errand, traffic)
        except SiteUnreachableError:
            break
    return result


def _pull(errand: Errand, traffic: SiteTraffic) -> AttemptResult:
    """Over one connection, as `pull`."""
    if not traffic.is_open(utc_now()):
        return window_closed(traffic)
    if errand.gives_way():
        return GAVE_WAY
    seen = [Pulled()]
    with connect(errand.target, timeout_s=errand.settings.connect_timeout_s) as connection:
        try:
            stop = _bring_newest(errand, connection, traffic, seen)
        except SiteUnreachableError as exc:
            return replace(result_of(exc), advanced=seen[-1].received_bytes >= _ADVANCED_BYTES)
    if stop is Stop.CANCELED:
        return CANCELED
    if stop is Stop.WINDOW:
        return window_closed(traffic) if not traffic.is_open(utc_now()) else GAVE_WAY
    return AttemptResult(Outcome.SUCCEEDED)


def _bring_newest(errand: Errand, connection: Connection, traffic: SiteTraffic, seen: list[Pulled]) -> Stop | None:
    there = list_backups(connection)
    if not there:
        raise _none(connection.name)
    newest = max(there)
    with errand.database.read() as session:
        held = backups.find(session, errand.site_id, newest)
    if held is not None and held.digest == there[newest]:
        return None

    def bring(store: BackupStore) -> Pulled:
        return pull_blocks(
            connection,
            newest,
            there[newest],
            store,
            throttle=traffic.throttle,
            on_progress=partial(seen.__setitem__, 0),
            is_canceled=errand.is_canceled,
            is_open=lambda: not errand.gives_way() and traffic.is_open(utc_now()),
        )

    shelf = shelf_of(errand.database, errand.vault, errand.settings)
    kept = keep_backup(shelf, errand.site_id, errand.target.name, bring, rule=rule_of(errand.settings))
    return kept.pulled.stop


def _none(name: str) -> SiteError:
    error = SiteError(
        f"{name} holds no backup to bring",
        hint=f"Take one: `edgemgr backup run {name}`.",
        code="E-BACKUP-GONE",
    )
    error.retry = Retry.NEVER
    return error
