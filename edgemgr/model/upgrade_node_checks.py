"""The checks before an upgrade that are about the node, as far as its own last words tell. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from edgemgr.model.certificate_renewal import renewed_days
from edgemgr.model.cluster import Health
from edgemgr.model.upgrade import Check, Hop, Preflight, Verdict
from edgemgr.model.upgrade_facts import UpgradeFacts
from edgemgr.model.version import K3sVersion
from edgemgr.model.version_changes import notes, removed_options

_MIB = 1 << 20
#: As preflight of a bootstrap has it: below the first k3s does not run, below the second little is left for workloads.
_LEAST_MIB, _COMFORTABLE_MIB = 512, 1024
_SKEW = timedelta(seconds=60)
#: CAs last for ten years and are renewed by nobody: this is when somebody has to think of it.
_CA_WARNING_DAYS = 365
#: Conditions of a node under which images and pods are thrown out (Kubernetes docs, node-pressure eviction).
_PRESSURE = re.compile(r"\b(?:Memory|Disk|PID)Pressure\b")
_BEFORE_ALL = (0, 0)  #: older than every minor version
_DATASTORES = {"sqlite": "SQLite", "etcd": "etcd"}


def memory(facts: UpgradeFacts) -> Check:
    """Enough memory for k3s itself."""
    total = facts.number("memory_bytes")
    if not total:
        return Check(Preflight.MEMORY, Verdict.ASK, "how much memory the node has is read there")
    mib = total // _MIB
    if mib < _LEAST_MIB:
        why = f"the node has {mib} MiB of memory, {_LEAST_MIB} MiB are needed"
        return Check(Preflight.MEMORY, Verdict.BLOCK, why, "E-PRE-MEMORY", "Use a larger node.")
    if mib < _COMFORTABLE_MIB:
        return Check(Preflight.MEMORY, Verdict.WARN, f"{mib} MiB of memory leave little for workloads")
    return Check(Preflight.MEMORY, Verdict.PASS, f"{mib} MiB")


def clock(facts: UpgradeFacts) -> Check:
    """The node's clock when it reported, beside ours when the report was here.

    A report can have been on its way for long, and a probe, which does not tell the node's time, may have come since:
    only a node that is ahead is known to be wrong.
    """
    told, heard = facts.moment("checked_at"), facts.observed_at
    if told is None or heard is None:
        return Check(Preflight.CLOCK, Verdict.ASK, "its clock is compared on the site")
    ahead = told - heard
    if ahead > _SKEW:
        return Check(
            Preflight.CLOCK,
            Verdict.BLOCK,
            f"the node's clock was at least {ahead.total_seconds():.0f} s ahead of the appliance's",
            "E-PRE-CLOCK",
            "Set it and give the node a time source, or correct the appliance's; `edgemgr verify` compares them anew.",
        )
    if ahead < -_SKEW:
        return Check(Preflight.CLOCK, Verdict.ASK, "its clock is compared on the site")
    return Check(Preflight.CLOCK, Verdict.PASS, f"within {_SKEW.total_seconds():.0f} s when it was last compared")


def certificates(facts: UpgradeFacts, now: datetime) -> Check:
    """The leaf certificate that ends first, and the CA where the node tells of it."""
    leaf, authority = facts.certificate_at, facts.moment("ca_expires_at")
    if authority is not None and authority <= now:
        return Check(
            Preflight.CERTIFICATES,
            Verdict.BLOCK,
            f"the cluster's CA ended on {authority:%Y-%m-%d}; k3s does not renew it",
            "E-UPGRADE-CA",
            "Replace it first: `k3s certificate rotate-ca` on the node.",
        )
    if authority is not None and authority - now < timedelta(days=_CA_WARNING_DAYS):
        why = f"the cluster's CA ends on {authority:%Y-%m-%d}; k3s does not renew it"
        return Check(Preflight.CERTIFICATES, Verdict.WARN, why)
    if leaf is None:
        return Check(Preflight.CERTIFICATES, Verdict.ASK, "when its certificates end is read on the site")
    if leaf <= now:
        why = f"a certificate ended on {leaf:%Y-%m-%d}; the start renews it, copied kubeconfigs may have ended too"
        return Check(Preflight.CERTIFICATES, Verdict.WARN, why)
    days = renewed_days(K3sVersion.find(facts.k3s_version))
    renewed = ", and is renewed by the start" if leaf - now < timedelta(days=days) else ""
    return Check(Preflight.CERTIFICATES, Verdict.PASS, f"the first ends on {leaf:%Y-%m-%d}{renewed}")


def node(facts: UpgradeFacts, now: datetime) -> Check:
    """Ready, and short of nothing, when it was last looked at."""
    is_bad = facts.health == Health.FAILING or _PRESSURE.search(facts.health_reason) is not None
    if is_bad and facts.is_fresh(now):
        hint = f"Mend it first: `edgemgr kubectl {facts.name} -- describe node`."
        return Check(Preflight.NODE, Verdict.BLOCK, facts.health_reason or "k3s is failing", "E-VERIFY-NODE", hint)
    if is_bad:
        return Check(Preflight.NODE, Verdict.WARN, f"{_last_seen(facts)}: {facts.health_reason or 'k3s was failing'}")
    if facts.health == Health.UNKNOWN or not facts.is_fresh(now):
        return Check(Preflight.NODE, Verdict.ASK, f"{_last_seen(facts)}; it is looked at on the site")
    return Check(Preflight.NODE, Verdict.PASS, "it was Ready and short of nothing within the last hour")


def pods(facts: UpgradeFacts, now: datetime) -> Check:
    """The system's workloads. What is not ready before need not be ready afterwards, so nothing of it blocks."""
    if facts.health == Health.DEGRADED:
        return Check(Preflight.PODS, Verdict.WARN, facts.health_reason or "something beside the node is not ready")
    if facts.health != Health.HEALTHY or not facts.is_fresh(now):
        return Check(Preflight.PODS, Verdict.ASK, "which pods are ready is noted on the site")
    return Check(Preflight.PODS, Verdict.PASS, "all of the system were ready within the last hour")


def datastore(facts: UpgradeFacts) -> Check:
    """A datastore that can be copied while k3s is stopped, or else there would be no way back.

    A site that edgemgr has bootstrapped has SQLite: it takes no configuration that asks for another one.
    """
    kind = facts.text("datastore") or ("sqlite" if facts.config is not None else "")
    if not kind:
        return Check(Preflight.DATASTORE, Verdict.ASK, "its kind and state are looked at on the site")
    if kind not in _DATASTORES:
        return Check(
            Preflight.DATASTORE,
            Verdict.BLOCK,
            "its datastore is neither SQLite nor etcd on the node, and could not be put back",
            "E-UPGRADE-DATASTORE",
            "Upgrade it by hand, with a backup of that datastore.",
        )
    return Check(Preflight.DATASTORE, Verdict.PASS, f"{_DATASTORES[kind]}; its copy is checked on the site")


def network() -> Check:
    """Sites do not report routes."""
    return Check(Preflight.NETWORK, Verdict.ASK, "its address and its default route are looked at on the site")


def config(facts: UpgradeFacts, hops: Sequence[Hop], given: Mapping[str, Any] | None = None) -> Check:
    """Options that a version on the way no longer knows, and what each version brings that somebody should know.

    Options that come with the upgrade count instead of those that the site has, and nothing has started with them yet:
    also what an older version took away counts.
    """
    if not hops:
        return Check(Preflight.CONFIG, Verdict.ASK, "it is read on the site, once a way is known")
    after, upto = (_minor(text) for text in (hops[0].from_version, hops[-1].to_version))
    options = facts.config if given is None else given
    gone = removed_options(options or {}, after if given is None else _BEFORE_ALL, upto)
    if gone:
        place = "the site's configuration" if given is None else "the file"
        hint = f"Take it out of {place} first."
        return Check(Preflight.CONFIG, Verdict.BLOCK, "; ".join(gone), "E-K3S-OPTION", hint)
    known = notes(options, after, upto)
    if known:
        return Check(Preflight.CONFIG, Verdict.WARN, "; ".join(known))
    if options is None:
        return Check(Preflight.CONFIG, Verdict.ASK, "its configuration is read on the site")
    return Check(Preflight.CONFIG, Verdict.PASS, "nothing in it is known to be gone; uses of old APIs are asked there")


def _last_seen(facts: UpgradeFacts) -> str:
    return f"last seen on {facts.observed_at:%Y-%m-%d %H:%M} UTC" if facts.observed_at else "it was never looked at"


def _minor(text: str) -> tuple[int, int]:
    version = K3sVersion.parse(text)
    return version.major, version.minor
