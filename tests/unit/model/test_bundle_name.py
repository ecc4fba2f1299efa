from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.errors import UsageError
from edgemgr.model.bundle import Bundle, BundleState
from edgemgr.model.bundle_name import BundleName

PRODUCT = st.from_regex(re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII), fullmatch=True)
CHANNEL = st.from_regex(re.compile(r"[a-z0-9][a-z0-9.-]{0,62}", re.ASCII), fullmatch=True)


@given(PRODUCT, CHANNEL, st.integers(1, 2**31 - 1))
def test_a_name_is_read_as_it_is_written(product: str, channel: str, number: int) -> None:
    name = BundleName(product, channel, number)
    assert BundleName.parse(str(name)) == name


@pytest.mark.parametrize("text", ["", "retail", "retail/stable", "retail/stable/0", "retail/stable/01", "../stable/1"])
@pytest.mark.parametrize("more", ["", "/x", "\n/2"])
def test_anything_else_is_no_name(text: str, more: str) -> None:
    with pytest.raises(UsageError) as caught:
        BundleName.parse(text + more)
    assert caught.value.code == "E-BUNDLE-NAME"


def test_the_database_knows_the_same_states_as_the_code() -> None:
    (rule,) = [rule for rule in Bundle.__table__.constraints if rule.name == "bundle_state"]
    assert set(re.findall(r"'(\w+)'", str(rule.sqltext))) == {state.value for state in BundleState}
