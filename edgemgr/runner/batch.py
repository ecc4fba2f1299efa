"""Batch: the attempts that one ansible-runner process carries together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgemgr.model.target import Target


@dataclass(frozen=True)
class SiteRun:
    """One attempt's share of a batch. `variables` are its host variables: plain data, never templates."""

    attempt_id: int
    target: Target
    variables: Mapping[str, object]


@dataclass(frozen=True)
class Batch:
    """A vehicle, not a unit of truth. `kind` is the playbook's name; `name` is also that of the work directory.

    `timeout_s` is for each site by itself, from its first task on.
    """

    name: str
    kind: str
    runs: tuple[SiteRun, ...]
    timeout_s: float


@dataclass(frozen=True)
class HandOver:
    """What becomes of sites that wait for a fork while slow ones hold most of them.

    `may` is asked before; then `take` gets them, unsettled, and they are nothing of this batch any more.
    """

    may: Callable[[], bool]
    take: Callable[[tuple[SiteRun, ...]], None]
