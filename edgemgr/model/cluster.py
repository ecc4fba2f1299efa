"""Cluster: the k3s of a Site as it was last observed. Written by `status` only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Text
from sqlmodel import Field, SQLModel

from edgemgr.model.timestamp import UtcDateTime


class Reachability(StrEnum):
    """Whether the site answered when it was last tried."""

    REACHABLE = "reachable"  #: the last contact succeeded
    UNREACHABLE = "unreachable"  #: the last contact failed
    UNKNOWN = "unknown"  #: never tried


class Health(StrEnum):
    """What the last observation says of k3s and its system pods."""

    HEALTHY = "healthy"  #: node Ready, API ready, all system pods ready
    DEGRADED = "degraded"  #: node Ready, but something beside it is not
    FAILING = "failing"  #: the API or the node is not ready, or k3s is gone
    UNKNOWN = "unknown"  #: never observed, or no k3s was ever there


class UpdateStatus(StrEnum):
    """The observed version beside the desired one."""

    UP_TO_DATE = "up_to_date"  #: observed version equals desired version
    OUT_OF_DATE = "out_of_date"  #: it does not, and nothing is under way
    UPDATING = "updating"  #: an operation that changes the site is running
    UNKNOWN = "unknown"  #: nothing desired or nothing observed


#: Reported facts that hold also while the API is down, and count most then: they stay until newer ones come.
LASTING_FACTS = frozenset(
    {
        "ca_expires_at",
        "certificate_expires_at",
        "checked_at",
        "datastore",
        "datastore_bytes",
        "disk_free_bytes",
        "disk_size_bytes",
        "kubelet_version",
        "leaf_expires_at",
        "token_number",
    }
)


@dataclass(frozen=True)
class Observation:
    """A timestamped set of facts from a probe or from a playbook's report."""

    observed_at: datetime
    health: Health
    health_reason: str = ""
    k3s_version: str | None = None
    node_name: str | None = None
    arch: str | None = None
    os: str | None = None
    cluster_id: str | None = None  #: uid of the kube-system namespace: tells two clusters apart
    facts: dict[str, Any] = field(default_factory=dict)  #: everything else that was reported, as it came


class Cluster(SQLModel, table=True):
    """One row per Site, made at the first contact."""

    __tablename__ = "cluster"

    site_id: int = Field(primary_key=True, foreign_key="site.id", ondelete="CASCADE")
    reachability: str = Reachability.UNKNOWN
    reachability_reason: str = ""
    tried_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    contact_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    health: str = Field(default=Health.UNKNOWN, index=True)
    health_reason: str = Field(default="", sa_type=Text)
    observed_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    k3s_version: str | None = Field(default=None, index=True)
    node_name: str | None = None
    arch: str | None = None
    os: str | None = None
    cluster_id: str | None = None
    facts: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
