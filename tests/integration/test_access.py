"""From a site in the inventory to a login with a key of its own, against a real sshd and on a crash at every step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import select
from tests_support.throwaway_sshd import PASSWORD, ThrowawaySshd, make_key, running_sshd

from edgemgr.errors import SiteIdentityError, SiteLoginError, SiteUnreachableError
from edgemgr.inventory import access
from edgemgr.inventory.access import ensure_key, open_target
from edgemgr.inventory.key_scan import scan_sites
from edgemgr.links import access_key, host_keys, ssh
from edgemgr.model.event import Event
from edgemgr.model.secret import Secret, SecretName
from edgemgr.model.site import Group, Site, Trust
from edgemgr.model.timestamp import utc_now
from edgemgr.settings import Settings
from edgemgr.store import schema, secrets
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="starts an sshd with a password of its own: needs root")

VAULT = Vault(bytes(range(32)))
SETTINGS = Settings(connect_timeout_s=5)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ThrowawaySshd]:
    with running_sshd(tmp_path / "node") as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'edgemgr.db'}")
    schema.upgrade(database)
    yield database
    database.close()


def _add(store: Database, node: ThrowawaySshd, *, password: str | None = None, **fields: object) -> int:
    plain = {"name": "store-1", "address": "127.0.0.1", "port": node.port, "trust": "pinned"}
    if "trust" not in fields:
        plain["host_key_fingerprint"] = host_keys.fingerprint(node.host_keys[0])
    with store.write() as session:
        site = Site(**(plain | fields))
        session.add(site)
        session.flush()
        if password is not None:
            secrets.put(session, VAULT, site.id or 0, SecretName.PASSWORD, Secret(password))
        return site.id or 0


def _read(store: Database, site_id: int) -> Site:
    with store.read() as session:
        return session.get_one(Site, site_id)


def _has(store: Database, site_id: int, name: SecretName) -> bool:
    with store.read() as session:
        return secrets.has(session, site_id, name)


def _reasons(store: Database) -> list[str]:
    with store.read() as session:
        return [event.reason for event in session.exec(select(Event)).all()]


def _move_to_closed_port(store: Database, site_id: int) -> None:
    with store.write() as session:
        session.get_one(Site, site_id).port = 9


def _open(store: Database, site_id: int) -> str:
    """Open the site as a worker would and use the result."""
    target = open_target(store, VAULT, SETTINGS, site_id)
    with ssh.connect(target) as connection:
        return connection.run("echo in").stdout


def test_a_password_brings_our_key_in_once_and_is_erased(store: Database, node: ThrowawaySshd) -> None:
    site_id = _add(store, node, password=PASSWORD)
    assert _open(store, site_id) == "in\n"
    site = _read(store, site_id)
    assert (site.host_key, site.key_installed) == (node.host_keys[0], True)
    assert not _has(store, site_id, SecretName.PASSWORD)
    assert "AccessKeyInstalled" in _reasons(store)
    assert node.authorized_keys.read_text() == f"{access_key.SITE_OPTIONS} {site.public_key}\n"
    _move_to_closed_port(store, site_id)
    target = open_target(store, VAULT, SETTINGS, site_id)  # from now on it costs no connection
    assert target.password is None


def test_the_first_contact_takes_two_connections(store: Database, node: ThrowawaySshd) -> None:
    site_id = _add(store, node, password=PASSWORD)
    open_target(store, VAULT, SETTINGS, site_id)  # one completes the pin and brings our key, the other proves it
    assert node.log().count("kex: host key algorithm") == 2


def test_a_fingerprint_of_a_key_that_the_site_does_not_prefer_is_found_and_nothing_is_sent_before(
    store: Database, tmp_path: Path
) -> None:
    with running_sshd(tmp_path / "node", kinds=("ed25519", "ecdsa")) as node:
        site_id = _add(store, node, password=PASSWORD, host_key_fingerprint=host_keys.fingerprint(node.host_keys[1]))
        assert _open(store, site_id) == "in\n"
        assert _read(store, site_id).host_key == node.host_keys[1]
        by_other_key = [part for part in node.log().split("Connection from ") if "algorithm: ssh-ed25519" in part]
        assert by_other_key
        assert not any("userauth-request" in part for part in by_other_key)


def test_an_operators_key_brings_ours_in_and_is_erased(store: Database, node: ThrowawaySshd, tmp_path: Path) -> None:
    public = make_key(tmp_path / "theirs", "rsa")
    node.authorized_keys.parent.mkdir()
    node.authorized_keys.write_text(public + "\n")
    site_id = _add(store, node)
    with store.write() as session:
        secrets.put(session, VAULT, site_id, SecretName.FIRST_KEY, Secret((tmp_path / "theirs").read_text()))
    assert _open(store, site_id) == "in\n"
    assert not _has(store, site_id, SecretName.FIRST_KEY)
    assert not any("method password" in line for line in node.logins())


def test_a_key_that_an_operator_placed_is_enough(store: Database, node: ThrowawaySshd) -> None:
    site_id = _add(store, node)
    with pytest.raises(SiteLoginError) as caught:
        open_target(store, VAULT, SETTINGS, site_id)
    assert caught.value.code == "E-LOGIN-NONE"
    assert "edgemgr site key store-1" in caught.value.hint
    node.authorized_keys.parent.mkdir()
    node.authorized_keys.write_text(ensure_key(store, VAULT, site_id) + "\n")
    assert _open(store, site_id) == "in\n"


def test_a_wrong_host_key_stops_the_site_and_no_login_is_tried(
    store: Database, node: ThrowawaySshd, tmp_path: Path
) -> None:
    wrong = make_key(tmp_path / "wrong")
    site_id = _add(store, node, password=PASSWORD, trust="pinned", host_key_fingerprint=host_keys.fingerprint(wrong))
    for _ in range(2):
        with pytest.raises(SiteIdentityError) as caught:
            open_target(store, VAULT, SETTINGS, site_id)
        assert caught.value.code == "E-SITE-IDENTITY-MISMATCH"
    assert node.logins() == []
    assert _read(store, site_id).trust == Trust.MISMATCH
    assert _reasons(store).count("HostKeyMismatch") == 1
    assert _has(store, site_id, SecretName.PASSWORD)


def test_a_full_pin_that_does_not_match_stops_the_site_too(
    store: Database, node: ThrowawaySshd, tmp_path: Path
) -> None:
    wrong = make_key(tmp_path / "wrong")
    fields = {"trust": "pinned", "host_key": wrong, "host_key_fingerprint": host_keys.fingerprint(wrong)}
    site_id = _add(store, node, password=PASSWORD, **fields)
    with pytest.raises(SiteIdentityError):
        open_target(store, VAULT, SETTINGS, site_id)
    assert node.logins() == []
    assert _read(store, site_id).trust == Trust.MISMATCH


@pytest.mark.parametrize(("trust", "code"), [("unknown", "E-TRUST-UNKNOWN"), ("seen", "E-TRUST-SEEN")])
def test_a_site_that_is_not_pinned_is_not_even_connected_to(
    store: Database, node: ThrowawaySshd, trust: str, code: str
) -> None:
    site_id = _add(store, node, password=PASSWORD, trust=trust, host_key_seen=node.host_keys[0])
    _move_to_closed_port(store, site_id)  # a connection would end in another error
    with pytest.raises(SiteIdentityError) as caught:
        open_target(store, VAULT, SETTINGS, site_id)
    assert caught.value.code == code


def test_a_wrong_password_is_told_and_kept_for_correction(store: Database, node: ThrowawaySshd) -> None:
    site_id = _add(store, node, password="wrong-canary")
    with pytest.raises(SiteLoginError) as caught:
        open_target(store, VAULT, SETTINGS, site_id)
    assert caught.value.code == "E-LOGIN-PASSWORD"
    with store.write() as session:
        secrets.put(session, VAULT, site_id, SecretName.PASSWORD, Secret(PASSWORD))
    assert _open(store, site_id) == "in\n"


class _CrashError(Exception):
    pass


@pytest.mark.parametrize("step", ["ensure_key", "install", "_settle"])
@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_step_leaves_something_that_converges(
    store: Database, node: ThrowawaySshd, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    site_id = _add(store, node, password=PASSWORD)
    real = getattr(access, step)

    def crash(*args: object, **named: object) -> None:
        if after:
            real(*args, **named)
        raise _CrashError

    monkeypatch.setattr(access, step, crash)
    with pytest.raises(_CrashError):
        open_target(store, VAULT, SETTINGS, site_id)
    monkeypatch.setattr(access, step, real)
    assert _has(store, site_id, SecretName.PASSWORD) != _read(store, site_id).key_installed
    assert _open(store, site_id) == "in\n"
    assert not _has(store, site_id, SecretName.PASSWORD)
    assert len(node.authorized_keys.read_text().splitlines()) == 1


def test_a_new_password_brings_our_key_in_again_on_a_rebuilt_node(store: Database, node: ThrowawaySshd) -> None:
    site_id = _add(store, node, password=PASSWORD)
    _open(store, site_id)
    node.authorized_keys.unlink()
    with store.write() as session:
        secrets.put(session, VAULT, site_id, SecretName.PASSWORD, Secret(PASSWORD))
    assert _open(store, site_id) == "in\n"
    assert node.authorized_keys.exists()


def _open_group(store: Database) -> None:
    with store.write() as session:
        until = utc_now() + timedelta(hours=1)
        session.add(Group(name="shops", selector="name=store-1", trust_first_use_until=until))


def test_first_use_pins_for_a_key_login_and_never_for_a_password(store: Database, node: ThrowawaySshd) -> None:
    _open_group(store)
    site_id = _add(store, node, trust="unknown")
    node.authorized_keys.parent.mkdir()
    node.authorized_keys.write_text(ensure_key(store, VAULT, site_id) + "\n")
    assert _open(store, site_id) == "in\n"
    node.authorized_keys.unlink()
    with store.write() as session:  # however it got there
        secrets.put(session, VAULT, site_id, SecretName.PASSWORD, Secret(PASSWORD))
    with pytest.raises(SiteLoginError) as caught:
        open_target(store, VAULT, SETTINGS, site_id)
    assert caught.value.code == "E-TRUST-PASSWORD"
    assert not any("method password" in line for line in node.logins())


def test_a_password_that_waits_forbids_first_use(store: Database, node: ThrowawaySshd) -> None:
    _open_group(store)
    site_id = _add(store, node, trust="unknown", password=PASSWORD)
    with pytest.raises(SiteIdentityError) as caught:
        open_target(store, VAULT, SETTINGS, site_id)
    assert caught.value.code == "E-TRUST-UNKNOWN"
    assert node.logins() == []


def test_behind_a_jump_host_the_operators_key_places_ours_on_both(
    store: Database, node: ThrowawaySshd, tmp_path: Path
) -> None:
    public = make_key(tmp_path / "theirs")
    with running_sshd(tmp_path / "jump") as gate:
        for sshd in (gate, node):
            sshd.authorized_keys.parent.mkdir()
            sshd.authorized_keys.write_text(public + "\n")
        fields = {"jump_address": "127.0.0.1", "jump_port": gate.port, "jump_user": "root"}
        site_id = _add(store, node, jump_host_key=gate.host_keys[0], **fields)
        with store.write() as session:
            secrets.put(session, VAULT, site_id, SecretName.FIRST_KEY, Secret((tmp_path / "theirs").read_text()))
        assert _open(store, site_id) == "in\n"
        assert f'permitopen="127.0.0.1:{node.port}"' in gate.authorized_keys.read_text()
        for sshd in (gate, node):  # the operator's key is not needed any more
            sshd.authorized_keys.write_text(sshd.authorized_keys.read_text().replace(public + "\n", ""))
        assert _open(store, site_id) == "in\n"


def test_a_site_that_does_not_answer_is_unreachable_and_nothing_changes(store: Database, node: ThrowawaySshd) -> None:
    site_id = _add(store, node, password=PASSWORD)
    _move_to_closed_port(store, site_id)
    with pytest.raises(SiteUnreachableError):
        open_target(store, VAULT, SETTINGS, site_id)
    assert _read(store, site_id).trust == Trust.PINNED
    assert _has(store, site_id, SecretName.PASSWORD)


def test_keys_of_many_sites_are_collected_and_one_that_is_away_hinders_none(
    store: Database, node: ThrowawaySshd, tmp_path: Path
) -> None:
    with running_sshd(tmp_path / "other") as other:
        ids = [_add(store, sshd, trust="unknown", name=name) for name, sshd in (("a", node), ("b", other))]
        away = _add(store, node, trust="unknown", name="c")
        _move_to_closed_port(store, away)
        results = {result.site_id: result for result in scan_sites(store, VAULT, SETTINGS, [*ids, away], actor="t")}
    assert [_read(store, site_id).trust for site_id in (*ids, away)] == ["seen", "seen", "unknown"]
    assert _read(store, ids[1]).host_key_seen == other.host_keys[0]
    assert results[away].error is not None
    assert results[away].error.code == "E-SITE-REFUSED"
    assert node.logins() == []
