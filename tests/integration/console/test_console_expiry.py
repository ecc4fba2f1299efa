"""What will break by itself, in the console."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from tests_support.console_fleet import add_cluster, add_site

from edgemgr.app import App
from edgemgr.model.timestamp import utc_now
from edgemgr.web.console import expiry_view


def tell(app: App, name: str, leaf_days: float) -> None:
    """A site with k3s whose leaf certificate ends then."""
    ends = f"{utc_now() + timedelta(days=leaf_days):%Y-%m-%dT%H:%M:%SZ}"
    add_cluster(
        app.database,
        add_site(app.database, name),
        k3s_version="v1.37.1+k3s1",
        facts={"leaf_expires_at": ends, "ca_expires_at": "<b>"},
    )


def certificate_of(name: str) -> str:
    return f'href="/sites/{name}">{name}</a></th>\n  <td data-label="What">certificate'


def test_a_fleet_of_which_nothing_is_known_has_nothing_that_ends(client: TestClient) -> None:
    html = client.get("/expiry").text
    assert "Nothing, as far as is known." in html
    assert '<a href="/expiry" aria-current="page">' in html


def test_what_ends_next_comes_first_with_a_link_to_its_site(app: App, client: TestClient) -> None:
    for name, days in (("later", 40.0), ("ended", -2.0), ("far", 300.0)):
        tell(app, name, days)
    html = client.get("/expiry?within_days=90").text
    assert html.index(certificate_of("ended")) < html.index(certificate_of("later"))
    assert '<span class="word bad">over</span>' in html
    assert "the API refuses everybody" in html
    assert "Not known: ca at 3 sites, disk at 3 sites" in html
    assert certificate_of("far") not in html
    assert certificate_of("far") in client.get("/expiry?within_days=365").text


def test_only_so_many_are_shown_and_the_rest_is_counted(
    app: App, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        tell(app, f"site-{number}", 10)
    monkeypatch.setattr(expiry_view, "SHOWN", 2)
    html = client.get("/expiry").text
    assert html.count('data-label="What"') == 2
    assert "and 4 more: <code" in html  # certificate and backup of three sites


@pytest.mark.parametrize("days", ["0", "99999", "x"])
def test_a_span_that_is_none_is_refused(client: TestClient, days: str) -> None:
    assert client.get(f"/expiry?within_days={days}").status_code in (400, 422)
