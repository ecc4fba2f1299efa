"""The course of a restore: lay out, stop, exchange, start, verify; and back where it does not come up.

While k3s stands still it is disabled as well, so that a reboot in the middle starts nothing that is half the one and
half the other state; the next attempt goes on.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import subprocess
from typing import Any, NoReturn

from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_context,
    activation_node,
    backup_etcd,
    backup_take,
    layout,
    marker,
    restore_files,
    restore_places,
    service,
    token_journal,
    token_record,
    verify,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import NEVER, EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.restore_source import Source
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import remove, sha256_of
from ansible_collections.edgemgr.edge.plugins.module_utils.site_plan import SitePlan
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps
from ansible_collections.edgemgr.edge.plugins.module_utils.wanted import Wanted

_CA = "server/tls/server-ca.crt"
#: What decides which k3s starts: changed only while none runs.
_SWITCH = (layout.K3S, layout.UNIT_FILE)


def restore(source: Source, plan: SitePlan | None, params: dict[str, Any], steps: Steps) -> dict[str, Any]:
    """Put the backup in and see it run; returns the result of the verification. The caller holds the fence.

    Raises:
        EdgeError: see the parts; E-RESTORE-BACK when it did not come up and what was there before runs again,
            E-RESTORE-FAILED when nothing ran before, E-RESTORE-HANDS when that does not come up either.
    """
    number = _number(params)
    record = restore_places.read()
    if record is not None and (record["number"], record["state"]) == (number, restore_places.DONE):
        found = _start_and_verify(source, params, steps)  # its answer was lost
    else:
        record = _prepare(source, plan, params, record, steps)
        try:
            _put_in(source, plan, params, record, steps)
            found = _start_and_verify(source, params, steps)
        except Exception as exc:  # noqa: BLE001 - whatever it was, what ran before has to run again
            with steps.step("back"):
                _go_back(source, record, params, exc)
        _mark(source, params, marker.INSTALLED)
        token_journal.forget()  # a rotation that was cut off is over: another token and its datastore are in
        restore_places.write(record, restore_places.DONE)
        for path in plan.stale_archives() if plan is not None else []:
            remove(path)
    source.forget()
    return {**found, "edge_kept": restore_places.kept(record)}


def _prepare(
    source: Source,
    plan: SitePlan | None,
    params: dict[str, Any],
    record: dict[str, Any] | None,
    steps: Steps,
) -> dict[str, Any]:
    """Everything that can be done while k3s runs; returns the record of what is there before."""
    with steps.step("check"):
        source.check()
    if record is not None and record["state"] == restore_places.BEGUN and record["number"] != _number(params):
        with steps.step("back"):  # another restore was cut off: what was there before that one is to be kept
            _stop(steps)
            restore_places.put_back(record)
            record = restore_places.write(record, restore_places.BACK)
            if record["was_enabled"]:
                with contextlib.suppress(EdgeError):  # it may be why somebody restores
                    _start(params, steps)
    with steps.step("place"):
        if marker.read() is None:  # whoever comes after a kill knows whose files these are
            _mark(source, params, marker.INSTALLING)
        for thing in _things(plan):
            if thing.path not in _SWITCH:
                thing.place()
                steps.changes.append("place " + thing.path)
        restore_files.lay_out(source)
    if record is None or record["state"] != restore_places.BEGUN:
        is_enabled = service.state()["UnitFileState"] == "enabled"
        record = restore_places.begin(_number(params), source.digest, restore_files.names(source), is_enabled)
    return record


def _put_in(
    source: Source, plan: SitePlan | None, params: dict[str, Any], record: dict[str, Any], steps: Steps
) -> None:
    with steps.step("stop"):
        _stop(steps)
    with steps.step("exchange"):
        _mark(source, params, marker.INSTALLING)
        restore_places.put_in(record)
        if source.manifest.get("token") is not None:  # it has brought its own, which this node may never have seen
            token_record.note(int(source.manifest["token"]))
        steps.changes.append("put in the backup of attempt {0}".format(source.manifest["attempt"]))
        for thing in _things(plan):
            thing.place()
            steps.changes.append("place " + thing.path)
    if source.datastore == backup_take.ETCD:
        with steps.step("etcd"):
            backup_etcd.reset(source.store, params["start_timeout_s"])


def _number(params: dict[str, Any]) -> int:
    """The same for all attempts of an operation."""
    return int(params["number"] or params["attempt"])


def _things(plan: SitePlan | None) -> list[Wanted]:
    """What of k3s itself is not as it should be; the configuration is the backup's."""
    things = plan.things if plan is not None else []
    return [thing for thing in things if thing.path != layout.CONFIG and not thing.is_there()]


def _start_and_verify(source: Source, params: dict[str, Any], steps: Steps) -> dict[str, Any]:
    with steps.step("start"):
        _start(params, steps)
    with steps.step("verify"):
        found = verify.await_health(params["site"], params["version"], params["verify_timeout_s"], lambda: None)
        _same_cluster(source, str(found["edge_observation"]["cluster_id"]))
    return found


def _stop(steps: Steps) -> None:
    if service.state()["LoadState"] != "not-found":
        service.systemctl("disable", layout.UNIT)
        services = activation_node.Services()
        if services.is_running():
            services.stop()
            steps.changes.append("stop k3s")
    # What ran below one datastore must not live on below another.
    activation_node.Services().kill_containers()


def _start(params: dict[str, Any], steps: Steps) -> None:
    activation_context.release()  # an upgrade that needed hands has left k3s held
    service.systemctl("daemon-reload")
    service.systemctl("enable", layout.UNIT)
    if service.state()["ActiveState"] != "active":
        steps.changes.append("start k3s")
        service.start("start", params["start_timeout_s"])


def _same_cluster(source: Source, cluster_id: str) -> None:
    """What runs now has to be the cluster that was saved."""
    authority = sha256_of(layout.DATA_DIR + "/" + _CA)
    if authority != source.sha256_of(_CA) or not source.identifies(cluster_id):
        raise EdgeError(
            "E-RESTORE-IDENTITY",
            "what came up is another cluster than the one that was saved",
            "Choose another backup of this site; report this with the attempt's log.",
            NEVER,
        )


def _go_back(source: Source, record: dict[str, Any], params: dict[str, Any], cause: Exception) -> NoReturn:
    """Undo the exchange, and tell of it."""
    failure = cause if isinstance(cause, EdgeError) else EdgeError("E-NODE-IO", str(cause), "")
    if failure.retry == NEVER:
        source.forget()
    _stop(Steps())
    restore_places.put_back(record)
    restore_places.write(record, restore_places.BACK)
    if not record["was_enabled"]:
        raise EdgeError(
            "E-RESTORE-FAILED",
            f"the backup did not come up, and was taken out again: {failure.message}",
            "k3s does not run on this node, as before. The attempt's log has what k3s said; choose another backup.",
            failure.retry,
            **failure.details,
        ) from cause
    try:
        _start(params, Steps())
    except (EdgeError, subprocess.TimeoutExpired) as exc:
        raise EdgeError(
            "E-RESTORE-HANDS",
            f"the backup did not come up ({failure.message}), and what was there before does not either ({exc})",
            "Look at `journalctl -u k3s` on the node. Its files are those from before the restore.",
            NEVER,
            **failure.details,
        ) from exc
    raise EdgeError(
        "E-RESTORE-BACK",
        f"the backup did not come up, and what was there before runs again: {failure.message}",
        "The attempt's log has what k3s said; choose another backup.",
        failure.retry,
        **failure.details,
    ) from cause


def _mark(source: Source, params: dict[str, Any], state: str) -> None:
    """Tell whose k3s this is, with what the saved node knew of its own."""
    saved = json.loads(restore_files.read_member(source, restore_files.MARKER).decode() or "{}")
    told = {"disabled_components": [], "found": [], "secrets_encryption": True, "applied": None, **saved}
    told.update(
        attempt=params["attempt"],
        changed_at=dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        site=params["site"],
    )
    for key in ("state", "version"):
        told.pop(key, None)
    if state == marker.INSTALLING:
        told["applied"] = None
    marker.write(state, params["version"], **told)
