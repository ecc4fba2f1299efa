"""`edgemgr site trust|key|password` as an operator uses them, against a real sshd."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from sqlmodel import select
from tests_support.throwaway_sshd import PASSWORD, ThrowawaySshd, make_key, running_sshd
from typer.testing import CliRunner, Result

from edgemgr.cli import site_trust
from edgemgr.errors import EdgemgrError
from edgemgr.links.host_keys import fingerprint
from edgemgr.model.event import Event
from edgemgr.model.secret import SecretName
from edgemgr.model.site import Site
from edgemgr.store import schema, secrets
from edgemgr.store.database import Database

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="starts an sshd with a password of its own: needs root")
OWED, FAILED = 7, 6


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ThrowawaySshd]:
    with running_sshd(tmp_path / "node") as running:
        yield running


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setenv("EDGEMGR_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "state").mkdir(mode=0o700)
    database = Database(f"sqlite:///{tmp_path / 'state' / 'edgemgr.db'}")
    schema.upgrade(database)
    yield database
    database.close()


def _add(store: Database, node: ThrowawaySshd, name: str = "store-1", **fields: object) -> None:
    with store.write() as session:
        session.add(Site(**({"name": name, "address": "127.0.0.1", "port": node.port} | fields)))


def _read(store: Database, name: str = "store-1") -> Site:
    with store.read() as session:
        return session.exec(select(Site).where(Site.name == name)).one()


def _run(*arguments: str, text: str = "") -> Result:
    app = typer.Typer()
    site_trust.register(app)
    return CliRunner().invoke(app, arguments, input=text)


def _code(result: Result) -> str:
    assert isinstance(result.exception, EdgemgrError), result.output
    return result.exception.code


def test_a_key_is_collected_and_not_pinned_until_somebody_says_so(store: Database, node: ThrowawaySshd) -> None:
    _add(store, node)
    shown = _run("trust", "store-1", "-o", "json")
    assert shown.exit_code == OWED
    [row] = json.loads(shown.stdout)["items"]
    assert (row["trust"], row["fingerprint"]) == ("seen", fingerprint(node.host_keys[0]))
    assert "--yes" in shown.stderr
    pinned = _run("trust", "store-1", "--seen", "--yes")
    assert pinned.exit_code == 0
    assert _read(store).host_key == node.host_keys[0]
    assert node.logins() == []


def test_a_dry_run_pins_nothing(store: Database, node: ThrowawaySshd, tmp_path: Path) -> None:
    _add(store, node)
    assert _run("trust", "store-1", "--yes", "--dry-run").exit_code == 0
    assert _read(store).trust == "seen"
    wanted = fingerprint(make_key(tmp_path / "new"))
    assert _run("trust", "store-1", "--fingerprint", wanted, "--dry-run").exit_code == 0
    assert _read(store).trust == "seen"


def test_a_mismatch_is_not_accepted_by_yes_and_ends_with_fingerprint_and_reason(
    store: Database, node: ThrowawaySshd, tmp_path: Path
) -> None:
    old, new = make_key(tmp_path / "old"), fingerprint(node.host_keys[0])
    _add(
        store,
        node,
        trust="mismatch",
        host_key=old,
        host_key_fingerprint=fingerprint(old),
        host_key_seen=node.host_keys[0],
    )
    refused = _run("trust", "store-1", "--yes", "-o", "json")
    assert refused.exit_code == FAILED
    assert json.loads(refused.stdout)["items"][0]["code"] == "E-SITE-IDENTITY-MISMATCH"
    assert _code(_run("trust", "store-1", "--fingerprint", new)) == "E-TRUST-REASON"
    assert _run("trust", "store-1", "--fingerprint", new, "--reason", "node replaced").exit_code == 0
    site = _read(store)
    assert (site.trust, site.host_key) == ("pinned", node.host_keys[0])
    with store.read() as session:
        assert any("node replaced" in event.message for event in session.exec(select(Event)).all())


def test_two_sites_with_one_key_are_both_left_unpinned(store: Database, node: ThrowawaySshd) -> None:
    _add(store, node, "store-1")
    _add(store, node, "store-2")
    result = _run("trust", "--all", "--yes", "-o", "json")
    assert result.exit_code == FAILED
    rows = json.loads(result.stdout)["items"]
    assert [(row["trust"], row["code"]) for row in rows] == [("seen", "E-TRUST-DUPLICATE")] * 2
    assert "store-2" in rows[0]["note"]


def test_a_site_that_is_away_does_not_hinder_the_others(store: Database, node: ThrowawaySshd) -> None:
    _add(store, node, "store-1")
    _add(store, node, "store-2", port=9)
    result = _run("trust", "--all", "--yes", "-o", "json")
    assert result.exit_code == FAILED
    assert [row["trust"] for row in json.loads(result.stdout)["items"]] == ["pinned", "unknown"]


def test_one_fingerprint_is_not_for_two_sites(store: Database, node: ThrowawaySshd) -> None:
    _add(store, node, "store-1")
    _add(store, node, "store-2")
    result = _run("trust", "--all", "--fingerprint", fingerprint(node.host_keys[0]))
    assert _code(result) == "E-TRUST-USAGE"


def test_the_public_key_is_a_whole_line_and_the_same_every_time(store: Database, node: ThrowawaySshd) -> None:
    _add(store, node, jump_address="192.0.2.1")
    first = _run("key", "store-1")
    assert first.stdout.startswith("restrict,pty,port-forwarding ssh-ed25519 ")
    assert "permitopen" in first.stderr
    assert _run("key", "store-1").stdout == first.stdout


def test_a_password_is_read_from_standard_input_and_sealed(
    store: Database, node: ThrowawaySshd, tmp_path: Path
) -> None:
    _add(store, node)
    result = _run("password", "store-1", text=PASSWORD + "\n")
    assert result.exit_code == 0
    assert PASSWORD not in result.output
    with store.read() as session:
        assert secrets.has(session, 1, SecretName.PASSWORD)
    held = b"".join(path.read_bytes() for path in (tmp_path / "state").iterdir() if path.is_file())
    assert PASSWORD.encode() not in held


@pytest.mark.parametrize("text", ["", "\n", "a\nb\n", "x" * 2000])
def test_what_cannot_be_a_password_is_refused(store: Database, node: ThrowawaySshd, text: str) -> None:
    _add(store, node)
    assert _code(_run("password", "store-1", text=text)) == "E-TRUST-USAGE"


def test_an_unknown_site_is_not_found(store: Database) -> None:
    assert _code(_run("key", "nowhere")) == "E-SITE-UNKNOWN"
    assert _code(_run("password", "nowhere", text="x\n")) == "E-SITE-UNKNOWN"
    assert _code(_run("trust", "nowhere")) == "E-SITE-UNKNOWN"
