"""One attempt of a stage: look what the node holds, send the rest, have its images put together, note what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgemgr.errors import Retry, SiteError, SiteUnreachableError
from edgemgr.inventory.content_store import ContentStore
from edgemgr.inventory.stage_set import StageSet, compose, plan_stage, read_rows
from edgemgr.links.connection import Connection
from edgemgr.links.ssh import connect
from edgemgr.links.transfer import Stop, send_blobs
from edgemgr.links.transfer_node import Looked, NodeStore, Reserve
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.release import Arch, arch_of_machine
from edgemgr.model.timestamp import utc_now
from edgemgr.model.work_order import ORDER_KEY
from edgemgr.queue.errand import Errand
from edgemgr.queue.fault import result_of
from edgemgr.queue.staging_progress import StagingProgress
from edgemgr.queue.traffic import SiteTraffic, traffic_of
from edgemgr.store import appliance_keys, bundles, stages

GAVE_WAY = AttemptResult(
    Outcome.LOST,
    code="E-OP-GAVE-WAY",
    message="it gave way to a more urgent operation of its site",
    hint="It goes on by itself, from where it stopped.",
    retry=Retry.FREE,
)
CANCELED = AttemptResult(Outcome.CANCELED, message="what has come stays on the node; a new stage goes on from there")


def stage(errand: Errand) -> AttemptResult:
    """Bring what the bundle holds for this site to its node; what has come once never travels again.

    Where a link was lost after something had come, the site is tried again at once, as long as that brings more: most
    cuts are short, and the watch takes some seconds to find a site back.

    Raises:
        SiteError: as `send_blobs` and `NodeStore`; E-STAGE-ARCH.
        BundleError: the bundle holds nothing for the node's architecture (E-B050), or an image of it is not whole.
        NotFoundError: the bundle was removed (E-BUNDLE-UNKNOWN).
    """
    result = _stage(errand)
    while result.advanced:
        try:
            result = _stage(errand)
        except SiteUnreachableError:
            break
    return result


def _stage(errand: Errand) -> AttemptResult:
    """Over one connection, as `stage`."""
    name = BundleName.parse(errand.claimed.operation.params["bundle"])
    with errand.database.read() as session:
        bundles.get(session, name)
        parts, arch = stages.parts_of(session, errand.site_id), stages.arch_of(session, errand.site_id)
        installed = stages.installed_digests(session, errand.site_id)
        key = appliance_keys.find(session, ORDER_KEY)
    traffic = traffic_of(errand.database).of_site(parts)
    if not traffic.is_open(utc_now()):
        return window_closed(traffic)
    if errand.gives_way():
        return GAVE_WAY
    with connect(errand.target, timeout_s=errand.settings.connect_timeout_s) as connection:
        node = NodeStore(connection, attempt=errand.attempt_id)
        wanted, looked = look_at(errand, node, name, arch)
        stop = _send(errand, connection, wanted, looked, traffic)
        if stop is not None:
            return stop
        for recipe in plan_stage(wanted, whole=looked.whole, inside=looked.inside).archives:
            if errand.is_canceled():
                return CANCELED
            node.assemble(recipe, Reserve())
        # Sites that were bootstrapped before there was such a key get it here.
        order_key = key.public_key if key else ""
        node.keep_sets(wanted.bundle, wanted.digests, keep=installed, order_key=order_key)
    return AttemptResult(Outcome.SUCCEEDED)


def look_at(errand: Errand, node: NodeStore, name: BundleName, expected: Arch | None) -> tuple[StageSet, Looked]:
    """What this node is to hold, by the architecture that it tells, and what of it is there.

    Raises:
        As `stage`.
    """
    sets = _sets(errand, name, [expected] if expected else None)
    looked = node.look({digest: size for each in sets.values() for digest, size in each.sizes.items()})
    arch = arch_of_machine(looked.machine)
    if arch is None:
        raise SiteError(
            f"{errand.target.name} is a {looked.machine[:40]!r}: k3s is not made for it",
            hint="Look at the node: `uname -m` there tells its architecture.",
            code="E-STAGE-ARCH",
        )
    if arch not in sets:  # another one than was thought
        sets = _sets(errand, name, [arch])
        looked = node.look(sets[arch].sizes)
    return sets[arch], looked


def _sets(errand: Errand, name: BundleName, archs: Sequence[Arch] | None) -> dict[Arch, StageSet]:
    store = ContentStore(errand.settings.release_dir)
    with errand.database.read() as session:
        rows = read_rows(session, bundles.get(session, name))
    try:
        return {
            arch: compose(rows, store, arch, site=errand.target.name)
            for arch in archs or [Arch(each) for each in rows.bundle.archs] or list(Arch)
        }
    except OSError as exc:
        raise SiteError(
            f"the content of bundle {name} cannot be read: {exc}",
            hint="The appliance's disk may be failing. Import the bundle again.",
            code="E-ARTIFACT-SOURCE",
        ) from exc


def _send(
    errand: Errand, connection: Connection, wanted: StageSet, looked: Looked, traffic: SiteTraffic
) -> AttemptResult | None:
    """Send what is missing; None when all of it is there, or else why it stopped."""
    plan = plan_stage(wanted, whole=looked.whole, inside=looked.inside)
    progress = StagingProgress(errand.database, errand.site_id, wanted.bundle, wanted.total_bytes)
    try:
        sent = send_blobs(
            connection,
            plan.blobs,
            attempt=errand.attempt_id,
            throttle=traffic.throttle,
            on_progress=progress.note,
            is_canceled=errand.is_canceled,
            is_open=lambda: not errand.gives_way() and traffic.is_open(utc_now()),
            reserve=Reserve(made_bytes=sum(archive.size_bytes for archive in plan.archives)),
        )
    except SiteUnreachableError as exc:
        # A link that is cut again and again is no site that fails every attempt: who gets on is served at once.
        return replace(result_of(exc), advanced=progress.has_come)
    finally:  # a cut tells as much about the link as an end
        progress.write()
    if sent.stop is Stop.CANCELED:
        return CANCELED
    if sent.stop is Stop.WINDOW:
        return window_closed(traffic) if not traffic.is_open(utc_now()) else GAVE_WAY
    return None


def window_closed(traffic: SiteTraffic) -> AttemptResult:
    """It waits for the site's transfer window, at no cost."""
    opens_at = traffic.opens_at(utc_now())
    return AttemptResult(
        Outcome.LOST,
        code="E-STAGE-WINDOW",
        message=f"its transfer window is closed until {opens_at:%Y-%m-%d %H:%M} UTC",
        hint="It goes on by itself when the window opens; `edgemgr stage window` changes it.",
        retry=Retry.FREE,
        resume_at=opens_at,
    )
