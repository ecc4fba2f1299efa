from __future__ import annotations

import pytest

from edgemgr.errors import UsageError
from edgemgr.model.transfer_scope import SiteParts, TransferScope, scope_of

STORE = SiteParts("store-1", {"vpn": "lte-7", "region": "emea"})


@pytest.mark.parametrize("text", ["all", "label:vpn=lte-7", "label:vpn", "site:store-1"])
def test_every_form_of_a_scope_is_read_as_it_is_written(text: str) -> None:
    assert str(TransferScope.parse(f" {text} ")) == text


@pytest.mark.parametrize("text", ["", "site:", "kind:bootstrap", "store-1", "label:", "all:"])
def test_anything_else_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        TransferScope.parse(text)
    assert caught.value.code == "E-LIMIT-SCOPE"
    assert "site:NAME" in caught.value.hint


def test_a_site_shares_bandwidth_with_all_with_the_values_of_its_labels_and_with_itself() -> None:
    assert STORE.names == ["all", "site:store-1", "label:region=emea", "label:vpn=lte-7"]


def test_the_limit_of_one_value_takes_the_place_of_that_of_every_value() -> None:
    assert scope_of("label:vpn=lte-7", {"label:vpn"}) == "label:vpn"
    assert scope_of("label:vpn=lte-7", {"label:vpn", "label:vpn=lte-7"}) == "label:vpn=lte-7"
    assert scope_of("label:vpn=lte-7", {"label:region", "all"}) is None
    assert scope_of("site:store=1", {"site:store"}) is None


@pytest.mark.parametrize(
    ("scopes", "holding"),
    [
        (set(), []),
        ({"all"}, ["all"]),
        ({"all", "label:vpn"}, ["label:vpn"]),
        ({"all", "label:vpn", "label:region=emea"}, ["label:region=emea", "label:vpn"]),
        ({"all", "label:vpn", "site:store-1"}, ["site:store-1"]),
        ({"label:vpn=lte-8", "site:store-2"}, []),
    ],
)
def test_the_window_that_is_nearest_to_the_site_holds(scopes: set[str], holding: list[str]) -> None:
    assert STORE.windows(scopes) == holding
