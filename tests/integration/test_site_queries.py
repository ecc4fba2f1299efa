"""Lists and selectors in SQL, on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import Session, select

from edgemgr.errors import NotFoundError, UsageError
from edgemgr.model.cluster import Cluster
from edgemgr.model.operation import Operation
from edgemgr.model.selector import EVERY_SITE, Selector
from edgemgr.model.selector_text import parse_filter, parse_labels
from edgemgr.model.site import Group, Site, SiteLabel
from edgemgr.model.timestamp import utc_now
from edgemgr.store import queries
from edgemgr.store.database import Database
from edgemgr.store.site_order import SORT_KEYS

NOW = utc_now()


def _operation(site_id: int, kind: str, state: str, **more: object) -> Operation:
    return Operation(
        site_id=site_id,
        kind=kind,
        state=state,
        batch_key="x",
        request="r",
        actor="tester",
        deadline_at=NOW,
        **more,
    )


@pytest.fixture
def fleet(database: Database) -> Database:
    """Five sites that differ in everything that can be asked for."""
    with database.write() as session:
        sites = [
            Site(name="store-1", address="192.0.2.1", k3s_version="v1.33.5+k3s1", profile="store", trust="pinned"),
            Site(name="store-2", address="192.0.2.2", k3s_version="v1.33.5+k3s1", arch="arm64", notes="100% done_"),
            Site(name="store-3", address="192.0.2.3", port=2222, k3s_version="v1.33.5+k3s1", trust="seen"),
            Site(name="lab", address="lab.example.com", user="edge", notes="Back Office"),
            Site(name="new", address="192.0.2.5"),
        ]
        session.add_all(sites)
        session.flush()
        one, two, three, lab, _ = (site.id or 0 for site in sites)
        for site_id, key, value in [
            (one, "region", "emea"),
            (one, "tier", "gold"),
            (two, "region", "apac"),
            (three, "region", "emea"),
            (three, "example.com/owner", "me"),
        ]:
            session.add(SiteLabel(site_id=site_id, key=key, value=value))
        session.add_all(
            [
                Cluster(site_id=one, reachability="reachable", health="healthy", k3s_version="v1.33.5+k3s1"),
                Cluster(
                    site_id=two,
                    reachability="unreachable",
                    health="failing",
                    k3s_version="v1.9.10+k3s1",
                    observed_at=NOW - timedelta(days=2),
                ),
                Cluster(site_id=three, reachability="reachable", health="degraded", k3s_version="v1.33.4+k3s1"),
                Cluster(site_id=lab, reachability="reachable", k3s_version="whatever", arch="amd64", observed_at=NOW),
            ]
        )
        session.add_all(
            [
                _operation(one, "bootstrap", "failed", code="E-OLD"),
                _operation(one, "bootstrap", "succeeded"),
                _operation(two, "bootstrap", "failed", code="E-PRE-DISK", message="no room"),
                _operation(two, "probe", "queued", is_head=True),
                _operation(three, "bootstrap", "running", is_head=True),
                _operation(lab, "probe", "running", is_head=True),
            ]
        )
        session.add(Group(name="gold", selector="tier=gold"))
        session.add(Group(name="sick", selector="health in (failing,degraded)"))
    return database


def _names(session: Session, where: Selector, sort: str = "name") -> list[str]:
    rows, total = queries.list_sites(session, where=where, sort=sort)
    assert total == len(rows)
    return [row.name for row in rows]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "lab new store-1 store-2 store-3"),
        ("region=emea", "store-1 store-3"),
        ("region!=emea", "lab new store-2"),
        ("region in (emea,apac)", "store-1 store-2 store-3"),
        ("region notin (emea,apac)", "lab new"),
        ("region", "store-1 store-2 store-3"),
        ("!region", "lab new"),
        ("example.com/owner=me", "store-3"),
        ("region=emea tier=gold", "store-1"),
        ("name~STORE", "store-1 store-2 store-3"),
        ("name!~store", "lab new"),
        ("notes~'%'", "store-2"),
        ("notes~e_", "store-2"),
        ("notes~'back office'", "lab"),
        ("notes", "lab store-2"),
        ("!notes", "new store-1 store-3"),
        ("port=2222", "store-3"),
        ("port<2222", "lab new store-1 store-2"),
        ("port>=22", "lab new store-1 store-2 store-3"),
        ("port!=22", "store-3"),
        ("user=edge", "lab"),
        ("profile=", "lab new store-2 store-3"),
        ("arch=amd64", "lab"),
        ("trust=seen", "store-3"),
        ("health=unknown", "lab new"),
        ("health!=healthy", "lab new store-2 store-3"),
        ("reachability=unknown", "new"),
        ("update=up_to_date", "store-1"),
        ("update=out_of_date", "store-2"),
        ("update=updating", "store-3"),
        ("update=unknown", "lab new"),
        ("k3s<v1.33", "store-2"),
        ("k3s>=v1.33", "store-1 store-3"),
        ("k3s=v1.33", "store-1 store-3"),
        ("k3s!=v1.33", "lab new store-2"),
        ("k3s>v1.33.4+k3s1", "store-1"),
        ("k3s<=v1.33.4+k3s1", "store-2 store-3"),
        ("k3s=", "new"),
        ("!k3s", "new"),
        ("group=gold", "store-1"),
        ("group in (gold,sick)", "store-1 store-2 store-3"),
        ("group!=sick", "lab new store-1"),
    ],
)
def test_a_selector_picks_these_sites(fleet: Database, text: str, names: str) -> None:
    with fleet.read() as session:
        assert _names(session, parse_filter(text)) == names.split()
        ids = queries.site_ids(session, parse_filter(text))
        assert ids == queries.ids_of_names(session, names.split())


def test_an_unknown_group_is_not_found(fleet: Database) -> None:
    with fleet.read() as session, pytest.raises(NotFoundError, match="no group 'silver'"):
        queries.list_sites(session, where=parse_filter("group=silver"))


def test_the_word_update_means_the_same_in_a_row_and_in_a_filter(fleet: Database) -> None:
    with fleet.read() as session:
        rows, _ = queries.list_sites(session)
        for row in rows:
            assert _names(session, parse_filter(f"update={row.update} name={row.name}")) == [row.name]


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        ("name", "lab"),
        ("-name", "store-3"),
        ("health", "store-2"),
        ("-health", "store-1"),
        ("reachability", "store-2"),
        ("update", "store-2"),
        ("trust", "store-3"),
        ("-k3s", "store-1"),
        ("observed", "new"),
        ("-observed", "lab"),
    ],
)
def test_lists_are_sorted_by_urgency_version_and_time(fleet: Database, sort: str, first: str) -> None:
    with fleet.read() as session:
        assert _names(session, EVERY_SITE, sort)[0] == first


def test_versions_are_sorted_by_number_and_what_is_none_comes_first(fleet: Database) -> None:
    with fleet.read() as session:
        assert _names(session, EVERY_SITE, "k3s") == ["lab", "new", "store-2", "store-3", "store-1"]


def test_every_order_gives_every_site_in_pages_without_gap_or_repeat(fleet: Database) -> None:
    with fleet.read() as session:
        for key in (*SORT_KEYS, *(f"-{key}" for key in SORT_KEYS)):
            pages = [queries.list_sites(session, sort=key, limit=2, offset=offset) for offset in (0, 2, 4)]
            assert [total for _, total in pages] == [5, 5, 5]
            names = [row.name for rows, _ in pages for row in rows]
            assert sorted(names) == ["lab", "new", "store-1", "store-2", "store-3"]


def test_an_unknown_order_is_refused_with_the_nearest(fleet: Database) -> None:
    with fleet.read() as session, pytest.raises(UsageError) as caught:
        queries.list_sites(session, sort="helth")
    assert caught.value.code == "E-SITE-SORT"
    assert "Did you mean health?" in caught.value.hint


def test_a_row_shows_the_operation_that_explains_the_site(fleet: Database) -> None:
    with fleet.read() as session:
        rows = {row.name: row for row in queries.list_sites(session)[0]}
    shown = {
        name: row.operation and (row.operation.kind, row.operation.state, row.operation.code)
        for name, row in rows.items()
    }
    assert shown == {
        "lab": ("probe", "running", ""),
        "new": None,
        "store-1": None,  # what failed once has succeeded since
        "store-2": ("bootstrap", "failed", "E-PRE-DISK"),  # a look in passing does not hide it
        "store-3": ("bootstrap", "running", ""),
    }


def test_a_row_has_labels_wishes_and_observations(fleet: Database) -> None:
    with fleet.read() as session:
        (row,), total = queries.list_sites(session, where=Selector.of_names("store-2"))
    assert total == 1
    assert (row.labels, row.arch, row.k3s_desired, row.k3s_version) == (
        {"region": "apac"},
        "arm64",
        "v1.33.5+k3s1",
        "v1.9.10+k3s1",
    )
    assert row.observed_at == NOW - timedelta(days=2)


def test_an_unknown_name_is_not_found_and_the_nearest_are_told(fleet: Database) -> None:
    with fleet.read() as session:
        assert queries.get_site(session, "lab").address == "lab.example.com"
        with pytest.raises(NotFoundError) as caught:
            queries.get_site(session, "store-11")
        assert "store-1" in caught.value.hint
        with pytest.raises(NotFoundError, match="there is no site nope, store-9"):
            queries.ids_of_names(session, ["lab", "nope", "store-9"])


_LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz"), max_size=3)


@given(
    fleet=st.lists(_LABELS, max_size=5), key=st.sampled_from("abcd"), values=st.sets(st.sampled_from("xyz"), min_size=1)
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sql_and_the_definition_of_label_selectors_agree(
    database: Database, fleet: list[dict[str, str]], key: str, values: set[str]
) -> None:
    with database.write() as session:
        for site in session.exec(select(Site)).all():
            session.delete(site)
        session.flush()
        for number, labels in enumerate(fleet):
            site = Site(name=f"s{number}", address=f"192.0.2.{number}")
            session.add(site)
            session.flush()
            session.add_all(SiteLabel(site_id=site.id, key=k, value=v) for k, v in labels.items())
    listed = ",".join(sorted(values))
    definitions = {
        f"{key} in ({listed})": lambda labels: labels.get(key) in values,
        f"{key} notin ({listed})": lambda labels: labels.get(key) not in values,
        key: lambda labels: key in labels,
        f"!{key}": lambda labels: key not in labels,
    }
    with database.read() as session:
        for text, holds in definitions.items():
            expected = [f"s{number}" for number, labels in enumerate(fleet) if holds(labels)]
            assert _names(session, parse_labels(text)) == expected
