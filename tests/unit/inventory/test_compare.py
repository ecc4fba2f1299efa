from __future__ import annotations

import pytest

from edgemgr.inventory.compare import BLANK, Wanted, contradictions, difference, new_site
from edgemgr.inventory.field_fault import FieldFault
from edgemgr.inventory.key_fields import HostKey
from edgemgr.model.secret import Secret, SecretName
from edgemgr.model.site_change import FieldChange, StoredSite

KEY = HostKey("ssh-ed25519 AAAA", "SHA256:one")


def _stored(**values: object) -> StoredSite:
    everything = {**BLANK, "name": "a", "address": "192.0.2.1", "key_installed": False, **values}
    return StoredSite(1, "a", everything, {"region": "emea"})


def _pinned(**values: object) -> StoredSite:
    return _stored(**{"host_key_fingerprint": KEY.fingerprint, "trust": "pinned", **values})


def _nothing(_: SecretName) -> Secret | None:
    return None


def test_what_is_so_already_is_no_change() -> None:
    wanted = Wanted({"address": "192.0.2.1", "port": 22}, {"region": "emea", "tier": None})
    assert difference(_stored(), wanted, _nothing) is None


def test_a_change_is_told_field_by_field() -> None:
    wanted = Wanted(
        {"address": "192.0.2.2", "jump_user": "j", "jump_address": "::1", "jump_port": 22}, {"region": None}
    )
    change = difference(_stored(), wanted, _nothing)
    assert change is not None
    assert change.fields == (
        FieldChange("address", "192.0.2.1", "192.0.2.2"),
        FieldChange("jump", "", "j@[::1]:22"),
        FieldChange("labels.region", "emea", ""),
    )
    assert change.labels == {"region": None}


def test_a_host_key_pins_a_site_that_has_none() -> None:
    change = difference(_stored(trust="seen"), Wanted(host_key=KEY), _nothing)
    assert change is not None
    assert change.values == {"host_key": KEY.line, "host_key_fingerprint": KEY.fingerprint, "trust": "pinned"}
    assert change.pins == KEY.fingerprint


@pytest.mark.parametrize("trust", ["pinned", "mismatch"])
def test_another_host_key_than_the_pinned_one_is_refused(trust: str) -> None:
    with pytest.raises(FieldFault) as caught:
        difference(_pinned(trust=trust), Wanted(host_key=HostKey(None, "SHA256:two")), _nothing)
    assert caught.value.code == "E-CSV-PIN-CHANGED"
    assert "site trust a --fingerprint SHA256:two" in caught.value.hint


def test_a_mismatch_is_not_settled_by_importing_the_same_pin_again() -> None:
    stored = _pinned(trust="mismatch", host_key=KEY.line)
    assert difference(stored, Wanted(host_key=KEY), _nothing) is None


def test_the_full_key_completes_a_pinned_fingerprint_and_a_fingerprint_takes_nothing_away() -> None:
    change = difference(_pinned(), Wanted(host_key=KEY), _nothing)
    assert change is not None
    assert change.values == {"host_key": KEY.line}
    assert change.pins is None
    assert difference(_pinned(host_key=KEY.line), Wanted(host_key=HostKey(None, KEY.fingerprint)), _nothing) is None


def test_a_password_is_wanted_only_until_our_own_key_is_installed() -> None:
    password = Secret("old")
    wanted = Wanted(secrets={SecretName.PASSWORD: password})
    change = difference(_stored(), wanted, _nothing)
    assert change is not None
    assert change.fields == (FieldChange("password", "", "***"),)
    assert difference(_stored(), wanted, lambda _: Secret("old")) is None
    assert difference(_stored(key_installed=True), wanted, _nothing) is None


def test_another_user_has_not_our_key_yet() -> None:
    wanted = Wanted({"user": "edge"}, secrets={SecretName.PASSWORD: Secret("new")})
    change = difference(_stored(key_installed=True), wanted, _nothing)
    assert change is not None
    assert change.values == {"user": "edge", "key_installed": False}
    assert change.secrets == wanted.secrets


def test_a_new_site_has_the_defaults_and_the_pin() -> None:
    site = new_site(Wanted({"name": "a", "address": "192.0.2.1"}, {"region": "emea", "tier": None}, host_key=KEY))
    assert (site.values["port"], site.values["user"], site.values["trust"]) == (22, "root", "pinned")
    assert site.labels == {"region": "emea"}


@pytest.mark.parametrize(
    ("values", "columns"),
    [
        ({"jump_address": "192.0.2.9"}, ["jump_host_key"]),
        ({"jump_host_key": "ssh-ed25519 AAAA"}, ["jump"]),
        ({"latitude": 1.0}, ["longitude"]),
        ({"longitude": 0.0}, ["latitude"]),
        ({"latitude": 0.0, "longitude": 0.0}, []),
    ],
)
def test_fields_that_need_one_another_are_told_at_the_missing_one(
    values: dict[str, object], columns: list[str]
) -> None:
    assert [column for column, _ in contradictions({**BLANK, **values})] == columns
