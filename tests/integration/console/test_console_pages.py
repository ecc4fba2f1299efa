"""What the console's pages show."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient
from tests_support.console_fleet import (
    NEWER,
    VERSION,
    add_attempt,
    add_cluster,
    add_event,
    add_fleet,
    add_operation,
    add_site,
    write_log,
)
from tests_support.html_page import Page

from edgemgr.app import App


def names_in(html: str) -> list[str]:
    return re.findall(r'<th scope="row"><a href="/sites/[^"]+">([^<]+)</a>', html)


def test_the_list_shows_what_is_wanted_observed_and_under_way(app: App, client: TestClient) -> None:
    site = add_site(app.database, "store-1", labels={"region": "emea"}, k3s_version=NEWER)
    add_cluster(app.database, site, health="degraded", health_reason="not ready: deployment coredns")
    add_operation(app.database, site, waiting_for="backoff", message="k3s crashed")
    html = client.get("/sites").text
    for text in (
        "store-1",
        "region=emea",
        "reachable",
        "degraded",
        "not ready: deployment coredns",
        VERSION,
        NEWER,
        "out of date",
        "bootstrap tries again soon",
        "k3s crashed",
    ):
        assert text in html
    assert re.search(r'<time datetime="[0-9T:-]+Z" title="[0-9: -]+ UTC">\d+[smhd] ago</time>', html)


def test_the_filter_is_the_one_of_the_command_line(app: App, client: TestClient) -> None:
    add_fleet(app.database, 60)
    for query, count in (
        ("region=emea", None),
        ("health=failing", None),
        ("name~store-0000", 9),
        ("region in (emea,apac)", None),
    ):
        html = client.get("/sites", params={"q": query}).text
        listed = client.get("/api/v1/sites", params={"filter": query, "limit": 50}).json()
        assert names_in(html) == [item["name"] for item in listed["items"]]
        assert 0 < listed["total"] < 60
        assert count in (None, listed["total"])


def test_every_count_is_a_link_to_as_many_sites(app: App, client: TestClient) -> None:
    add_fleet(app.database, 60)
    html = client.get("/sites", params={"q": "region=emea", "reachability": "reachable"}).text
    facets = re.findall(
        r'<a class="facet" href="([^"]+)"[^>]*><span class="word \w+">[\w ]+</span>\s*<b>(\d+)</b>', html
    )
    assert len(facets) >= 4
    for href, count in facets:
        if "reachability=" not in href:
            continue  # the link that takes the narrowing back
        found = client.get(href.replace("&amp;", "&")).text
        assert re.search(rf"of <strong>{count}</strong>", found), href


def test_the_counts_of_a_facet_add_up_to_the_whole(app: App, client: TestClient) -> None:
    add_fleet(app.database, 60)
    html = client.get("/sites").text
    counts = [int(count) for count in re.findall(r"<b>(\d+)</b>", html)]
    assert sum(counts) == 2 * 60  # health and contact


def test_sorting_turns_round_and_says_so(app: App, client: TestClient) -> None:
    for name in ("b", "a", "c"):
        add_site(app.database, name)
    assert names_in(client.get("/sites?sort=name").text) == ["a", "b", "c"]
    html = client.get("/sites?sort=-name").text
    assert names_in(html) == ["c", "b", "a"]
    assert '<th scope="col" aria-sort="descending"><a href="/sites?sort=name">Site</a>' in html


def test_pages_cover_every_site_once_and_keep_the_filter(app: App, client: TestClient) -> None:
    add_fleet(app.database, 120)
    seen: list[str] = []
    address = "/sites?q=name~store"
    while address:
        html = client.get(address).text
        seen += names_in(html)
        following = re.search(r'<a rel="next" href="([^"]+)"', html)
        address = following[1].replace("&amp;", "&") if following else ""
    assert seen == [f"store-{n:05d}" for n in range(1, 121)]


def test_a_page_beyond_the_last_one_is_the_last_one(app: App, client: TestClient) -> None:
    add_fleet(app.database, 60)
    assert len(names_in(client.get("/sites?page=999").text)) == 10


def test_a_filter_that_cannot_be_read_is_explained_and_nothing_is_lost(app: App, client: TestClient) -> None:
    add_site(app.database, "store-1")
    answer = client.get("/sites", params={"q": 'helth=failing "', "health": "failing", "sort": "-k3s"})
    assert answer.status_code == 400
    page = Page(answer.text)
    assert "E-SELECTOR" in answer.text
    assert ("input", 'helth=failing "') in [(tag, attrs.get("value")) for tag, attrs in page.tags]
    assert {("health", "failing"), ("sort", "-k3s")} <= {(a.get("name"), a.get("value")) for _, a in page.tags}


@pytest.mark.parametrize("query", ["sort=wealth", "health=unwell", "q=group=nobody", "q=%28", "page=0", "page=x"])
def test_a_wrong_address_is_an_answer_with_a_code(app: App, client: TestClient, query: str) -> None:
    answer = client.get(f"/sites?{query}")
    assert answer.status_code in (400, 404)
    assert re.search(r"<code>E-[A-Z-]+</code>", answer.text)


def test_a_single_word_is_taken_for_a_part_of_a_name(app: App, client: TestClient) -> None:
    add_site(app.database, "berlin-4")
    html = client.get("/sites?q=berlin").text
    assert 'href="/sites?q=name~berlin"' in html or 'href="/sites?q=name%7Eberlin"' in html
    assert names_in(client.get("/sites?q=name~berlin").text) == ["berlin-4"]


def test_an_empty_appliance_teaches_the_first_two_commands(client: TestClient) -> None:
    html = client.get("/sites").text
    assert "edgemgr site import sites.csv" in html
    assert "edgemgr bootstrap --all" in html
    assert "edgemgr bootstrap" in client.get("/operations").text


def test_five_thousand_sites_are_one_small_page(app: App, client: TestClient) -> None:
    add_fleet(app.database, 5000)
    assert len(client.get("/sites?sort=health").content) < 60_000


def test_the_live_part_is_the_same_as_in_the_page_and_keeps_the_address(app: App, client: TestClient) -> None:
    add_fleet(app.database, 60)
    page = client.get("/sites?q=region%3Demea&sort=-name").text
    live_url = re.search(r'hx-get="(/live/sites\?[^"]+)"', page)
    assert live_url
    part = client.get(live_url[1].replace("&amp;", "&"))
    assert names_in(part.text) == names_in(page)
    assert part.headers["hx-replace-url"] == "/sites?q=region%3Demea&sort=-name"


def test_a_site_shows_its_state_facts_operations_and_history(app: App, client: TestClient) -> None:
    site = add_site(
        app.database, "store-1", labels={"region": "emea"}, timezone="Europe/Berlin", notes="behind the bakery"
    )
    add_cluster(app.database, site)
    operation = add_operation(
        app.database, site, "verify", "failed", code="E-VERIFY-PODS", message="coredns (0/1)", attempts=1
    )
    add_event(app.database, site, "OperationFailed", "verify, attempt 1: coredns (0/1)", type="warning")
    html = client.get("/sites/store-1").text
    for text in (
        "Debian GNU/Linux 12 (bookworm)",
        "41.0 GiB free of 120.0 GiB",
        "6 of 7 ready",
        "2027-08-03 10:00:00 UTC",
        "behind the bakery",
        "Europe/Berlin",
        "E-VERIFY-PODS",
        "OperationFailed",
        "Verify failed 1m ago: coredns (0/1)",
        f"edgemgr operation retry {operation}",
    ):
        assert text in html


def test_a_site_that_does_not_exist_is_a_404_that_tells_the_nearest_name(app: App, client: TestClient) -> None:
    add_site(app.database, "store-1")
    answer = client.get("/sites/store-2")
    assert answer.status_code == 404
    assert "Did you mean store-1?" in answer.text
    assert "E-SITE-UNKNOWN" in answer.text


def test_the_log_is_followed_line_by_line_and_into_the_next_attempt(app: App, client: TestClient) -> None:
    site = add_site(app.database, "store-1")
    operation = add_operation(app.database, site, state="running", attempts=1)
    first = add_attempt(app.database, operation, outcome="unreachable")
    write_log(app.settings.log_dir, first, "line 1\nline 2\n")
    html = client.get("/sites/store-1").text
    assert "line 2" in html

    def more(html: str) -> str:
        found = re.search(r'id="log-more" data-live hx-get="([^"]+)"', html)
        assert found
        return client.get(found[1].replace("&amp;", "&")).text

    html = more(html)
    assert "line" not in html.replace('class="line', "")
    write_log(app.settings.log_dir, first, "line 1\nline 2\nline 3\n")
    html = more(html)
    assert "line 3" in html
    assert "line 2" not in html
    second = add_attempt(app.database, operation, 2)
    write_log(app.settings.log_dir, second, "line A\n")
    html = more(html)
    assert "attempt 2, begun" in html
    assert "line A" in html
    assert "line A" not in more(html)


def test_a_log_that_was_chosen_stays(app: App, client: TestClient) -> None:
    site = add_site(app.database, "store-1")
    operation = add_operation(app.database, site, state="running", attempts=2)
    write_log(app.settings.log_dir, add_attempt(app.database, operation, 1, outcome="failed"), "the first\n")
    write_log(app.settings.log_dir, add_attempt(app.database, operation, 2), "the second\n")
    html = client.get(f"/sites/store-1?operation={operation}&attempt=1").text
    assert "the first" in html
    assert "the second" not in html
    assert "is_chosen=true" in html


def test_a_log_of_another_site_is_not_shown_under_this_name(app: App, client: TestClient) -> None:
    operation = add_operation(app.database, add_site(app.database, "store-1"), state="running")
    add_attempt(app.database, operation)
    add_site(app.database, "store-2")
    assert client.get(f"/sites/store-2?operation={operation}").status_code == 404
    assert client.get(f"/live/sites/store-2/log?operation={operation}&attempt=1").status_code == 404
