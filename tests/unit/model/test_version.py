from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.errors import ReleaseError
from edgemgr.model.version import K3sVersion

numbers = st.integers(0, 999)
versions = st.builds(K3sVersion, numbers, numbers, numbers, numbers, st.none() | numbers)


@given(versions)
def test_a_version_is_read_back_from_what_it_prints(version: K3sVersion):
    assert K3sVersion.parse(str(version)) == version


@given(versions)
def test_a_hyphen_may_stand_for_the_plus_sign(version: K3sVersion):
    assert K3sVersion.parse(str(version).replace("+", "-")) == version


@given(versions, versions, versions)
def test_the_order_is_total(a: K3sVersion, b: K3sVersion, c: K3sVersion):
    assert (a < b) + (a == b) + (a > b) == 1
    if a <= b <= c:
        assert a <= c


@given(versions, numbers)
def test_a_candidate_comes_before_its_final_release(version: K3sVersion, number: int):
    final = K3sVersion(version.major, version.minor, version.patch, version.revision)
    candidate = K3sVersion(version.major, version.minor, version.patch, version.revision, number)
    assert candidate < final


def test_versions_are_ordered_by_number_and_not_by_letter():
    ordered = [
        "v1.9.9+k3s9",
        "v1.33.5-rc1+k3s1",
        "v1.33.5-rc2+k3s1",
        "v1.33.5+k3s1",
        "v1.33.5+k3s2",
        "v1.33.10+k3s1",
        "v1.34.0+k3s1",
        "v2.0.0+k3s1",
    ]
    backwards = list(reversed(ordered))
    assert sorted(backwards, key=K3sVersion.parse) == ordered


@pytest.mark.parametrize("text", ["", "v1.33", "1.33.5+k3s1", "v1.33.5", "v1.33.5+rke2r1", "v1.33.5+k3s1x", "latest"])
def test_what_is_no_version_is_refused_with_an_example(text: str):
    with pytest.raises(ReleaseError) as caught:
        K3sVersion.parse(text)
    assert caught.value.code == "E-RELEASE-VERSION"
    assert "v1.33.5+k3s1" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("v1.33.5+k3s1", "v1.33.5+k3s1"),
        ("k3s-v1.33.5-k3s1", "v1.33.5+k3s1"),
        ("k3s version v1.20.8+k3s1 (6b5e6f54)\ngo version go1.15.13", "v1.20.8+k3s1"),
        ("release_1.33", None),
        ("rev1.33.5+k3s1", None),
        ("v1.33.5+k3s1b", None),
    ],
)
def test_a_version_is_found_inside_a_longer_text(text: str, found: str | None):
    version = K3sVersion.find(text)
    assert (str(version) if version else None) == found
