"""`edgemgr backup`: asking, listing, looking, keeping, pruning, rehearsing and bringing back, as an operator does."""

from __future__ import annotations

import io
import json
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from sqlmodel import select
from tests_support.backup_files import put_backup
from tests_support.queue_requests import add_sites
from typer.testing import CliRunner, Result

from edgemgr.app import App, open_app
from edgemgr.cli.main import app
from edgemgr.errors import EdgemgrError
from edgemgr.inventory import backup_pull
from edgemgr.inventory.backup_removed import claim, removed_stores
from edgemgr.inventory.backup_shelf import shelf_of
from edgemgr.inventory.backup_store import open_store
from edgemgr.model.backup import Backup
from edgemgr.model.backup_retention import Retention
from edgemgr.model.operation import Operation
from edgemgr.model.site import Site
from edgemgr.model.timestamp import utc_now
from edgemgr.queue.clock import QueueClock
from edgemgr.queue.duties import Duties
from edgemgr.settings import Settings
from edgemgr.store import backups, queries, sites

VERSION = "v1.33.5+k3s1"
RULE = Retention()


@pytest.fixture
def appliance(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Two sites in emea and a third one; no backup yet."""
    for name in ("state_dir", "runtime_dir"):
        monkeypatch.setenv(f"EDGEMGR_{name.upper()}", str(getattr(settings, name)))
    with open_app(settings) as opened:
        add_sites(opened.database, 2, {"region": "emea"}, name="store")
        add_sites(opened.database, 1, name="other")
    return settings


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["backup", *words])


def items(*words: str) -> list[dict]:
    done = run(*words, "-o", "json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["items"]


def refused(*words: str) -> str:
    done = run(*words)
    assert isinstance(done.exception, EdgemgrError), done.output
    return done.exception.code


def operations(settings: Settings) -> list[Operation]:
    with open_app(settings) as opened, opened.database.read() as session:
        return list(session.exec(select(Operation).order_by(Operation.id)))


def _database(path: Path, count: int) -> bytes:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("CREATE TABLE kine (id INTEGER PRIMARY KEY, name TEXT, value BLOB)")
        database.executemany(
            "INSERT INTO kine (name, value) VALUES (?, ?)", [(f"/{n}", "x" * 300) for n in range(count)]
        )
    return path.read_bytes()


def _certificate() -> bytes:
    key, begins = Ed25519PrivateKey.generate(), datetime(2026, 11, 1, tzinfo=UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "k3s-server-ca")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begins, begins + timedelta(days=3650))
    return builder.sign(key, None).public_bytes(Encoding.PEM)


FILES = {
    "server/token": b"K10secret",
    "server/tls/server-ca.crt": _certificate(),
    "server/tls/server-ca.key": b"KEY",
    "server/manifests/own.yaml": b"kind: Namespace\n",
}


def _tar(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


@pytest.fixture
def put(appliance: Settings, tmp_path: Path) -> Callable[..., int]:
    """Put a backup of a site on the shelf, as a pull does; gives its number here."""

    def one(site: str, attempt: int, files: dict[str, bytes] = FILES, *, days_old: float = 0, data: bytes = b"") -> int:
        path = tmp_path / f"{site}-{attempt}.db"
        parts = {"state.db": data or _database(path, attempt), "files.tar": _tar(files)}
        with open_app(appliance) as opened:
            with open_store(opened.settings.backup_dir, opened.vault, site) as store:
                digest, _ = put_backup(store, attempt, parts, files)
            return _note(opened, site, attempt, digest, days_old)

    return one


def _note(opened: App, site: str, attempt: int, digest: str, days_old: float) -> int:
    with opened.database.write() as session:
        site_id = session.exec(select(Site.id).where(Site.name == site)).one()
        row = Backup(
            site_id=site_id,
            attempt=attempt,
            digest=digest,
            taken_at=utc_now() - timedelta(days=days_old),
            pulled_at=utc_now() - timedelta(days=days_old),
            k3s_version=VERSION,
            datastore="sqlite",
            size_bytes=1000,
        )
        backups.add(session, row)
        session.flush()
        return row.id or 0


def test_a_backup_is_asked_for_of_each_site_of_a_selection(appliance: Settings) -> None:
    done = run("run", "-l", "region=emea", "-o", "json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["sites"] == ["store-1", "store-2"]
    assert [(each.kind, each.state) for each in operations(appliance)] == [("backup", "queued")] * 2


def test_a_dry_run_asks_for_none(appliance: Settings) -> None:
    assert run("run", "--all", "--dry-run").exit_code == 0
    assert operations(appliance) == []


def test_the_list_is_by_site_and_the_newest_first(put: Callable[..., int]) -> None:
    for site, attempt in (("store-2", 5), ("store-1", 7), ("store-1", 9)):
        put(site, attempt)
    assert [(row["site"], row["attempt"]) for row in items("list")] == [("store-1", 9), ("store-1", 7), ("store-2", 5)]
    assert [row["attempt"] for row in items("list", "--newest")] == [9, 5]
    assert [row["attempt"] for row in items("list", "store-2")] == [5]
    assert run("list", "-o", "name").stdout.split() == ["3", "2", "1"]


def test_a_backup_is_shown_with_its_files_but_not_their_content(put: Callable[..., int]) -> None:
    number = put("store-1", 7)
    done = run("show", str(number), "-o", "json")
    found = json.loads(done.stdout)
    assert (found["kind"], found["site"], found["attempt"], found["k3s_version"]) == ("Backup", "store-1", 7, VERSION)
    assert {file["name"] for file in found["files"]} == {"state.db", *FILES}
    assert "K10secret" not in done.stdout
    assert "server/token" not in run("show", str(number)).stdout
    assert refused("show", "99") == "E-BACKUP-UNKNOWN"


def test_pruning_says_first_what_would_go_and_leaves_what_is_held(put: Callable[..., int], appliance: Settings) -> None:
    numbers = [put("store-1", attempt, days_old=200 - attempt) for attempt in range(1, 7)]
    assert run("hold", str(numbers[0])).stdout == f"backup {numbers[0]} of store-1 is held\n"
    foreseen = [row["id"] for row in items("prune", "--dry-run")]
    assert foreseen == [numbers[2], numbers[1]]
    assert len(items("list")) == 6
    assert [row["id"] for row in items("prune", "store-1")] == foreseen
    assert sorted(row["id"] for row in items("list")) == [numbers[0], *numbers[3:]]
    assert items("prune") == []
    with open_app(appliance) as opened, open_store(appliance.backup_dir, opened.vault, "store-1") as store:
        assert len(store.roots()) == 4
    assert "goes by the rule again" in run("hold", str(numbers[0]), "--off").stdout


def test_a_rehearsal_reads_everything_in_the_newest_backup(put: Callable[..., int]) -> None:
    put("store-1", 7)
    (row,) = items("rehearse", "--all", "--check-only", "--sample", "5")
    assert (row["site"], row["is_sound"], row["faults"], row["files"], row["objects"]) == ("store-1", True, [], 4, 7)


@pytest.mark.parametrize(
    ("files", "data", "why"),
    [
        ({**FILES, "server/manifests/own.yaml": b"a: [b"}, b"", "own.yaml cannot be read"),
        ({**FILES, "server/tls/server-ca.crt": b"none"}, b"", "server-ca.crt cannot be read"),
        ({name: data for name, data in FILES.items() if "token" not in name}, b"", "server/token is missing"),
        (FILES, b"SQLite format 3\x00" + bytes(8000), "state.db"),
    ],
    ids=["a manifest", "a certificate", "no token", "the datastore"],
)
def test_a_rehearsal_finds_what_a_restore_would_stumble_over(
    put: Callable[..., int], files: dict[str, bytes], data: bytes, why: str
) -> None:
    put("store-1", 7, files, data=data)
    done = run("rehearse", "store-1", "--check-only", "-o", "json")
    (row,) = json.loads(done.stdout)["items"]
    assert (done.exit_code, row["is_sound"]) == (1, False)
    assert why in " ".join(row["faults"])


def test_a_rehearsal_finds_damage_of_this_appliance_s_disk(put: Callable[..., int], appliance: Settings) -> None:
    put("store-1", 7)
    (segment, *_) = (appliance.backup_dir / "store-1/segments").iterdir()
    content = bytearray(segment.read_bytes())
    content[-40] ^= 1
    segment.write_bytes(content)
    done = run("rehearse", "--all", "--check-only", "-o", "json")
    assert done.exit_code == 1
    assert "is damaged in this appliance's store" in json.loads(done.stdout)["items"][0]["faults"][0]


def test_a_rehearsal_leaves_nothing_decrypted_behind(put: Callable[..., int], appliance: Settings) -> None:
    left = appliance.runtime_dir / "backup-store-1-killed"
    left.mkdir(parents=True)
    (left / "files.tar").write_text("secret")
    put("store-1", 7)
    assert run("rehearse", "--all", "--check-only").exit_code == 0
    assert list(appliance.runtime_dir.iterdir()) == []


def test_a_restore_is_of_the_newest_backup_unless_another_is_named(
    put: Callable[..., int], appliance: Settings
) -> None:
    older, newest = put("store-1", 7), put("store-1", 9)
    assert json.loads(run("restore", "store-1", "--dry-run", "-o", "json").stdout)["params"]["backup"] == 9
    assert operations(appliance) == []
    assert run("restore", "store-1", "--backup", str(older), "--yes").exit_code == 0
    (asked,) = operations(appliance)
    assert (asked.kind, asked.params["backup"], asked.params["version"]) == ("restore", 7, VERSION)
    assert newest != older
    with open_app(appliance) as opened, opened.database.read() as session:
        assert session.get_one(Site, asked.site_id).k3s_version == VERSION, "from now on it ought to run that"


def test_a_restore_asks_first(put: Callable[..., int], appliance: Settings) -> None:
    put("store-1", 7)
    done = run("restore", "store-1")
    assert isinstance(done.exception, EdgemgrError)
    assert done.exception.code == "E-USAGE-CONFIRM"
    assert "loses what came after" in done.output
    assert operations(appliance) == []


def test_a_backup_of_another_site_is_not_restored(put: Callable[..., int]) -> None:
    number = put("store-1", 7)
    put("store-2", 8)
    assert refused("restore", "store-2", "--backup", str(number), "--yes") == "E-BACKUP-UNKNOWN"
    assert refused("restore", "other-1", "--yes") == "E-BACKUP-NONE"


def _delete(settings: Settings, *names: str) -> str:
    done = CliRunner().invoke(app, ["site", "delete", *names, "--yes"])
    assert done.exit_code == 0, done.output
    return done.stderr


def _owned(settings: Settings, site: str) -> None:
    """As the pull that brought the backup leaves the store."""
    with open_app(settings) as opened, opened.database.read() as session:
        claim(settings.backup_dir, site, backups.owners(session, [site])[site])


def test_backups_of_a_removed_site_are_kept_apart_and_a_new_one_of_its_name_does_not_see_them(
    put: Callable[..., int], appliance: Settings
) -> None:
    put("store-1", 7)
    _owned(appliance, "store-1")
    assert "backups of 1 of them are kept: `edgemgr backup removed`" in _delete(appliance, "store-1", "other-1")
    (row,) = items("removed")
    assert (row["site"], row["k3s_version"], Path(row["place"]).is_dir()) == ("store-1", VERSION, True)
    with open_app(appliance) as opened:
        add_sites(opened.database, 1, name="store")  # store-1 anew
    assert run("prune", "store-1").exit_code == 0
    assert items("list", "store-1") == []
    put("store-1", 9)
    assert run("prune", "store-1").exit_code == 0
    assert [each["attempt"] for each in items("list", "store-1")] == [9]
    assert [each["digest"] for each in items("removed")] == [row["digest"]]


def test_a_store_whose_site_was_removed_elsewhere_is_set_aside_before_a_new_one_uses_it(
    put: Callable[..., int], appliance: Settings
) -> None:
    put("store-1", 7)
    _owned(appliance, "store-1")
    with open_app(appliance) as opened:
        with opened.database.write() as session:  # on another machine, or a kill came before the store was moved
            (site_id,) = queries.ids_of_names(session, ["store-1"])
            sites.remove(session, [site_id], actor="anna")
        add_sites(opened.database, 1, name="store")
        with opened.database.read() as session:
            (site_id,) = queries.ids_of_names(session, ["store-1"])
        assert backup_pull.prune(shelf_of(opened.database, opened.vault, appliance), site_id, "store-1", RULE) == []
    assert items("list", "store-1") == []
    assert [row["site"] for row in items("removed")] == ["store-1"]


def test_they_go_when_they_were_kept_as_long_as_a_backup_may_become_old(
    put: Callable[..., int], appliance: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("store-1", 7)
    _delete(appliance, "store-1")
    (row,) = items("removed")
    assert "of removed sites" not in run("prune").stderr
    monkeypatch.setenv("EDGEMGR_BACKUP_MAX_AGE_S", "0.001")
    assert "1 store(s) of removed sites would go" in run("prune", "--dry-run").stderr
    assert Path(row["place"]).is_dir()
    assert "of removed sites" not in run("prune", "store-2").stderr
    assert "1 store(s) of removed sites removed too" in run("prune").stderr
    assert items("removed") == []
    assert not Path(row["place"]).parent.exists()


def test_they_can_be_given_to_the_site_of_that_name_by_hand(put: Callable[..., int], appliance: Settings) -> None:
    put("store-1", 7)
    _owned(appliance, "store-1")
    _delete(appliance, "store-1")
    with open_app(appliance) as opened:
        add_sites(opened.database, 1, name="store")
    place = appliance.backup_dir / "store-1"
    Path(items("removed")[0]["place"]).rename(place)
    (place / "owner").unlink()
    assert run("prune", "store-1").exit_code == 0
    assert [each["attempt"] for each in items("list", "store-1")] == [7]
    assert items("removed") == []


def test_a_worker_sets_them_aside_and_removes_them_when_their_time_is_over_for_certain(
    put: Callable[..., int], appliance: Settings
) -> None:
    put("store-1", 7)
    wall, steady = [utc_now()], [0.0]
    with open_app(appliance) as opened:
        with opened.database.write() as session:
            sites.remove(session, queries.ids_of_names(session, ["store-1"]), actor="anna")
        clock = QueueClock(lambda: wall[0], lambda: steady[0])
        duties = Duties(opened.database, appliance, clock, heart=None)  # type: ignore[arg-type]
        duties._sweep_stores()
        assert [store.site for store in removed_stores(appliance.backup_dir)] == ["store-1"]
        wall[0] += timedelta(days=100)  # it may have been set wrong
        clock.read()
        duties._sweep_stores()
        assert removed_stores(appliance.backup_dir)
        steady[0] += 700
        wall[0] += timedelta(seconds=700)
        duties._sweep_stores()
        assert removed_stores(appliance.backup_dir) == []
