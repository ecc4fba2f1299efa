"""Before a bootstrap: what a stage had begun to bring of its k3s version comes to its end by the same road.

So that a site's bytes never travel twice: of what has come as layers or in part a playbook knows nothing, it sends
whole files. Windows are not asked, since an operator waits; limits hold.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from edgemgr.errors import EdgemgrError, SiteIdentityError, SiteUnreachableError, StoreError
from edgemgr.inventory.stage_set import StageSet, plan_stage
from edgemgr.links.ssh import connect
from edgemgr.links.transfer import Stop, send_blobs
from edgemgr.links.transfer_node import NodeStore, Reserve
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.operation import OperationState
from edgemgr.queue.errand import Errand
from edgemgr.queue.staging import CANCELED, look_at
from edgemgr.queue.traffic import traffic_of
from edgemgr.store import bundles, releases, stages
from edgemgr.store.database import Session

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Begun:
    """A stage that has begun at a site and not ended well, of the version that is to be bootstrapped there."""

    bundle: BundleName
    digests: frozenset[str]  #: the files of that version


def begun(errand: Errand) -> Begun | None:
    """Look whether there is one: one read of the database where there is none."""
    version = str(errand.claimed.operation.params["version"])
    with errand.database.read() as session:
        bundle = _begun(session, errand.site_id, version)
        files = releases.files_of(session, version) if bundle else []
    return Begun(bundle, frozenset(file.digest for file in files)) if bundle else None


def bring_rest(errand: Errand, rest: Begun, *, within_s: float) -> AttemptResult | None:
    """Finish what a stage has begun; None: the bootstrap may begin.

    What only a stage stumbles over (its reserve of room, a bundle that is gone) leaves everything to the bootstrap.

    Raises:
        SiteUnreachableError: the connection was lost.
        SiteIdentityError: another host answers.
        StoreError: the database cannot be used.
    """
    try:
        return _bring(errand, rest, within_s)
    except (SiteUnreachableError, SiteIdentityError, StoreError):
        raise
    except EdgemgrError as exc:
        logger.info("%s: %s; its bootstrap brings the files by itself", errand.target.name, exc.message)
        return None


def _begun(session: Session, site_id: int, version: str) -> BundleName | None:
    """The bundle whose stage has begun at this site and not ended well, if it holds this version."""
    transfer = stages.transfers_of(session, [site_id]).get(site_id)
    if transfer is None:
        return None
    (latest,) = stages.latest(session, [site_id])
    if latest.operation is not None and latest.operation.state == OperationState.SUCCEEDED.value:
        return None
    name = BundleName.parse(transfer.bundle)
    bundle = bundles.find(session, name)
    held = bundles.releases_of(session, bundle.id or 0) if bundle is not None else []
    return name if version in {release.version for release in held} else None


def _bring(errand: Errand, rest: Begun, within_s: float) -> AttemptResult | None:
    with errand.database.read() as session:
        parts, arch = stages.parts_of(session, errand.site_id), stages.arch_of(session, errand.site_id)
    until = time.monotonic() + within_s
    with connect(errand.target, timeout_s=errand.settings.connect_timeout_s) as connection:
        node = NodeStore(connection, attempt=errand.attempt_id)
        whole_set, looked = look_at(errand, node, rest.bundle, arch)
        plan = plan_stage(_only(whole_set, rest.digests), whole=looked.whole, inside=looked.inside)
        if not plan.blobs and not plan.archives:
            return None
        sent = send_blobs(
            connection,
            plan.blobs,
            attempt=errand.attempt_id,
            throttle=traffic_of(errand.database).of_site(parts).throttle,
            is_canceled=errand.is_canceled,
            is_open=lambda: time.monotonic() < until,
            reserve=Reserve(made_bytes=sum(archive.size_bytes for archive in plan.archives)),
        )
        if sent.stop is Stop.CANCELED:
            return CANCELED
        if sent.stop is Stop.WINDOW:
            message = f"its files did not come within {within_s:.0f} s"
            return AttemptResult(
                Outcome.TIMED_OUT, code="E-RUNNER-TIMEOUT", message=message, hint="It goes on from there."
            )
        for recipe in plan.archives:
            node.assemble(recipe, Reserve())
    logger.info("%s: the rest of what a stage had begun came: %d bytes", errand.target.name, sent.sent_bytes)
    return None


def _only(wanted: StageSet, digests: frozenset[str]) -> StageSet:
    """Of a set what belongs to these files."""
    return StageSet(
        wanted.bundle,
        tuple(blob for blob in wanted.files if blob.digest in digests),
        tuple(archive for archive in wanted.archives if archive.digest in digests),
        wanted.layers,
    )
