from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.model.cluster import Cluster
from edgemgr.web.console.facts import Fact, facts_of

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def shown(**facts: Any) -> dict[str, Fact]:
    return {fact.label: fact for fact in facts_of(Cluster(site_id=1, facts=facts), NOW)}


def test_what_is_known_is_shown_and_nothing_else() -> None:
    assert shown() == {}
    assert shown(cpus=4, token="s3cret", env={"PASSWORD": "x"}) == {"CPUs": Fact("CPUs", "4")}


@pytest.mark.parametrize(("free", "tone"), [(50, ""), (10, ""), (9, "warn")])
def test_a_disk_that_is_nearly_full_is_marked(free: int, tone: str) -> None:
    disk = shown(disk_free_bytes=free << 30, disk_size_bytes=100 << 30)["Disk"]
    assert disk == Fact("Disk", f"{free}.0 GiB free of 100.0 GiB", tone=tone)


def test_pods_that_are_not_ready_are_marked() -> None:
    assert shown(pods_ready=6, pods_total=7)["Pods"] == Fact("Pods", "6 of 7 ready", tone="warn")
    assert shown(pods_ready=7, pods_total=7)["Pods"].tone == ""


@pytest.mark.parametrize(("days", "tone"), [(29, "warn"), (31, ""), (-3, "warn")])
def test_a_certificate_that_ends_soon_is_marked(days: int, tone: str) -> None:
    ends_at = NOW + timedelta(days=days)
    fact = shown(certificate_expires_at=ends_at.isoformat())["Certificate ends"]
    assert (fact.moment, fact.tone) == (ends_at, tone)


def test_of_all_certificates_the_first_to_end_is_shown_and_an_authority_a_year_ahead() -> None:
    seen = shown(leaf_expires_at="2026-12-01T00:00:00Z", certificate_expires_at="2027-10-01T00:00:00Z")
    assert seen["Certificate ends"] == Fact("Certificate ends", moment=datetime(2026, 12, 1, tzinfo=UTC), tone="warn")
    assert shown(ca_expires_at="2027-10-01T00:00:00Z")["Authority ends"].tone == "warn"
    assert shown(ca_expires_at="2035-10-01T00:00:00Z")["Authority ends"].tone == ""


def test_a_datastore_is_shown_with_its_size_if_that_is_known() -> None:
    assert shown(datastore="sqlite", datastore_bytes=5 << 20)["Datastore"].text == "sqlite, 5.0 MiB"
    assert shown(datastore="external", datastore_bytes=None)["Datastore"].text == "external"


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            [
                "cpus",
                "memory_bytes",
                "disk_free_bytes",
                "disk_size_bytes",
                "pods_ready",
                "pods_total",
                "system_pods",
                "ca_expires_at",
                "certificate_expires_at",
                "datastore",
                "datastore_bytes",
                "leaf_expires_at",
                "boot_at",
                "kernel",
                "kubelet_version",
            ],
            anything,
        ),
    )
)
def test_whatever_a_site_reports_is_survived(facts: dict[str, Any]) -> None:
    assert all(fact.text or fact.moment for fact in shown(**facts).values())
