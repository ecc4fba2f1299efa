"""The hops of an upgrade: one minor version at a time, out of one bundle, the newest patch of each. Pure.

k3s follows the version skew policy of Kubernetes: minor versions are not skipped, and there is no way down with the
same data (docs.k3s.io, manual upgrades and roll back).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from edgemgr.errors import BundleError, NotFoundError
from edgemgr.model.release import Arch
from edgemgr.model.upgrade import Hop, Refusal
from edgemgr.model.upgrade_offer import Offer, OfferedRelease
from edgemgr.model.version import K3sVersion
from edgemgr.model.version_bound import is_within

Releases = dict[K3sVersion, OfferedRelease]
_OTHER_BUNDLE = "Import a bundle that holds it too, or choose an earlier version of this one with --version."


def goal_of(offer: Offer, wanted: str | None = None) -> K3sVersion:
    """The version to which sites are brought: the wanted one, or the newest final release of the bundle.

    Raises:
        BundleError: the bundle holds no k3s (E-UPGRADE-EMPTY).
        NotFoundError: it does not hold the wanted version (E-UPGRADE-VERSION).
        ReleaseError: what is wanted is no version (E-RELEASE-VERSION).
    """
    if not offer.versions:
        raise BundleError(
            f"bundle {offer.bundle} holds no k3s version that sites can be given",
            hint="Choose one that does; `edgemgr bundle list` shows their versions.",
            code="E-UPGRADE-EMPTY",
        )
    if wanted is None:
        finals = [version for version in offer.versions if version.candidate is None]
        return max(finals or offer.versions)
    goal = K3sVersion.parse(wanted)
    if goal not in offer.versions:
        known = ", ".join(str(version) for version in sorted(offer.versions))
        raise NotFoundError(
            f"bundle {offer.bundle} does not hold k3s {goal}",
            hint=f"It holds {known}.",
            code="E-UPGRADE-VERSION",
        )
    return goal


def plan_hops(offer: Offer, goal: K3sVersion, *, arch: Arch | None, installed: str) -> tuple[Hop, ...] | Refusal:
    """The way of one site from what is installed to the goal; no hop at all where it is there already.

    Release candidates are no steps on the way. A patch of the version that is installed becomes a first step only where
    the next minor version asks for it.
    """
    start = _read(installed)
    if start is None:
        return _unknown_version(installed)
    if start == goal:
        return ()
    refusal = _wrong_beginning(offer, start, goal, arch)
    if refusal is not None or arch is None:
        return refusal or _unknown_arch()
    releases = offer.of(arch)
    rungs = _rungs(releases, start, goal)
    if not all(rungs):
        return _missing(offer, rungs, start, goal, arch)

    def admits(version: K3sVersion, before: K3sVersion) -> bool:
        bounds = releases[version].requires_from
        return not bounds or is_within(before, bounds)

    for first in ([], [_patches(releases, start, goal)]):
        way = _climb(start, [*first, *rungs], admits)
        if way is not None:
            return tuple(Hop(str(before), str(after)) for before, after in pairwise(way))
    return _no_way(offer, releases, start, rungs, admits)


def _read(text: str) -> K3sVersion | None:
    """A version, if the text is nothing but that: a site may report anything."""
    found = K3sVersion.find(text)
    return found if found is not None and str(found) == text else None


def _rungs(releases: Releases, start: K3sVersion, goal: K3sVersion) -> list[list[K3sVersion]]:
    """For each minor version above the start, what could be run of it, newest first; the last is the goal alone."""
    between = range(start.minor + 1, goal.minor)
    rungs = [sorted((v for v in releases if v.minor == minor and _is_step(v, goal)), reverse=True) for minor in between]
    return [*rungs, [goal] if goal in releases else []]


def _patches(releases: Releases, start: K3sVersion, goal: K3sVersion) -> list[K3sVersion]:
    """Newer patches of the minor version that is installed, newest first."""
    found = (v for v in releases if v.minor == start.minor and start < v < goal and _is_step(v, goal))
    return sorted(found, reverse=True)


def _is_step(version: K3sVersion, goal: K3sVersion) -> bool:
    return version.major == goal.major and version.candidate is None


def _climb(
    start: K3sVersion, rungs: Sequence[Sequence[K3sVersion]], admits: Callable[[K3sVersion, K3sVersion], bool]
) -> list[K3sVersion] | None:
    """The newest version of each rung that may follow the one before and from which the way goes on; None: no way."""
    leading = [list(rungs[-1])]
    for rung in reversed(rungs[:-1]):
        leading.insert(0, [version for version in rung if any(admits(after, version) for after in leading[0])])
    way = [start]
    for rung in leading:
        step = next((version for version in rung if admits(version, way[-1])), None)
        if step is None:
            return None
        way.append(step)
    return way


def _wrong_beginning(offer: Offer, start: K3sVersion, goal: K3sVersion, arch: Arch | None) -> Refusal | None:
    if start > goal:
        return Refusal(
            "E-PRE-DOWNGRADE",
            f"it runs k3s {start}, which is newer than {goal}",
            "k3s cannot go back with its data: choose another bundle, or restore a backup of the older version.",
        )
    if start.major != goal.major:
        return Refusal(
            "E-UPGRADE-FROM", f"no way is known from k3s {start} to {goal}", "Bring up the site anew with that version."
        )
    if arch is not None and not offer.of(arch):
        archs = sorted({release.arch.value for release in offer.releases})
        return Refusal(
            "E-B050",
            f"it is {arch.value}; bundle {offer.bundle} holds k3s for {_listed(archs)} only",
            "Leave the site out, or obtain a bundle that carries its architecture.",
        )
    if offer.from_versions and not is_within(start, offer.from_versions) and start not in offer.versions:
        return Refusal(
            "E-B051",
            f"it runs k3s {start}; bundle {offer.bundle} upgrades from {' or '.join(offer.from_versions)} only",
            "Bring the site to one of these versions first, with an earlier bundle.",
        )
    return None


def _unknown_version(installed: str) -> Refusal:
    what = f"what it runs is no version of k3s: {installed!r}" if installed else "nobody knows which version it runs"
    return Refusal(
        "E-UPGRADE-UNKNOWN", what, "`edgemgr probe` asks it; a site that never had k3s needs a bootstrap first."
    )


def _unknown_arch() -> Refusal:
    return Refusal(
        "E-UPGRADE-UNKNOWN",
        "nobody knows its architecture",
        "`edgemgr probe` asks it, or say it by `edgemgr site edit SITE --arch`.",
    )


def _missing(
    offer: Offer, rungs: Sequence[Sequence[K3sVersion]], start: K3sVersion, goal: K3sVersion, arch: Arch
) -> Refusal:
    """The minor versions of which there is nothing; what is there for other architectures is told apart."""
    last = len(rungs) - 1
    gaps = [(goal.major, goal.minor - last + place) for place, rung in enumerate(rungs) if place < last and not rung]
    nowhere = [f"v{major}.{minor}" for major, minor in gaps if not offer.archs_of((major, minor))]
    if nowhere:
        return Refusal(
            "E-UPGRADE-MISSING",
            f"bundle {offer.bundle} does not hold k3s {_listed(nowhere)}, through which the way from {start} to {goal}"
            " leads",
            _OTHER_BUNDLE,
        )
    elsewhere = [f"v{major}.{minor}" for major, minor in gaps] or [str(goal)]
    return Refusal(
        "E-UPGRADE-ARCH",
        f"bundle {offer.bundle} holds k3s {_listed(elsewhere)} only for other architectures than {arch.value}",
        _OTHER_BUNDLE,
    )


def _no_way(
    offer: Offer,
    releases: Releases,
    start: K3sVersion,
    rungs: Sequence[Sequence[K3sVersion]],
    admits: Callable[[K3sVersion, K3sVersion], bool],
) -> Refusal:
    """Say at which version it ends, if the newest that is allowed is taken each time."""
    before, asks = start, rungs[-1][0]
    for rung in rungs:
        step = next((version for version in rung if admits(version, before)), None)
        if step is None:
            asks = rung[0]
            break
        before = step
    return Refusal(
        "E-UPGRADE-FROM",
        f"k3s {asks} of bundle {offer.bundle} may be reached from {' or '.join(releases[asks].requires_from)} only,"
        f" and the way from {start} comes to {before}",
        "Bring the site to one of these versions first, with another bundle.",
    )


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
