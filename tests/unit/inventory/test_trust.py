from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import Session, select

from edgemgr.errors import ConflictError, SiteIdentityError, UsageError
from edgemgr.inventory.trust import TrustVerdict, judge, note_seen_key, pin, pin_seen, require_pinned
from edgemgr.links.host_keys import fingerprint
from edgemgr.model.event import Event
from edgemgr.model.secret import Secret, SecretName
from edgemgr.model.site import Group, Site, Trust
from edgemgr.model.timestamp import utc_now
from edgemgr.store import host_keys, schema, secrets
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault


def _line(number: int) -> str:
    blob = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes([number]) * 32
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"


KEYS = [_line(number) for number in range(4)]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    database = Database(f"sqlite:///{tmp_path / 'edgemgr.db'}")
    schema.upgrade(database)
    with database.write() as session:
        yield session
    database.close()


def _site(session: Session, name: str = "store-1", **fields: object) -> Site:
    site = Site(name=name, address="192.0.2.1", **fields)
    session.add(site)
    session.flush()
    return site


def _events(session: Session) -> list[tuple[str, str, str]]:
    return [(event.reason, event.type, event.message) for event in session.exec(select(Event)).all()]


@given(
    trust=st.sampled_from([trust.value for trust in Trust]),
    pin=st.none() | st.sampled_from(KEYS),
    is_full=st.booleans(),
    seen_before=st.none() | st.sampled_from(KEYS),
    key_line=st.sampled_from(KEYS),
    first_use_allowed=st.booleans(),
)
def test_the_rules_of_trust_hold_for_every_state(
    *, trust: str, pin: str | None, is_full: bool, seen_before: str | None, key_line: str, first_use_allowed: bool
) -> None:
    verdict = judge(
        trust=trust,
        pin=pin if pin is None or is_full else fingerprint(pin),
        is_full=is_full,
        seen_before=seen_before,
        key_line=key_line,
        first_use_allowed=first_use_allowed,
    )
    if trust == Trust.MISMATCH:
        assert verdict == TrustVerdict.MISMATCH  # no key that is shown ever ends it
    if verdict in (TrustVerdict.MATCH, TrustVerdict.COMPLETED):
        assert trust == Trust.PINNED
        assert pin == key_line
    if trust == Trust.PINNED and pin is not None:
        assert (verdict == TrustVerdict.MISMATCH) == (pin != key_line)
    if verdict == TrustVerdict.FIRST_USE:
        assert first_use_allowed
        assert seen_before in (None, key_line)
    if not first_use_allowed and trust in (Trust.UNKNOWN, Trust.SEEN):
        assert verdict in (TrustVerdict.SEEN, TrustVerdict.SEEN_AGAIN, TrustVerdict.SEEN_OTHER)


def test_a_first_key_is_seen_and_waits_for_a_word(session: Session) -> None:
    site = _site(session)
    assert note_seen_key(session, site, KEYS[0], actor="t") == TrustVerdict.SEEN
    assert (site.trust, site.host_key_seen, site.host_key) == (Trust.SEEN, KEYS[0], None)
    assert note_seen_key(session, site, KEYS[0], actor="t") == TrustVerdict.SEEN_AGAIN
    assert len(_events(session)) == 1
    with pytest.raises(SiteIdentityError) as caught:
        require_pinned(site)
    assert caught.value.code == "E-TRUST-SEEN"
    assert fingerprint(KEYS[0]) in caught.value.message


def test_a_confirmed_key_is_pinned_whole(session: Session) -> None:
    site = _site(session)
    note_seen_key(session, site, KEYS[0], actor="t")
    pin_seen(session, site, fingerprint(KEYS[0]), actor="olga")
    assert (site.trust, site.host_key, site.host_key_seen) == (Trust.PINNED, KEYS[0], None)
    require_pinned(site)


def test_a_key_that_changed_under_the_operators_eyes_is_not_pinned(session: Session) -> None:
    site = _site(session)
    note_seen_key(session, site, KEYS[0], actor="t")
    assert note_seen_key(session, site, KEYS[1], actor="t") == TrustVerdict.SEEN_OTHER
    with pytest.raises(ConflictError) as caught:
        pin_seen(session, site, fingerprint(KEYS[0]), actor="olga")
    assert caught.value.code == "E-TRUST-CHANGED"
    assert site.trust == Trust.SEEN


def test_a_pinned_fingerprint_is_completed_by_the_key_it_stands_for(session: Session) -> None:
    site = _site(session, trust="pinned", host_key_fingerprint=fingerprint(KEYS[0]))
    assert note_seen_key(session, site, KEYS[0], actor="t") == TrustVerdict.COMPLETED
    assert site.host_key == KEYS[0]
    assert note_seen_key(session, site, KEYS[0], actor="t") == TrustVerdict.MATCH


def test_another_key_stops_the_site_with_one_warning_and_never_resolves_itself(session: Session) -> None:
    site = _site(session, trust="pinned", host_key=KEYS[0], host_key_fingerprint=fingerprint(KEYS[0]))
    for shown in (KEYS[1], KEYS[1], KEYS[1]):
        assert note_seen_key(session, site, shown, actor="t") == TrustVerdict.MISMATCH
    [(reason, kind, message)] = _events(session)
    assert (reason, kind) == ("HostKeyMismatch", "warning")
    assert fingerprint(KEYS[0]) in message
    assert fingerprint(KEYS[1]) in message
    assert note_seen_key(session, site, KEYS[0], actor="t") == TrustVerdict.MISMATCH
    with pytest.raises(SiteIdentityError) as caught:
        require_pinned(site)
    assert caught.value.code == "E-SITE-IDENTITY-MISMATCH"
    assert site.host_key == KEYS[0]  # the pin stands


def test_a_mismatch_ends_only_with_a_reason(session: Session) -> None:
    site = _site(
        session, trust="pinned", host_key=KEYS[0], host_key_fingerprint=fingerprint(KEYS[0]), key_installed=True
    )
    note_seen_key(session, site, KEYS[1], actor="t")
    with pytest.raises(UsageError) as caught:
        pin(session, site, fingerprint(KEYS[1]), actor="olga", reason="  ")
    assert caught.value.code == "E-TRUST-REASON"
    assert pin(session, site, fingerprint(KEYS[1]), actor="olga", reason="node replaced")
    assert (site.trust, site.host_key, site.key_installed) == (Trust.PINNED, KEYS[1], False)
    assert "node replaced" in _events(session)[-1][2]


def test_a_false_alarm_is_ended_by_pinning_the_old_key_again_with_a_reason(session: Session) -> None:
    old = fingerprint(KEYS[0])
    site = _site(session, trust="pinned", host_key=KEYS[0], host_key_fingerprint=old, key_installed=True)
    note_seen_key(session, site, KEYS[1], actor="t")
    assert pin(session, site, old, actor="olga", reason="the address had been given to a printer")
    assert (site.trust, site.host_key, site.key_installed) == (Trust.PINNED, KEYS[0], True)


def test_pinning_what_is_pinned_changes_nothing(session: Session) -> None:
    site = _site(session, trust="pinned", host_key=KEYS[0], host_key_fingerprint=fingerprint(KEYS[0]))
    assert not pin(session, site, fingerprint(KEYS[0]), actor="olga")
    assert _events(session) == []


def test_one_key_on_two_sites_is_refused_with_both_names(session: Session) -> None:
    _site(session, "store-1", trust="pinned", host_key=KEYS[0], host_key_fingerprint=fingerprint(KEYS[0]))
    second = _site(session, "store-2")
    note_seen_key(session, second, KEYS[0], actor="t")
    with pytest.raises(ConflictError) as caught:
        pin_seen(session, second, fingerprint(KEYS[0]), actor="olga")
    assert caught.value.code == "E-TRUST-DUPLICATE"
    assert "store-1" in caught.value.message
    assert "store-2" in caught.value.message


def test_two_sites_that_show_one_key_are_both_refused(session: Session) -> None:
    sites = [_site(session, name) for name in ("store-1", "store-2")]
    for site in sites:
        note_seen_key(session, site, KEYS[0], actor="t")
    for site in sites:
        with pytest.raises(ConflictError, match="same host key"):
            pin_seen(session, site, fingerprint(KEYS[0]), actor="olga")


def _open_group(session: Session, *, hours: float) -> None:
    session.add(Group(name="shops", selector="name=store-1", trust_first_use_until=utc_now() + timedelta(hours=hours)))
    session.flush()


def test_a_group_may_trust_the_first_key_and_the_pin_says_so(session: Session) -> None:
    site = _site(session)
    _open_group(session, hours=1)
    assert note_seen_key(session, site, KEYS[0], actor="t") == TrustVerdict.FIRST_USE
    assert (site.trust, site.host_key) == (Trust.PINNED, KEYS[0])
    assert host_keys.pinned_on_first_use(session, site.id or 0)


def test_an_operators_pin_ends_the_doubt_of_a_first_use(session: Session) -> None:
    site = _site(session)
    _open_group(session, hours=1)
    note_seen_key(session, site, KEYS[0], actor="t")
    pin(session, site, fingerprint(KEYS[1]), actor="olga", reason="compared on the node")
    assert not host_keys.pinned_on_first_use(session, site.id or 0)


@pytest.mark.parametrize(("name", "hours"), [("store-1", -1), ("store-2", 1)])
def test_no_first_use_after_the_date_or_outside_the_group(session: Session, name: str, hours: float) -> None:
    site = _site(session, name)
    _open_group(session, hours=hours)
    assert note_seen_key(session, site, KEYS[0], actor="t") == TrustVerdict.SEEN


def test_no_first_use_where_a_password_waits_to_be_sent(session: Session) -> None:
    site = _site(session)
    _open_group(session, hours=1)
    secrets.put(session, Vault(bytes(32)), site.id or 0, SecretName.PASSWORD, Secret("canary"))
    assert note_seen_key(session, site, KEYS[0], actor="t") == TrustVerdict.SEEN


def test_no_first_use_of_a_key_that_another_site_has(session: Session) -> None:
    _site(session, "store-9", trust="pinned", host_key=KEYS[0], host_key_fingerprint=fingerprint(KEYS[0]))
    site = _site(session)
    _open_group(session, hours=1)
    assert note_seen_key(session, site, KEYS[0], actor="t") == TrustVerdict.SEEN
    assert "store-9" in _events(session)[-1][2]


def test_an_unknown_key_is_refused_with_the_command_that_helps() -> None:
    with pytest.raises(SiteIdentityError) as caught:
        require_pinned(Site(name="store-1", address="192.0.2.1"))
    assert caught.value.code == "E-TRUST-UNKNOWN"
    assert "edgemgr site trust store-1" in caught.value.hint


@pytest.mark.parametrize("text", ["", "SHA256:abc", "MD5:aa", "ssh-ed25519 AAAA"])
def test_what_is_no_fingerprint_cannot_be_pinned(session: Session, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        pin(session, _site(session), text, actor="olga")
    assert caught.value.code == "E-TRUST-FINGERPRINT"
