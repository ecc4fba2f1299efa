from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.model.certificate_renewal import renewed_days
from edgemgr.model.disk_history import day_of
from edgemgr.model.expiry import CareFacts, Expiry, ExpiryKind, expiries
from edgemgr.model.kubernetes_life import END_OF_LIFE, end_of_life
from edgemgr.model.version import K3sVersion

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
AGE = timedelta(days=7)
GIB = 1 << 30
TOLD = {
    "leaf_expires_at": "2027-03-01T00:00:00Z",
    "certificate_expires_at": "2027-04-01T00:00:00Z",
    "ca_expires_at": "2035-11-01T00:00:00Z",
    "disk_free_bytes": 50 * GIB,
    "disk_size_bytes": 100 * GIB,
    "datastore": "sqlite",
    "checked_at": "2026-11-10T00:00:00Z",
}


def facts(**changes: Any) -> CareFacts:
    given = {
        "site_id": 1,
        "name": "store-1",
        "created_at": NOW - timedelta(days=100),
        "observed_at": NOW - timedelta(minutes=5),
        "k3s_version": "v1.35.2+k3s1",
        "told": TOLD,
        "disk": [(day_of(NOW) - back, (50 - back) * GIB) for back in range(20)][::-1],
        "backup_at": NOW - timedelta(days=1),
    }
    return CareFacts(**{**given, **changes})


def seen(**changes: Any) -> dict[ExpiryKind, Expiry]:
    return {each.what: each for each in expiries(facts(**changes), NOW, backup_age=AGE)}


def test_everything_that_ends_at_a_site_is_told_once_with_its_date() -> None:
    found = seen()
    assert {what: f"{each.at:%Y-%m-%d}" for what, each in found.items()} == {
        ExpiryKind.CERTIFICATE: "2027-03-01",
        ExpiryKind.CA: "2035-11-01",
        ExpiryKind.KUBERNETES: "2027-02-28",
        ExpiryKind.DISK: "2027-01-04",
        ExpiryKind.BACKUP: "2026-11-26",
    }
    assert all(each.detail for each in found.values())
    assert found[ExpiryKind.DISK].detail == "50% of 100 GiB used, 1.00 GiB more a day"


def test_facts_are_as_old_as_the_node_s_own_last_word_and_not_as_the_last_look_at_the_api() -> None:
    found = seen()
    assert found[ExpiryKind.CERTIFICATE].told_at == datetime(2026, 11, 10, tzinfo=UTC)
    assert found[ExpiryKind.KUBERNETES].told_at == NOW - timedelta(minutes=5)
    assert found[ExpiryKind.BACKUP].told_at is None
    ahead = {**TOLD, "checked_at": "2031-01-01T00:00:00Z"}
    assert seen(told=ahead)[ExpiryKind.CERTIFICATE].told_at == NOW - timedelta(minutes=5)


@pytest.mark.parametrize(
    ("leaf", "says"),
    [
        ("2026-11-01T00:00:00Z", "refuses everybody"),
        ("2027-03-01T00:00:00Z", "a start of k3s renews it"),
        ("2027-11-01T00:00:00Z", "a start of k3s renews it in 225 days at the earliest"),
    ],
)
def test_a_certificate_says_what_a_start_would_do_for_it(leaf: str, says: str) -> None:
    told = {**TOLD, "leaf_expires_at": leaf, "certificate_expires_at": leaf}
    assert seen(told=told)[ExpiryKind.CERTIFICATE].detail.endswith(says) or says in (
        seen(told=told)[ExpiryKind.CERTIFICATE].detail
    )


def test_what_nobody_knows_has_no_date_and_says_why() -> None:
    found = seen(told={}, k3s_version="v1.99.0+k3s1", disk=())
    dark = {what for what, each in found.items() if each.at is None}
    assert dark == {ExpiryKind.CERTIFICATE, ExpiryKind.CA, ExpiryKind.KUBERNETES, ExpiryKind.DISK}
    assert "v1.99" in found[ExpiryKind.KUBERNETES].detail
    assert "edgemgr verify" in found[ExpiryKind.CERTIFICATE].detail


def test_a_disk_that_does_not_fill_up_is_left_out() -> None:
    assert ExpiryKind.DISK not in seen(disk=[(day_of(NOW) - back, 50 * GIB) for back in range(20)][::-1])


def test_a_site_that_never_had_a_backup_is_overdue_from_when_its_first_was_due() -> None:
    found = seen(backup_at=None)[ExpiryKind.BACKUP]
    assert found.at == NOW - timedelta(days=93)
    assert found.detail == "there is none"


def test_where_no_backups_need_be_none_grows_too_old() -> None:
    found = {each.what for each in expiries(facts(), NOW, backup_age=None)}
    assert found == set(ExpiryKind) - {ExpiryKind.BACKUP}
    assert expiries(facts(backup_at=None), NOW, backup_age=None) == expiries(facts(), NOW, backup_age=None)


def test_a_site_without_k3s_has_nothing_that_ends() -> None:
    assert seen(told={}, k3s_version="") == {}


def test_a_site_whose_api_is_down_keeps_its_dates_and_its_last_version() -> None:
    found = seen(k3s_version="", told={**TOLD, "kubelet_version": "v1.33.5+k3s1"})
    assert found[ExpiryKind.KUBERNETES].at == datetime(2026, 6, 28, 23, 59, 59, tzinfo=UTC)
    assert found[ExpiryKind.CERTIFICATE].at == datetime(2027, 3, 1, tzinfo=UTC)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes().map(datetime.isoformat),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(TOLD, anything)), anything.map(str))
def test_whatever_a_site_reports_is_survived(told: dict[str, Any], version: str) -> None:
    found = expiries(facts(told=told, k3s_version=version), NOW, backup_age=AGE)
    assert len({each.what for each in found}) == len(found)
    assert all(each.detail for each in found)
    for each in found:
        assert each.at is None or each.at.tzinfo is not None


def test_every_minor_has_an_end_after_the_one_before_it() -> None:
    minors = sorted(END_OF_LIFE)
    assert minors == list(range(minors[0], minors[-1] + 1))
    assert [END_OF_LIFE[minor] for minor in minors] == sorted(set(END_OF_LIFE.values()))
    assert END_OF_LIFE[35] == date(2027, 2, 28)


def test_an_unknown_minor_has_no_end() -> None:
    assert end_of_life(K3sVersion.parse("v1.99.0+k3s1")) is None
    assert end_of_life(K3sVersion.parse("v2.33.0+k3s1")) is None


@pytest.mark.parametrize(
    ("version", "days"),
    [
        ("v1.20.8+k3s1", 90),
        ("v1.30.12+k3s1", 90),
        ("v1.30.13+k3s1", 120),
        ("v1.33.0+k3s1", 90),
        ("v1.33.1+k3s1", 120),
        ("v1.34.0+k3s1", 120),
    ],
)
def test_since_may_2025_leaves_are_renewed_earlier(version: str, days: int) -> None:
    assert renewed_days(K3sVersion.parse(version)) == days


def test_of_a_version_that_is_not_known_the_shorter_time_is_believed() -> None:
    assert renewed_days(None) == 90
