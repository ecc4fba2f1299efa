"""Access: from a Site to a Target that can be connected to, with a key of its own in the place of a password.

Every step may be the last before a crash, and doing it all again converges: the private key is sealed before its
public half leaves this machine, the key is tried before anything else is, and a password is erased only after a
login with the key, in the transaction that says so. No transaction is open while the network is used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgemgr.errors import NotFoundError, SiteIdentityError, SiteLoginError
from edgemgr.inventory.jump import enter_jump, jump_of
from edgemgr.inventory.key_scan import scan_site
from edgemgr.inventory.trust import note_seen_key, require_pinned
from edgemgr.links.access_key import install, jump_options, make_key_pair
from edgemgr.links.host_keys import is_fingerprint, matches
from edgemgr.model.event import Reason
from edgemgr.model.secret import Secret, SecretName
from edgemgr.model.site import Site, Trust
from edgemgr.model.target import Target
from edgemgr.model.timestamp import utc_now
from edgemgr.settings import Settings
from edgemgr.store import events, host_keys, secrets
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault

ACTOR = "edgemgr"
_FIRST_ONLY = (SecretName.PASSWORD, SecretName.FIRST_KEY)


@dataclass(frozen=True)
class _Way:
    """A site's target with our own key, and what may open it before that key is installed."""

    target: Target
    public_key: str
    is_settled: bool
    first_key: Secret | None
    password: Secret | None
    pinned_on_first_use: bool


def open_target(database: Database, vault: Vault, settings: Settings, site_id: int, *, actor: str = ACTOR) -> Target:
    """Give what it takes to connect to a site; called before every attempt.

    Costs no connection once our key is installed. Before that it installs our key with the sealed password or the
    operator's key, proves it with a word that the site gives back (the target then says how long that took), erases
    what it replaces, and completes a pin that is only a fingerprint.

    Raises:
        NotFoundError: there is no such site.
        SiteIdentityError: its host key is not pinned or another one answered (E-TRUST-UNKNOWN, E-TRUST-SEEN,
            E-SITE-IDENTITY-MISMATCH, E-JUMP-UNPINNED, E-JUMP-IDENTITY-MISMATCH); nothing secret was sent.
        SiteUnreachableError: it did not answer.
        SiteLoginError: it does not let us in (E-LOGIN-PASSWORD, E-LOGIN-KEY, E-LOGIN-NONE, E-LOGIN-JUMP,
            E-LOGIN-INSTALL, E-LOGIN-KEY-FORMAT, E-TRUST-PASSWORD).
        VaultError: a sealed secret cannot be opened.
    """
    if _needs_scan(database, site_id):
        scan_site(database, vault, settings, site_id, actor=actor)
    ensure_key(database, vault, site_id)
    way = _way(database, vault, site_id)
    if way.is_settled:
        return way.target
    try:
        target = _install(way, settings.connect_timeout_s)
    except SiteIdentityError as exc:
        if getattr(exc, "seen", None) and is_fingerprint(way.target.host_key):
            # A fingerprint does not tell the type of its key: the site may have it beside the one that it prefers.
            scan_site(database, vault, settings, site_id, actor=actor)
            return open_target(database, vault, settings, site_id, actor=actor)
        note_mismatch(database, site_id, exc, actor=actor)
        raise
    _settle(database, way.public_key, target, actor=actor)
    return target


def ensure_key(database: Database, vault: Vault, site_id: int) -> str:
    """Make the site's own key pair if it has none; returns the public half, `ssh-ed25519 BASE64 COMMENT`.

    Raises:
        NotFoundError: there is no such site.
    """
    with database.read() as session:
        site = _site(session.get(Site, site_id), site_id)
        if site.public_key and secrets.has(session, site_id, SecretName.PRIVATE_KEY):
            return site.public_key
    pair = make_key_pair(f"edgemgr-site-{site_id}")
    with database.write() as session:
        site = _site(session.get(Site, site_id, with_for_update=True), site_id)
        if site.public_key and secrets.has(session, site_id, SecretName.PRIVATE_KEY):
            return site.public_key  # another worker was quicker
        secrets.put(session, vault, site_id, SecretName.PRIVATE_KEY, pair.private)
        site.public_key, site.key_installed = pair.public, False
        session.add(site)
    return pair.public


def note_mismatch(database: Database, site_id: int, error: SiteIdentityError, *, actor: str = ACTOR) -> None:
    """Stop the site if `error` says that another host key than the pinned one answered."""
    seen = getattr(error, "seen", None)
    if seen is None:  # not known, or the jump host's: nothing to hold against the site
        return
    with database.write() as session:
        site = session.get(Site, site_id, with_for_update=True)
        if site is not None:
            note_seen_key(session, site, seen, actor=actor)


def _needs_scan(database: Database, site_id: int) -> bool:
    """Tell whether to look at the host key first; a site that no operator pinned passes only by its group's word."""
    with database.read() as session:
        site = _site(session.get(Site, site_id), site_id)
        if site.trust in (Trust.UNKNOWN, Trust.SEEN):
            allowed = host_keys.first_use_group(session, site_id, utc_now()) is not None
            if allowed and not secrets.has(session, site_id, SecretName.PASSWORD):
                return True
        require_pinned(site)
        return site.host_key is None and site.key_installed


def _way(database: Database, vault: Vault, site_id: int) -> _Way:
    with database.read() as session:
        site = _site(session.get(Site, site_id), site_id)
        require_pinned(site)
        pin = site.host_key or site.host_key_fingerprint
        if pin is None or site.public_key is None:
            raise RuntimeError(f"site {site.name} is pinned without a key")
        first_key, password = (
            secrets.get(session, vault, site_id, name) for name in (SecretName.FIRST_KEY, SecretName.PASSWORD)
        )
        return _Way(
            target=Target(
                site_id=site_id,
                name=site.name,
                address=site.address,
                port=site.port,
                user=site.user,
                host_key=pin,
                private_key=secrets.get(session, vault, site_id, SecretName.PRIVATE_KEY),
                jump=jump_of(site),
            ),
            public_key=site.public_key,
            is_settled=site.key_installed and first_key is None and password is None,
            first_key=first_key,
            password=password,
            pinned_on_first_use=host_keys.pinned_on_first_use(session, site_id),
        )


def _install(way: _Way, timeout_s: float) -> Target:
    """Bring our key to the site and prove that it opens; only proves it where it does already.

    Returns the target with the whole host key.
    """
    from edgemgr.links.handshake import shown_key
    from edgemgr.links.sign_of_life import require_life
    from edgemgr.links.ssh import connect_as

    jump_key = _open_jump(way, timeout_s)
    try:
        connection, entered = connect_as([way.target, *_entries(way)], timeout_s=timeout_s, jump_key=jump_key)
    except SiteLoginError as refused:
        raise _explained(way, refused) from refused
    with connection:
        target = replace(way.target, host_key=shown_key(connection.transport))
        if entered is not way.target:
            install(connection, way.public_key, timeout_s=timeout_s + 20)
    return require_life(target, timeout_s=timeout_s)


def _entries(way: _Way) -> list[Target]:
    """List what may open the site for the first time, the operator's key before the password."""
    entries = []
    if way.first_key is not None:
        entries.append(replace(way.target, private_key=way.first_key))
    if way.password is not None and not way.pinned_on_first_use:
        entries.append(replace(way.target, password=way.password))
    return entries


def _explained(way: _Way, refused: SiteLoginError) -> SiteLoginError:
    """Say what to do where nothing was there, or allowed, that could have opened the site."""
    name = way.target.name
    if way.password is not None and way.pinned_on_first_use:
        return SiteLoginError(
            f"site {name} was pinned without an operator's look: no password is sent to it",
            hint=f"Compare its key on the node and pin it: `edgemgr site trust {name} "
            "--fingerprint SHA256:… --reason …`; or place the key of `edgemgr site key` there.",
            code="E-TRUST-PASSWORD",
        )
    if way.password is None and way.first_key is None:
        return SiteLoginError(
            f"site {name} does not let our key in, and no password is there to install it with",
            hint=f"Put the line of `edgemgr site key {name}` into {way.target.user}'s authorized_keys, "
            f"or give a password for once: `edgemgr site password {name}`.",
            code="E-LOGIN-NONE",
        )
    return refused


def _open_jump(way: _Way, timeout_s: float) -> Secret | None:
    """Make sure that our own key opens the jump host; the operator's key may let us install it there."""
    target = way.target
    if target.jump is None or target.private_key is None:
        return None
    keys = [key for key in (target.private_key, way.first_key) if key is not None]
    connection, key = enter_jump(target.jump, keys, timeout_s=timeout_s)
    with connection:
        if key is not target.private_key:
            install(connection, way.public_key, options=jump_options(target.address, target.port))
    return target.private_key


def _settle(database: Database, public_key: str, target: Target, *, actor: str) -> None:
    with database.write() as session:
        site = _site(session.get(Site, target.site_id, with_for_update=True), target.site_id)
        pin = site.host_key or site.host_key_fingerprint
        is_same = site.trust == Trust.PINNED and pin is not None and matches(pin, target.host_key)
        if not is_same or site.public_key != public_key:
            raise SiteIdentityError(
                f"the pin of site {site.name} was changed while its key was being installed",
                hint="Try again.",
                code="E-TRUST-CHANGED",
            )
        erased = secrets.erase(session, target.site_id, *_FIRST_ONLY)
        site.host_key, site.key_installed = target.host_key, True
        session.add(site)
        events.record(
            session,
            Reason.ACCESS_KEY_INSTALLED,
            "our key opens the site" + ("; the password or key for the first login is erased" if erased else ""),
            actor=actor,
            site_id=target.site_id,
            site_name=target.name,
        )


def _site(site: Site | None, site_id: int) -> Site:
    if site is None:
        raise NotFoundError(f"there is no site with id {site_id}", code="E-SITE-UNKNOWN")
    return site
