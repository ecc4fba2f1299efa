"""Expiry: what will break at a Site by itself, and when, from what was last told of it. Pure rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from edgemgr.model.certificate_renewal import renewed_days
from edgemgr.model.disk_forecast import forecast
from edgemgr.model.disk_history import Point
from edgemgr.model.kubernetes_life import end_of_life
from edgemgr.model.told import Told
from edgemgr.model.version import K3sVersion

_NOT_TOLD = "the node has not told it; `edgemgr verify` asks"
_GIB = 1 << 30


class ExpiryKind(StrEnum):
    """What has an end."""

    CERTIFICATE = "certificate"  #: the leaf that ends first: then the API refuses everybody
    CA = "ca"  #: the authority that ends first: then no leaf counts any more
    KUBERNETES = "kubernetes"  #: fixes for this minor version
    DISK = "disk"  #: room: below 5 % free, pods are thrown out
    BACKUP = "backup"  #: the age up to which a backup is of use


@dataclass(frozen=True)
class Expiry:
    """One end at one Site. `at` is None when nobody knows; then `detail` says why."""

    site: str
    what: ExpiryKind
    at: datetime | None
    detail: str
    told_at: datetime | None  #: the facts are of then; None where they are the appliance's own


@dataclass(frozen=True)
class CareFacts(Told):
    """What the appliance knows of a Site for this."""

    site_id: int
    name: str
    created_at: datetime
    timezone: str | None = None
    profile: str | None = None
    observed_at: datetime | None = None
    k3s_version: str = ""
    disk: Sequence[Point] = ()  #: see `DiskHistory`
    backup_at: datetime | None = None  #: when its newest backup came here

    @property
    def has_k3s(self) -> bool:
        """Whether a k3s was there when it was last looked at, in trouble or not."""
        return bool(self.k3s_version or self.text("datastore") or self.text("leaf_expires_at"))

    @property
    def version(self) -> K3sVersion | None:
        """The version that runs, or ran when it last answered."""
        return K3sVersion.find(self.k3s_version or self.text("kubelet_version"))

    @property
    def reported_at(self) -> datetime | None:
        """When the node itself was last asked: a look at the API alone tells of no disk and no file."""
        asked = [moment for moment in (self.moment("checked_at"), self.observed_at) if moment is not None]
        return min(asked, default=None)


def expiries(facts: CareFacts, now: datetime, *, backup_age: timedelta | None) -> list[Expiry]:
    """Everything that ends at a site, one at most of each kind; nothing for a site without k3s.

    A disk that does not fill up is left out, and so are backups where none need be: `backup_age` is None there.
    """
    if not facts.has_k3s:
        return []
    found = (
        _certificate(facts, now),
        _authority(facts, now),
        _kubernetes(facts),
        _disk(facts, now),
        None if backup_age is None else _backup(facts, backup_age),
    )
    return [each for each in found if each is not None]


def _certificate(facts: CareFacts, now: datetime) -> Expiry:
    at = facts.certificate_at
    return Expiry(facts.name, ExpiryKind.CERTIFICATE, at, _renewal(facts, at, now), facts.reported_at)


def _renewal(facts: CareFacts, at: datetime | None, now: datetime) -> str:
    if at is None:
        return _NOT_TOLD
    if at <= now:
        return "the API refuses everybody; a start of k3s renews it"
    days = renewed_days(facts.version)
    if at - now <= timedelta(days=days):
        return "a start of k3s renews it"
    # By days before now, so that a date at the edge of the calendar is no fault.
    return f"a start of k3s renews it in {(at - now).days - days} days at the earliest"


def _authority(facts: CareFacts, now: datetime) -> Expiry:
    at = facts.moment("ca_expires_at")
    if at is None:
        detail = _NOT_TOLD
    else:
        detail = "no leaf counts any more" if at <= now else "renewed by nobody: `k3s certificate rotate-ca`"
    return Expiry(facts.name, ExpiryKind.CA, at, detail, facts.reported_at)


def _kubernetes(facts: CareFacts) -> Expiry:
    version = facts.version
    at = end_of_life(version) if version else None
    if version is None:
        detail = "its version is not known"
    elif at is None:
        detail = f"{version}: no end of v{version.major}.{version.minor} is known to this edgemgr"
    else:
        detail = f"{version}: no fixes for v{version.major}.{version.minor} after that"
    return Expiry(facts.name, ExpiryKind.KUBERNETES, at, detail, facts.observed_at)


def _disk(facts: CareFacts, now: datetime) -> Expiry | None:
    free, size = facts.number("disk_free_bytes"), facts.number("disk_size_bytes")
    if free is None or not size or not facts.disk:
        return Expiry(facts.name, ExpiryKind.DISK, None, _NOT_TOLD, facts.reported_at)
    found = forecast(facts.disk, size, now)
    if found.full_at is None:
        return Expiry(facts.name, ExpiryKind.DISK, None, found.why, facts.reported_at) if found.why else None
    grows = "" if found.growth_bytes_day is None else f", {found.growth_bytes_day / _GIB:.2f} GiB more a day"
    detail = f"{1 - min(free, size) / size:.0%} of {size / _GIB:.0f} GiB used{grows}"
    return Expiry(facts.name, ExpiryKind.DISK, found.full_at, detail, facts.reported_at)


def _backup(facts: CareFacts, age: timedelta) -> Expiry:
    if facts.backup_at is None:
        return Expiry(facts.name, ExpiryKind.BACKUP, facts.created_at + age, "there is none", None)
    detail = f"the newest is of {facts.backup_at:%Y-%m-%d}"
    return Expiry(facts.name, ExpiryKind.BACKUP, facts.backup_at + age, detail, None)
