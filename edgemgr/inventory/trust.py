"""Trust in host keys: unknown → seen → pinned by an operator; another key than the pinned one stops the site.

Nothing here resolves itself: a mismatch ends only when an operator pins a key again and says why.
"""

from __future__ import annotations

from enum import StrEnum

from edgemgr.errors import ConflictError, SiteIdentityError, UsageError
from edgemgr.links.host_keys import fingerprint, is_fingerprint, matches
from edgemgr.model.event import Reason
from edgemgr.model.secret import SecretName
from edgemgr.model.site import Site, Trust
from edgemgr.model.timestamp import utc_now
from edgemgr.store import events, host_keys, secrets
from edgemgr.store.database import Session


class TrustVerdict(StrEnum):
    """What a key that a site showed means for it."""

    MATCH = "match"  #: the pinned key
    COMPLETED = "completed"  #: the key of the pinned fingerprint, seen in full for the first time
    MISMATCH = "mismatch"  #: not the pinned key, or the site has a mismatch that nobody has resolved
    SEEN = "seen"  #: the first key of a site that has no pin
    SEEN_AGAIN = "seen again"
    SEEN_OTHER = "seen other"  #: still no pin, and another key than before
    FIRST_USE = "first use"  #: may be pinned without an operator's look, because a group says so


def judge(
    *, trust: str, pin: str | None, is_full: bool, seen_before: str | None, key_line: str, first_use_allowed: bool
) -> TrustVerdict:
    """Decide what `key_line` means for a site. Pure.

    Args:
        trust: the site's state.
        pin: fingerprint or key line that is pinned; None when nothing is.
        is_full: whether `pin` is a key line.
        seen_before: key line that it showed the last time, where it is not pinned.
        key_line: what it shows now.
        first_use_allowed: a group of the site trusts the first key.
    """
    if trust == Trust.MISMATCH:
        return TrustVerdict.MISMATCH
    if trust == Trust.PINNED and pin is not None:
        if not matches(pin, key_line):
            return TrustVerdict.MISMATCH
        return TrustVerdict.MATCH if is_full else TrustVerdict.COMPLETED
    if seen_before is not None and not matches(seen_before, key_line):
        return TrustVerdict.SEEN_OTHER
    if first_use_allowed:
        return TrustVerdict.FIRST_USE
    return TrustVerdict.SEEN if seen_before is None else TrustVerdict.SEEN_AGAIN


def note_seen_key(session: Session, site: Site, key_line: str, *, actor: str) -> TrustVerdict:
    """Write down what a site showed and what follows from it, with an event where something changes."""
    assert site.id is not None  # noqa: S101 - it was read from the database
    group = None
    if site.trust in (Trust.UNKNOWN, Trust.SEEN) and not secrets.has(session, site.id, SecretName.PASSWORD):
        group = host_keys.first_use_group(session, site.id, utc_now())
    verdict = judge(
        trust=site.trust,
        pin=site.host_key or site.host_key_fingerprint,
        is_full=site.host_key is not None,
        seen_before=site.host_key_seen,
        key_line=key_line,
        first_use_allowed=group is not None,
    )
    shown = fingerprint(key_line)
    match verdict:
        case TrustVerdict.COMPLETED:
            site.host_key = key_line
        case TrustVerdict.MISMATCH:
            _note_mismatch(session, site, key_line, actor=actor)
        case TrustVerdict.FIRST_USE:
            others = host_keys.holders(session, fingerprint=shown, key_line=key_line, besides=site.id)
            if others:  # the rule for two sites with one key is an operator's look
                verdict = TrustVerdict.SEEN
                _note_seen(session, site, key_line, f"; {', '.join(others)} showed the same one", actor=actor)
            else:
                pin(session, site, shown, key_line=key_line, actor=f"{host_keys.FIRST_USE_ACTOR}{group}")
        case TrustVerdict.SEEN | TrustVerdict.SEEN_OTHER:
            note = " in the place of another one" if verdict is TrustVerdict.SEEN_OTHER else ""
            _note_seen(session, site, key_line, note, actor=actor)
        case TrustVerdict.SEEN_AGAIN:
            site.host_key_seen_at = utc_now()
    session.add(site)
    return verdict


def pin(session: Session, site: Site, shown: str, *, actor: str, key_line: str | None = None, reason: str = "") -> bool:
    """Pin the key of fingerprint `shown`; returns False if it is pinned already.

    Args:
        session: an open write session.
        site: the site, read in that session.
        shown: `SHA256:…`.
        actor: who says so.
        key_line: the whole key, if it is known; else it is completed at the first contact.
        reason: why; needed where it replaces a pin or resolves a mismatch.

    Raises:
        UsageError: it is no fingerprint (E-TRUST-FINGERPRINT), or a reason is needed (E-TRUST-REASON).
        ConflictError: another site has this key (E-TRUST-DUPLICATE).
    """
    assert site.id is not None  # noqa: S101 - it was read from the database
    if not is_fingerprint(shown):
        raise UsageError(
            f"{shown!r} is no fingerprint",
            hint="It begins with SHA256:; `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints it on the node.",
            code="E-TRUST-FINGERPRINT",
        )
    if site.trust == Trust.PINNED and site.host_key_fingerprint == shown:
        return False
    if site.trust in (Trust.PINNED, Trust.MISMATCH) and not reason.strip():
        raise UsageError(
            f"site {site.name} is pinned to {site.host_key_fingerprint}: another pin needs a reason",
            hint="Compare the fingerprint on the node itself, then add --reason, for example 'node replaced'.",
            code="E-TRUST-REASON",
        )
    known = next(
        (line for line in (key_line, site.host_key_seen, site.host_key) if line and matches(shown, line)), None
    )
    others = host_keys.holders(session, fingerprint=shown, key_line=known, besides=site.id)
    if others:
        raise ConflictError(
            f"site {site.name} shows the same host key as {', '.join(others)}: {shown}",
            hint="Copied disks? Give each node its own keys (rm /etc/ssh/ssh_host_*; ssh-keygen -A; restart sshd).",
            code="E-TRUST-DUPLICATE",
        )
    before = site.host_key_fingerprint
    if before is not None and before != shown:
        site.key_installed = False  # a replaced node does not know our key: it is tried, and installed again
    site.host_key, site.host_key_fingerprint, site.trust = known, shown, Trust.PINNED.value
    site.host_key_seen = site.host_key_seen_at = None
    session.add(site)
    instead = f" instead of {before}" if before and before != shown else ""
    because = f": {reason.strip()}" if reason.strip() else ""
    events.record(
        session,
        Reason.HOST_KEY_PINNED,
        f"host key {shown} pinned{instead}{because}",
        actor=actor,
        site_id=site.id,
        site_name=site.name,
    )
    return True


def pin_seen(session: Session, site: Site, shown: str, *, actor: str) -> None:
    """Pin the key that an operator was shown and confirmed.

    Raises:
        ConflictError: not what the site showed last (E-TRUST-CHANGED), or another site has it (E-TRUST-DUPLICATE).
    """
    if site.trust != Trust.SEEN or site.host_key_seen is None or fingerprint(site.host_key_seen) != shown:
        raise ConflictError(
            f"the host key of site {site.name} changed while it was being looked at",
            hint="Run `edgemgr site trust` again and compare again.",
            code="E-TRUST-CHANGED",
        )
    pin(session, site, shown, actor=actor)


def require_pinned(site: Site) -> None:
    """Let only a site pass whose host key is pinned.

    Raises:
        SiteIdentityError: E-TRUST-UNKNOWN, E-TRUST-SEEN or E-SITE-IDENTITY-MISMATCH; nothing may be sent to it.
    """
    if site.trust == Trust.PINNED:
        return
    seen = fingerprint(site.host_key_seen) if site.host_key_seen else "?"
    if site.trust == Trust.MISMATCH:
        raise SiteIdentityError(
            f"site {site.name} showed host key {seen}, pinned is {site.host_key_fingerprint}; nothing is sent to it",
            hint=f"Find out why. If the node was replaced, compare the key on the node, then: "
            f"`edgemgr site trust {site.name} --fingerprint SHA256:… --reason …`.",
            code="E-SITE-IDENTITY-MISMATCH",
        )
    if site.trust == Trust.SEEN:
        raise SiteIdentityError(
            f"site {site.name} showed host key {seen}, which nobody has confirmed",
            hint=f"Compare it with the node's own, then: `edgemgr site trust {site.name}`.",
            code="E-TRUST-SEEN",
        )
    raise SiteIdentityError(
        f"the host key of site {site.name} is not known",
        hint=f"Give its fingerprint in the CSV (host_key), or look and confirm: `edgemgr site trust {site.name}`.",
        code="E-TRUST-UNKNOWN",
    )


def _note_seen(session: Session, site: Site, key_line: str, note: str, *, actor: str) -> None:
    warn = bool(note)
    site.host_key_seen, site.host_key_seen_at, site.trust = key_line, utc_now(), Trust.SEEN.value
    events.record(
        session,
        Reason.HOST_KEY_SEEN,
        f"host key {fingerprint(key_line)} seen{note}",
        actor=actor,
        site_id=site.id,
        site_name=site.name,
        warning=warn,
    )


def _note_mismatch(session: Session, site: Site, key_line: str, *, actor: str) -> None:
    known = site.trust == Trust.MISMATCH and site.host_key_seen == key_line
    site.host_key_seen, site.host_key_seen_at, site.trust = key_line, utc_now(), Trust.MISMATCH.value
    if not known:
        events.record(
            session,
            Reason.HOST_KEY_MISMATCH,
            f"host key {fingerprint(key_line)} seen, pinned is {site.host_key_fingerprint}; the site is stopped",
            actor=actor,
            site_id=site.id,
            site_name=site.name,
            warning=True,
        )
