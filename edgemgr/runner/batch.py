"""Batch: the attempts that one ansible-runner process carries together."""

from __future__ import annotations

from collections.abc import Mapping
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
    """A vehicle, not a unit of truth. `kind` is the playbook's name; `name` is also that of the work directory."""

    name: str
    kind: str
    runs: tuple[SiteRun, ...]
    timeout_s: float
