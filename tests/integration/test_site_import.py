"""CSV → inventory, on both databases."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edgemgr.inventory.bad_rows import write_bad_rows
from edgemgr.inventory.import_report import ImportReport
from edgemgr.inventory.site_export import export_sites, write_template
from edgemgr.inventory.site_import import import_sites
from edgemgr.model.secret import Secret, SecretName
from edgemgr.model.selector import EVERY_SITE
from edgemgr.store import events, queries, schema, secrets
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault

EXAMPLES = Path(__file__).parents[2] / "inventory-examples"
GOOD_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGsHBDz0LvTsJcL6mkUkndck6bjMjXCz7ax4Vm/Ibmjl"


def _fingerprint(word: str) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(word.encode()).digest()).decode().rstrip("=")


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault.open(tmp_path / "secret.key")


class Importer:
    """Imports text into one inventory and looks at what came of it."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self.database = database
        self.vault = vault

    def __call__(self, content: str | bytes, *, dry_run: bool = False, good_rows: bool = False) -> ImportReport:
        raw = content.encode() if isinstance(content, str) else content
        return import_sites(
            self.database, self.vault, io.BytesIO(raw), actor="tester", dry_run=dry_run, good_rows=good_rows
        )

    def sites(self) -> dict[str, queries.SiteRow]:
        with self.database.read() as session:
            rows, _ = queries.list_sites(session, where=EVERY_SITE)
            return {row.name: row for row in rows}

    def export(self) -> str:
        target = io.StringIO()
        with self.database.read() as session:
            ids = queries.site_ids(session, EVERY_SITE)
        export_sites(self.database, ids, target)
        return target.getvalue()

    def reasons(self) -> list[str]:
        with self.database.read() as session:
            return [event.reason for event in reversed(events.history(session))]


@pytest.fixture
def importer(database: Database, vault: Vault) -> Importer:
    return Importer(database, vault)


def _counts(report: ImportReport) -> tuple[int, int, int, int]:
    return report.created, report.changed, report.unchanged, report.refused


def _codes(report: ImportReport) -> list[tuple[int, str | None, str]]:
    return [(fault.line, fault.column, fault.code) for fault in report.faults]


HEADING = [
    *("name", "address", "port", "user", "host_key", "password", "key_file", "jump", "jump_host_key", "profile"),
    *("arch", "timezone", "latitude", "longitude", "notes", "labels.region", "colour", "port"),
]

#: One fault a row: the column that is changed, what is written there, and the code that it must give.
FAULTS: tuple[tuple[str, str, str], ...] = (
    ("name", "Store 1", "E-CSV-NAME"),
    ("name", "", "E-CSV-REQUIRED"),
    ("name", "good-1", "E-CSV-NAME-TWICE"),
    ("name", "x" * 64, "E-CSV-NAME"),
    ("address", "", "E-CSV-REQUIRED"),
    ("address", "192.0.2.999", "E-CSV-ADDRESS"),
    ("address", "-oProxyCommand=id", "E-CSV-ADDRESS"),
    ("address", "192.0.2.1", "E-CSV-ADDRESS-TWICE"),
    ("address", "192.0.2.201", "E-CSV-ADDRESS-TAKEN"),
    ("port", "0", "E-CSV-PORT"),
    ("port", "ssh", "E-CSV-PORT"),
    ("port", "65536", "E-CSV-PORT"),
    ("user", "Edge", "E-CSV-USER"),
    ("user", "-l", "E-CSV-USER"),
    ("host_key", GOOD_KEY[:-8], "E-CSV-HOST-KEY"),
    ("host_key", "MD5:1a:2b:3c:4d:5e:6f:70:81:92:a3:b4:c5:d6:e7:f8:09", "E-CSV-HOST-KEY"),
    ("host_key", "SHA256:short", "E-CSV-HOST-KEY"),
    ("host_key", _fingerprint("good-1"), "E-CSV-KEY-TWICE"),
    ("host_key", _fingerprint("taken"), "E-CSV-KEY-TAKEN"),
    ("password", "can\x07ary", "E-CSV-PASSWORD"),
    ("key_file", "id_ed25519", "E-CSV-KEY-FILE"),
    ("key_file", "/nowhere/id_ed25519", "E-CSV-KEY-FILE"),
    ("jump", "relay.example.com", "E-CSV-JUMP"),
    ("jump", "", "E-CSV-JUMP"),
    ("jump_host_key", "", "E-CSV-JUMP-HOST-KEY"),
    ("jump_host_key", _fingerprint("jump"), "E-CSV-JUMP-HOST-KEY"),
    ("profile", "Big Store", "E-CSV-PROFILE"),
    ("arch", "x86_64", "E-CSV-ARCH"),
    ("timezone", "Europe/Berln", "E-CSV-TIMEZONE"),
    ("latitude", "91", "E-CSV-LATITUDE"),
    ("latitude", "", "E-CSV-COORDINATES"),
    ("longitude", "13,4", "E-CSV-LONGITUDE"),
    ("notes", "{{ lookup('env','HOME') }}", "E-CSV-TEMPLATE"),
    ("notes", "bell\x07", "E-CSV-CONTROL"),
    ("notes", "B\udcfcro", "E-CSV-ENCODING"),
    ("notes", "n" * 2001, "E-CSV-NOTES"),
    ("labels.region", "_emea", "E-CSV-LABEL-VALUE"),
)


def _row(number: int) -> dict[str, str]:
    return {
        "name": f"row-{number}",
        "address": f"192.0.2.{number}",
        "port": "22",
        "user": "edge",
        "host_key": _fingerprint(f"row-{number}"),
        "password": f"canary-{number}",
        "key_file": "",
        "jump": "relay@198.51.100.1:22",
        "jump_host_key": GOOD_KEY,
        "profile": "store",
        "arch": "amd64",
        "timezone": "Europe/Berlin",
        "latitude": "52.52",
        "longitude": "13.405",
        "notes": "fine",
        "labels.region": "emea",
        "colour": "blue",
    }


def _line(cells: list[str]) -> bytes:
    quoted = (f'"{cell}"' if set(cell) & set(',"\n') else cell for cell in cells)
    return ",".join(quoted).encode("utf-8", "surrogateescape")


def test_a_file_with_40_different_faults_gives_40_errors_in_their_places_and_imports_nothing(
    importer: Importer,
) -> None:
    jump = f"relay@198.51.100.1:22,{GOOD_KEY}"
    importer(
        "name,address,jump,jump_host_key,host_key\n"
        f"taken,192.0.2.201,{jump},{_fingerprint('taken')}\n"
        f"pinned,192.0.2.202,{jump},{_fingerprint('pinned')}\n"
    )
    lines = [_line(HEADING)]
    expected: list[tuple[int, str | None, int | None, str]] = [
        (1, "colour", 17, "E-CSV-COLUMN-UNKNOWN"),
        (1, "port", 18, "E-CSV-COLUMN-TWICE"),
    ]
    first = _row(1) | {"name": "good-1", "host_key": _fingerprint("good-1")}
    lines.append(_line([first[name] for name in HEADING]))
    for number, (column, text, code) in enumerate((*FAULTS, ("host_key", _fingerprint("other"), "")), start=3):
        row = _row(number) | {column: text}
        if not code:
            row |= {"name": "pinned", "address": "192.0.2.202"}
            code = "E-CSV-PIN-CHANGED"  # noqa: PLW2901
        lines.append(_line([row[name] for name in HEADING]))
        expected.append((number, column, HEADING.index(column) + 1, code))

    report = importer(b"\n".join(lines) + b"\n")

    found = [(fault.line, fault.column, fault.position, fault.code) for fault in report.faults]
    assert found == expected
    assert report.fault_total == len(expected) == 40
    assert all(fault.message and fault.hint for fault in report.faults)
    assert not report.is_applied
    assert sorted(importer.sites()) == ["pinned", "taken"]
    told = "\n".join(str(fault) for fault in report.faults)
    assert "canary" not in told
    assert "can\x07ary" not in told


def test_importing_the_same_file_again_changes_nothing(importer: Importer) -> None:
    content = (EXAMPLES / "sites-full.csv").read_bytes()
    assert _counts(importer(content)) == (4, 0, 0, 0)
    before = importer.sites()
    report = importer(content)
    assert (_counts(report), report.is_applied) == ((0, 0, 4, 0), True)
    assert importer.sites() == before
    assert importer.reasons() == ["SiteCreated"] * 4


def test_the_minimal_example_and_the_template_can_be_imported(importer: Importer) -> None:
    assert _counts(importer((EXAMPLES / "sites-minimal.csv").read_bytes())) == (3, 0, 0, 0)
    template = io.StringIO()
    write_template(template)
    report = importer(template.getvalue().replace("store-0001", "store-9999"))
    assert _codes(report) == []
    assert report.created == 1


def test_a_dry_run_says_the_same_and_changes_nothing(importer: Importer, vault: Vault) -> None:
    importer("name,address\na,192.0.2.1\n")
    content = "name,address,password\na,192.0.2.2,canary\nb,192.0.2.1,canary\n"
    dry = importer(content, dry_run=True)
    assert importer.sites()["a"].address == "192.0.2.1"
    with importer.database.read() as session:
        assert secrets.get(session, vault, importer.sites()["a"].id, SecretName.PASSWORD) is None
    real = importer(content)
    assert (_counts(dry), dry.changes, dry.faults) == (_counts(real), real.changes, real.faults)
    assert (dry.is_applied, real.is_applied) == (False, True)


def test_columns_that_are_not_in_the_file_are_left_alone_and_empty_cells_clear(importer: Importer) -> None:
    importer("name,address,user,notes,labels.a,labels.b\ns,192.0.2.1,edge,old,1,2\n")
    report = importer("name,address,notes,labels.a\ns,192.0.2.9,,\n")
    assert [str(change) for change in report.changes[0].fields] == [
        "address: 192.0.2.1 → 192.0.2.9",
        "notes: old → -",
        "labels.a: 1 → -",
    ]
    site = importer.sites()["s"]
    assert (site.address, site.user, site.notes, site.labels) == ("192.0.2.9", "edge", None, {"b": "2"})
    assert importer.reasons() == ["SiteCreated", "SiteChanged"]


def test_passwords_are_sealed_and_appear_nowhere_else(importer: Importer, vault: Vault, tmp_path: Path) -> None:
    importer("name,address,password\na,192.0.2.1,canary-4711\n")
    assert _counts(importer("name,address,password\na,192.0.2.1,canary-4711\n")) == (0, 0, 1, 0)
    report = importer("name,address,password\na,192.0.2.1,canary-4712\n")
    assert [str(change) for change in report.changes[0].fields] == ["password: - → ***"]
    with importer.database.read() as session:
        held = secrets.get(session, vault, importer.sites()["a"].id, SecretName.PASSWORD)
        told = " ".join(event.message for event in events.history(session))
    assert held == Secret("canary-4712")
    assert "canary" not in told + importer.export() + repr(report)
    assert not any(b"canary-47" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_pinning_a_known_site_is_an_event_and_another_key_is_refused(importer: Importer) -> None:
    importer("name,address\na,192.0.2.1\n")
    pin = f"name,address,host_key\na,192.0.2.1,{_fingerprint('a')}\n"
    assert _counts(importer(pin)) == (0, 1, 0, 0)
    assert importer.reasons()[-1] == "HostKeyPinned"
    assert (importer.sites()["a"].trust, importer.sites()["a"].host_key_fingerprint) == ("pinned", _fingerprint("a"))
    report = importer(pin.replace(_fingerprint("a"), _fingerprint("b")))
    assert _codes(report) == [(2, "host_key", "E-CSV-PIN-CHANGED")]
    assert importer.sites()["a"].host_key_fingerprint == _fingerprint("a")


def test_two_sites_may_swap_their_addresses_in_one_file(importer: Importer) -> None:
    importer("name,address\na,192.0.2.1\nb,192.0.2.2\n")
    assert _counts(importer("name,address\na,192.0.2.2\nb,192.0.2.1\n")) == (0, 2, 0, 0)
    assert {name: site.address for name, site in importer.sites().items()} == {"a": "192.0.2.2", "b": "192.0.2.1"}


def test_an_address_is_not_given_up_by_a_row_that_is_refused(importer: Importer) -> None:
    importer("name,address\na,192.0.2.1\nb,192.0.2.2\nc,192.0.2.3\n")
    report = importer("name,address,port\na,192.0.2.2,22\nb,192.0.2.3,22\nc,192.0.2.4,x\n", good_rows=True)
    assert _codes(report) == [
        (2, "address", "E-CSV-ADDRESS-TAKEN"),
        (3, "address", "E-CSV-ADDRESS-TAKEN"),
        (4, "port", "E-CSV-PORT"),
    ]
    assert _counts(report) == (0, 0, 0, 3)
    assert importer.sites()["a"].address == "192.0.2.1"


def test_sites_behind_different_jump_hosts_may_share_an_address(importer: Importer) -> None:
    heading = "name,address,jump,jump_host_key\n"
    rows = [f"s{n},10.0.0.1,relay@198.51.100.{n},{GOOD_KEY}\n" for n in (1, 2)]
    assert _counts(importer(heading + "".join(rows))) == (2, 0, 0, 0)
    report = importer(f"{heading}s3,10.0.0.1,relay@198.51.100.1,{GOOD_KEY}\n")
    assert _codes(report) == [(2, "address", "E-CSV-ADDRESS-TAKEN")]
    assert _counts(importer("name,address\ns1,10.0.0.1\ns2,10.0.0.1\n")) == (0, 0, 2, 0)


def test_good_rows_go_in_and_bad_ones_come_back_to_be_mended(importer: Importer, tmp_path: Path) -> None:
    content = (
        b'name;address;password;notes\na;192.0.2.1;canary;"two\nlines"\nB;192.0.2.2;canary;=x\nc;192.0.2.3;;fine;more\n'
    )
    report = importer(content, good_rows=True)
    assert _counts(report) == (1, 0, 0, 2)
    assert sorted(importer.sites()) == ["a"]
    target = tmp_path / "bad.csv"
    assert write_bad_rows(io.BytesIO(content), report, target) == 2
    text = target.read_text()
    assert text.splitlines()[0] == "name;address;password;notes;error"
    assert text.splitlines()[1].startswith("B;192.0.2.2;;'=x;name: it is not")
    assert text.splitlines()[2].startswith("c;192.0.2.3;;fine;")
    assert "canary" not in text
    assert target.stat().st_mode & 0o777 == 0o600
    assert _counts(importer(text.replace("B;", "b;"))) == (2, 0, 0, 0)
    assert importer.sites()["b"].notes == "=x"


@pytest.mark.parametrize("heading", ["name,adress", "name,address,name", "name"])
def test_even_good_rows_are_not_taken_from_a_file_whose_heading_has_faults(importer: Importer, heading: str) -> None:
    width = heading.count(",")
    report = importer(f"{heading}\na{',192.0.2.1' * width}\n", good_rows=True)
    assert not report.is_applied
    assert importer.sites() == {}


def test_an_export_comes_back_unchanged(importer: Importer) -> None:
    importer((EXAMPLES / "sites-full.csv").read_bytes())
    importer('name,address,notes\nf,192.0.2.9,"\'=HYPERLINK(""x"")"\n')
    assert importer.sites()["f"].notes == '=HYPERLINK("x")'
    exported = importer.export()
    assert "'=HYPERLINK" in exported
    assert "replace-this" not in exported
    assert _counts(importer(exported)) == (0, 0, 5, 0)


_NAMES = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,10}[a-z0-9])?", fullmatch=True)
_NOTES = st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from("\n=+-@'\",;"), max_size=20).filter(
    lambda text: not any(mark in text for mark in ("{{", "{%", "{#"))
)
_LABELS = st.dictionaries(
    st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,5}[A-Za-z0-9])?", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,5}[A-Za-z0-9])?", fullmatch=True),
    max_size=3,
)
_SITES = st.dictionaries(_NAMES, st.tuples(_NOTES, _LABELS, st.floats(-90, 90), st.floats(-180, 180)), max_size=5)


@given(sites=_SITES)
@settings(max_examples=25, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sites_survive_export_and_import_into_an_empty_inventory(
    tmp_path_factory: pytest.TempPathFactory,
    sites: dict[str, tuple[str, dict[str, str], float, float]],
) -> None:
    directory = tmp_path_factory.mktemp("round-trip")
    vault = Vault.open(directory / "secret.key")
    importers = []
    for number in (1, 2):
        database = Database(f"sqlite:///{directory / f'{number}.db'}")
        schema.upgrade(database)
        importers.append(Importer(database, vault))
    first, second = importers
    keys = sorted({key for _, labels, _, _ in sites.values() for key in labels})
    rows = [["name", "address", "notes", "latitude", "longitude", *(f"labels.{key}" for key in keys)]]
    for number, (name, (notes, labels, latitude, longitude)) in enumerate(sites.items(), start=1):
        cells = [name, f"192.0.2.{number}", notes, repr(latitude), repr(longitude)]
        rows.append([*cells, *(labels.get(key, "") for key in keys)])
    try:
        report = first("\n".join(",".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row) for row in rows))
        assert _codes(report) == ([] if sites else [(1, None, "E-CSV-EMPTY")])
        exported = first.export()
        second(exported)
        assert second.export() == exported
        assert {name: site.labels for name, site in second.sites().items()} == {
            name: labels for name, (_, labels, _, _) in sites.items()
        }
        assert _counts(second(exported))[2] == len(sites)
    finally:
        first.database.close()
        second.database.close()
