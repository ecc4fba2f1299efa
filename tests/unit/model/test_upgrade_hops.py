"""Ways from what a site runs to a bundle's version: no minor version skipped, never down, to the goal or refused."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgemgr.errors import BundleError, NotFoundError, ReleaseError
from edgemgr.model.release import Arch
from edgemgr.model.upgrade import Refusal
from edgemgr.model.upgrade_hops import goal_of, plan_hops
from edgemgr.model.upgrade_offer import Offer, OfferedRelease
from edgemgr.model.version import K3sVersion
from edgemgr.model.version_bound import is_within


def offer(*versions: str, archs: Sequence[Arch] = (Arch.AMD64,), start: Sequence[str] = (), **asks: str) -> Offer:
    """A bundle with these versions; `v1_34="v1.33.5"` says from which versions those of a minor may be reached."""
    releases = tuple(
        OfferedRelease(version, arch, tuple(asks.get(f"v{version.major}_{version.minor}", "").split()))
        for version in map(K3sVersion.parse, versions)
        for arch in archs
    )
    return Offer("retail/stable/3", releases, tuple(start))


def way(given_offer: Offer, installed: str, *, arch: Arch | None = Arch.AMD64, to: str | None = None) -> list[str]:
    found = plan_hops(given_offer, goal_of(given_offer, to), arch=arch, installed=installed)
    assert not isinstance(found, Refusal), found
    return [hop.to_version for hop in found]


def refusal(given_offer: Offer, installed: str, *, arch: Arch | None = Arch.AMD64, to: str | None = None) -> Refusal:
    found = plan_hops(given_offer, goal_of(given_offer, to), arch=arch, installed=installed)
    assert isinstance(found, Refusal), found
    return found


FOUR = ("v1.31.1+k3s1", "v1.31.9+k3s1", "v1.32.4+k3s1", "v1.32.11+k3s1", "v1.33.7+k3s2", "v1.33.7+k3s1")


def test_three_minor_versions_are_three_hops_with_the_newest_patch_of_each() -> None:
    assert way(offer(*FOUR), "v1.30.2+k3s1") == ["v1.31.9+k3s1", "v1.32.11+k3s1", "v1.33.7+k3s2"]


def test_the_way_may_end_on_an_earlier_version_of_the_bundle() -> None:
    assert way(offer(*FOUR), "v1.30.2+k3s1", to="v1.32.4+k3s1") == ["v1.31.9+k3s1", "v1.32.4+k3s1"]


def test_a_newer_patch_or_build_of_the_same_minor_version_is_one_hop() -> None:
    assert way(offer(*FOUR), "v1.33.2+k3s1") == ["v1.33.7+k3s2"]
    assert way(offer(*FOUR), "v1.33.7+k3s1") == ["v1.33.7+k3s2"]
    assert way(offer(*FOUR), "v1.33.7-rc1+k3s2") == ["v1.33.7+k3s2"]


def test_a_site_at_the_goal_has_nothing_to_do_whatever_its_architecture() -> None:
    assert way(offer(*FOUR, start=["v1.32"]), "v1.33.7+k3s2", arch=None) == []


def test_a_missing_minor_version_is_named() -> None:
    found = refusal(offer("v1.34.6+k3s1"), "v1.32.9+k3s1")
    assert found.code == "E-UPGRADE-MISSING"
    assert "does not hold k3s v1.33, through which the way from v1.32.9+k3s1 to v1.34.6+k3s1" in found.message


def test_all_missing_minor_versions_are_named_at_once() -> None:
    found = refusal(offer("v1.32.1+k3s1", "v1.35.0+k3s1"), "v1.31.9+k3s1")
    assert "does not hold k3s v1.33 and v1.34," in found.message


def test_a_release_candidate_is_no_step_on_the_way() -> None:
    given_offer = offer("v1.33.0-rc1+k3s1", "v1.34.6+k3s1")
    assert refusal(given_offer, "v1.32.9+k3s1").code == "E-UPGRADE-MISSING"
    assert way(given_offer, "v1.32.9+k3s1", to="v1.33.0-rc1+k3s1") == ["v1.33.0-rc1+k3s1"]


@pytest.mark.parametrize("installed", ["v1.34.0+k3s1", "v1.33.8+k3s1", "v1.33.7+k3s3", "v2.0.0+k3s1"])
def test_nothing_leads_down(installed: str) -> None:
    found = refusal(offer(*FOUR), installed, arch=None)
    assert found.code == "E-PRE-DOWNGRADE"
    assert installed in found.message


@pytest.mark.parametrize("installed", ["", "v1.33", "whatever", "v1.33.5+k3s1; reboot", "v1.33.5-k3s1"])
def test_a_site_of_which_the_version_is_not_known_is_refused(installed: str) -> None:
    assert refusal(offer(*FOUR), installed).code == "E-UPGRADE-UNKNOWN"


def test_a_site_of_which_the_architecture_is_not_known_is_refused() -> None:
    assert refusal(offer(*FOUR), "v1.32.1+k3s1", arch=None).code == "E-UPGRADE-UNKNOWN"


def test_an_architecture_that_the_bundle_does_not_carry_is_refused() -> None:
    found = refusal(offer(*FOUR, archs=(Arch.AMD64, Arch.ARM)), "v1.32.1+k3s1", arch=Arch.ARM64)
    assert (found.code, "k3s for amd64 and arm only" in found.message) == ("E-B050", True)


def test_a_version_that_is_there_for_another_architecture_only_is_told_apart() -> None:
    both, one = offer("v1.32.4+k3s1", "v1.34.1+k3s1", archs=(Arch.AMD64, Arch.ARM64)), offer("v1.33.7+k3s1")
    mixed = Offer("retail/stable/3", both.releases + one.releases)
    assert way(mixed, "v1.32.4+k3s1") == ["v1.33.7+k3s1", "v1.34.1+k3s1"]
    found = refusal(mixed, "v1.32.4+k3s1", arch=Arch.ARM64)
    assert found.code == "E-UPGRADE-ARCH"
    assert "holds k3s v1.33 only for other architectures than arm64" in found.message
    last = refusal(mixed, "v1.32.4+k3s1", arch=Arch.ARM64, to="v1.33.7+k3s1")
    assert (last.code, "v1.33.7+k3s1 only for other" in last.message) == ("E-UPGRADE-ARCH", True)


def test_what_the_bundle_says_it_upgrades_from_is_kept_to() -> None:
    given_offer = offer(*FOUR, start=["v1.30", "v1.31.5"])
    assert refusal(given_offer, "v1.31.2+k3s1").code == "E-B051"
    assert len(way(given_offer, "v1.30.0+k3s1")) == 3
    assert len(way(given_offer, "v1.31.9+k3s1")) == 2, "it brings this version itself"


def test_what_a_version_says_it_may_be_reached_from_decides_the_patch_on_the_way() -> None:
    given_offer = offer("v1.33.5+k3s1", "v1.33.9+k3s1", "v1.34.1+k3s1", v1_34="v1.33.5")
    assert way(given_offer, "v1.32.1+k3s1") == ["v1.33.5+k3s1", "v1.34.1+k3s1"]


def test_a_patch_of_what_is_installed_comes_first_only_where_the_next_version_asks_for_it() -> None:
    versions = ("v1.33.5+k3s1", "v1.34.1+k3s1")
    assert way(offer(*versions, v1_34="v1.33.5"), "v1.33.1+k3s1") == ["v1.33.5+k3s1", "v1.34.1+k3s1"]
    assert way(offer(*versions, v1_34="v1.33"), "v1.33.1+k3s1") == ["v1.34.1+k3s1"]


def test_where_the_bounds_of_the_versions_do_not_meet_the_sentence_says_where() -> None:
    found = refusal(offer("v1.33.9+k3s1", "v1.34.1+k3s1", v1_34="v1.33.5"), "v1.32.1+k3s1")
    assert found.code == "E-UPGRADE-FROM"
    assert "v1.34.1+k3s1 of bundle retail/stable/3 may be reached from v1.33.5 only" in found.message
    assert "comes to v1.33.9+k3s1" in found.message


def test_no_way_leads_to_another_major_version() -> None:
    assert refusal(offer("v2.0.0+k3s1"), "v1.99.0+k3s1").code == "E-UPGRADE-FROM"


def test_the_goal_is_the_newest_final_release_unless_another_is_named() -> None:
    given_offer = offer("v1.33.7+k3s1", "v1.34.1+k3s1", "v1.35.0-rc1+k3s1")
    assert str(goal_of(given_offer)) == "v1.34.1+k3s1"
    assert str(goal_of(given_offer, "v1.35.0-rc1+k3s1")) == "v1.35.0-rc1+k3s1"
    assert str(goal_of(offer("v1.35.0-rc1+k3s1"))) == "v1.35.0-rc1+k3s1"


def test_a_goal_that_the_bundle_does_not_hold_is_refused_for_all() -> None:
    with pytest.raises(NotFoundError) as caught:
        goal_of(offer(*FOUR), "v1.34.1+k3s1")
    assert (caught.value.code, "v1.31.9+k3s1" in caught.value.hint) == ("E-UPGRADE-VERSION", True)
    with pytest.raises(ReleaseError):
        goal_of(offer(*FOUR), "newest")
    with pytest.raises(BundleError) as empty:
        goal_of(offer())
    assert empty.value.code == "E-UPGRADE-EMPTY"


# What holds for every bundle and every site.

versions = st.builds(
    K3sVersion, st.just(1), st.integers(30, 34), st.integers(0, 3), st.integers(1, 2), st.none() | st.integers(1, 2)
)
bounds = st.lists(
    st.sampled_from([f"v1.{minor}" for minor in range(29, 35)])
    | st.builds("v1.{}.{}".format, st.integers(29, 34), st.integers(0, 3)),
    max_size=3,
).map(tuple)
releases = st.builds(OfferedRelease, versions, st.sampled_from([Arch.AMD64, Arch.ARM64]), bounds)
offers = st.builds(
    Offer,
    st.just("retail/stable/3"),
    st.lists(releases, min_size=1, max_size=16, unique_by=lambda each: (each.version, each.arch)).map(tuple),
    st.just(()) | bounds,
)


@st.composite
def asked(draw: st.DrawFn) -> tuple[Offer, K3sVersion, K3sVersion]:
    """A bundle, one of its versions, and what a site runs."""
    given_offer = draw(offers)
    return given_offer, draw(st.sampled_from(sorted(given_offer.versions))), draw(versions)


@given(asked())
def test_a_way_never_skips_a_minor_version_never_goes_down_and_ends_at_the_goal(
    drawn: tuple[Offer, K3sVersion, K3sVersion],
) -> None:
    given_offer, goal, installed = drawn
    found = plan_hops(given_offer, goal, arch=Arch.AMD64, installed=str(installed))
    if isinstance(found, Refusal):
        assert found.code.startswith("E-")
        assert found.message
        assert found.hint
        return
    here = given_offer.of(Arch.AMD64)
    at = installed
    for hop in found:
        after = K3sVersion.parse(hop.to_version)
        assert hop.from_version == str(at), "the hops join"
        assert at < after
        assert after.major == at.major
        assert after.minor - at.minor <= 1
        assert after in here, "there is something to install"
        assert after.candidate is None or after == goal
        assert not here[after].requires_from or is_within(at, here[after].requires_from)
        at = after
    assert at == goal
    climbed = [K3sVersion.parse(hop.to_version).minor for hop in found]
    assert len(set(climbed)) == len(climbed), "one patch of each minor version"


def brute_force(given_offer: Offer, goal: K3sVersion, installed: K3sVersion) -> bool:
    """Whether one version of each minor above what is installed, and perhaps a patch of that first, makes a way."""
    here = given_offer.of(Arch.AMD64)
    steps = [version for version in here if version.candidate is None or version == goal]
    rungs = [[v for v in steps if v.minor == minor and v < goal] for minor in range(installed.minor + 1, goal.minor)]
    first = [None, *(v for v in steps if v.minor == installed.minor and installed < v < goal)]
    for chosen in product(first, *rungs, [goal]):
        way = [installed, *(v for v in chosen if v is not None)]
        pairs = list(pairwise(way))
        if all(
            after in here and (not here[after].requires_from or is_within(before, here[after].requires_from))
            for before, after in pairs
        ):
            return True
    return False


@given(asked())
def test_a_way_is_found_whenever_there_is_one(drawn: tuple[Offer, K3sVersion, K3sVersion]) -> None:
    given_offer, goal, installed = drawn
    assume(installed < goal)
    assume(not given_offer.from_versions or is_within(installed, given_offer.from_versions))
    found = plan_hops(given_offer, goal, arch=Arch.AMD64, installed=str(installed))
    assert isinstance(found, Refusal) != brute_force(given_offer, goal, installed), found


patches = st.lists(st.integers(0, 12), min_size=1, max_size=4, unique=True)


@given(st.fixed_dictionaries(dict.fromkeys((31, 32, 33), patches)), st.integers(0, 12))
def test_where_no_bounds_are_set_every_step_is_the_newest_of_its_minor_version(
    held: dict[int, list[int]], installed: int
) -> None:
    given_offer = offer(*(f"v1.{minor}.{patch}+k3s1" for minor, found in held.items() for patch in found))
    newest = [f"v1.{minor}.{max(found)}+k3s1" for minor, found in sorted(held.items())]
    assert way(given_offer, f"v1.30.{installed}+k3s1") == newest
    if installed < max(held[31]):
        assert way(given_offer, f"v1.31.{installed}+k3s1") == newest[1:]
