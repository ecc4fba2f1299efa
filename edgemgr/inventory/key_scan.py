"""Collecting host keys: many sites at once over the network, then what they showed into the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from edgemgr.errors import EdgemgrError
from edgemgr.inventory.jump import enter_jump, jump_of
from edgemgr.inventory.trust import TrustVerdict, note_seen_key
from edgemgr.links import host_keys
from edgemgr.model.secret import Secret, SecretName
from edgemgr.model.site import Site
from edgemgr.model.target import Jump
from edgemgr.settings import Settings
from edgemgr.store import secrets
from edgemgr.store.database import Database, Session
from edgemgr.vault.vault import Vault

_AT_ONCE = 32


@dataclass(frozen=True)
class KeyScan:
    """What came of asking one site: a verdict, or the reason why there is none."""

    site_id: int
    verdict: TrustVerdict | None = None
    error: EdgemgrError | None = None


@dataclass(frozen=True)
class _Route:
    site_id: int
    address: str
    port: int
    pin: str | None
    jump: Jump | None
    jump_keys: tuple[Secret, ...]


def scan_site(database: Database, vault: Vault, settings: Settings, site_id: int, *, actor: str) -> None:
    """Ask one site for its host key and write down what follows; the site's `trust` says what that was.

    Raises:
        EdgemgrError: the site could not be asked.
    """
    for result in scan_sites(database, vault, settings, [site_id], actor=actor):
        if result.error is not None:
            raise result.error


def scan_sites(
    database: Database,
    vault: Vault,
    settings: Settings,
    site_ids: Sequence[int],
    *,
    actor: str,
    on_done: Callable[[KeyScan], None] = lambda _: None,
) -> list[KeyScan]:
    """Ask many sites for their host keys, some at the same time; one that fails does not hinder the others.

    No transaction is open while the network is used.
    """
    results: list[KeyScan] = []
    for site_id, answer in _answers(database, vault, site_ids, settings.connect_timeout_s):
        if isinstance(answer, EdgemgrError):
            result = KeyScan(site_id, error=answer)
        else:
            with database.write() as session:
                site = session.get(Site, site_id, with_for_update=True)
                if site is None:  # deleted meanwhile
                    continue
                result = KeyScan(site_id, verdict=note_seen_key(session, site, answer, actor=actor))
        results.append(result)
        on_done(result)
    return results


def _answers(
    database: Database, vault: Vault, site_ids: Sequence[int], timeout_s: float
) -> Iterator[tuple[int, str | EdgemgrError]]:
    routes: list[_Route] = []
    for site_id in site_ids:
        try:
            with database.read() as session:
                site = session.get(Site, site_id)
                if site is not None:
                    routes.append(_route(session, vault, site, site_id))
        except EdgemgrError as exc:
            yield site_id, exc
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="host-key") as pool:
        asked = {pool.submit(_ask, route, timeout_s): route.site_id for route in routes}
        for done in as_completed(asked):
            try:
                yield asked[done], done.result()
            except EdgemgrError as exc:
                yield asked[done], exc


def _route(session: Session, vault: Vault, site: Site, site_id: int) -> _Route:
    jump = jump_of(site)
    names = (SecretName.PRIVATE_KEY, SecretName.FIRST_KEY) if jump is not None else ()
    found = (secrets.get(session, vault, site_id, name) for name in names)
    return _Route(
        site_id=site_id,
        address=site.address,
        port=site.port,
        pin=site.host_key or site.host_key_fingerprint,
        jump=jump,
        jump_keys=tuple(key for key in found if key is not None),
    )


def _ask(route: _Route, timeout_s: float) -> str:
    """Get the pinned key if the site still has it, else the one that it prefers to show."""
    jump = enter_jump(route.jump, route.jump_keys, timeout_s=timeout_s)[0] if route.jump else None
    try:
        if route.pin is None:
            return host_keys.scan(route.address, route.port, jump=jump, timeout_s=timeout_s)
        return host_keys.find(route.pin, route.address, route.port, jump=jump, timeout_s=timeout_s)
    finally:
        if jump is not None:
            jump.close()
