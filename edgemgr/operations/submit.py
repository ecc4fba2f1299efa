"""Submitting: one request for many sites becomes an operation for each, all or none."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from edgemgr.errors import ConflictError, UsageError
from edgemgr.model.operation import OperationKind
from edgemgr.model.site import Site
from edgemgr.model.timestamp import utc_now
from edgemgr.operations.registry import SPECS
from edgemgr.operations.spec import OperationSpec, Params
from edgemgr.store import operations
from edgemgr.store.chosen_sites import sites_of
from edgemgr.store.database import Session
from edgemgr.store.operations import NewOperation


@dataclass(frozen=True)
class Request:
    """What one command submitted."""

    id: str
    kind: OperationKind
    site_ids: tuple[int, ...]


def check(
    session: Session, kind: OperationKind, params: Mapping[str, Any], site_ids: Sequence[int]
) -> tuple[Params, list[Site]]:
    """What would be asked, and of which sites; changes nothing.

    Raises:
        As `submit`.
    """
    spec = SPECS[kind]
    if not site_ids:
        raise UsageError("no site was chosen", hint="Name sites, or use -l SELECTOR or --all.", code="E-OP-NO-SITE")
    try:
        wanted = spec.params.model_validate(dict(params))
    except ValidationError as exc:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors())
        raise UsageError(
            f"{kind.value} cannot take these parameters: {faults}",
            hint=f"`edgemgr {kind.value} --help` shows what it takes.",
            code="E-OP-PARAMS",
        ) from exc
    spec.check(session, wanted)
    found = sites_of(session, site_ids)
    spec.check_sites(session, wanted, found)
    return wanted, found


def submit(
    session: Session,
    kind: OperationKind,
    params: Mapping[str, Any],
    site_ids: Sequence[int],
    *,
    actor: str,
    deadline_s: float | None = None,
    priority: int | None = None,
    request: str | None = None,
    now: datetime | None = None,
) -> Request:
    """Queue one operation for each site; as part of an older `request` where it follows from that.

    A site at which one is open that does the same, and more follows from it, is left out.

    Raises:
        UsageError: no site, or parameters that cannot be carried out anywhere. Nothing is queued then.
        ConflictError: every site would be left out (E-OP-OPEN).
        NotFoundError, ConflictError, BundleError: what the kind itself refuses.
    """
    spec = SPECS[kind]
    wanted, found = check(session, kind, params, site_ids)
    found = _without_staying(session, spec, wanted, found)
    if not found and request is None:
        raise _open_already(kind, len(site_ids))
    now = now or utc_now()
    asked = Request(request or secrets.token_hex(6), kind, tuple(site.id or 0 for site in found))
    operations.submit(
        session,
        [
            NewOperation(
                site_id=site.id or 0,
                site_name=site.name,
                kind=kind,
                params=wanted.model_dump(mode="json"),
                batch_key=spec.batch_key(wanted),
                priority=spec.priority if priority is None else priority,
                max_attempts=spec.max_attempts,
                max_lost=spec.max_lost,
            )
            for site in found
        ],
        request=asked.id,
        actor=actor,
        deadline_at=now + timedelta(seconds=deadline_s or spec.deadline_s),
        now=now,
    )
    for site in found:
        spec.desire(site, wanted)
    return asked


def _without_staying(session: Session, spec: OperationSpec, wanted: Params, sites: list[Site]) -> list[Site]:
    """The sites but those where something that is open keeps its place."""
    if not spec.is_step:
        return sites
    there = operations.open_params(session, spec.kind, [site.id or 0 for site in sites])
    return [
        site
        for site in sites
        if not any(spec.stays(spec.params.model_validate(each), wanted) for each in there.get(site.id or 0, ()))
    ]


def _open_already(kind: OperationKind, count: int) -> ConflictError:
    where = "this site" if count == 1 else f"each of these {count} sites"
    return ConflictError(
        f"a {kind.value} of {where} is under way already, as a step of something longer",
        hint="`edgemgr operation list --open` shows it; cancel it first if you do not want what follows.",
        code="E-OP-OPEN",
    )
