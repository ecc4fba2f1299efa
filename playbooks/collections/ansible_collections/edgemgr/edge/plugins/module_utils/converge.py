"""Converge: one node, brought to one k3s version and configuration, and running it.

Every step is a rename, so that a process may be killed anywhere and another may run it again.
"""

from __future__ import annotations

import datetime as dt
import os
import time
from typing import Any, NamedTuple

from ansible_collections.edgemgr.edge.plugins.module_utils import k3s_config, layout, marker, service
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import BUDGETED, EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.kube_api import KubeApi, KubeApiError
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import remove
from ansible_collections.edgemgr.edge.plugins.module_utils.site_plan import SitePlan
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps
from ansible_collections.edgemgr.edge.plugins.module_utils.wanted import Wanted, WantedText

POLL_S = 1.0


class Difference(NamedTuple):
    """What separates the node from the plan. `verb` is `start`, `restart` or nothing."""

    todo: list[Wanted]
    stale: list[str]
    verb: str


def compare(plan: SitePlan) -> Difference:
    """Look at everything that the plan names, and hash what is large."""
    todo = [each for each in plan.things if not each.is_there()]
    return Difference(todo, plan.stale_archives(), _service_verb(plan, bool(todo)))


def foresee(plan: SitePlan, params: dict[str, Any], steps: Steps) -> None:
    """Note what would be changed, and change nothing."""
    found = compare(plan)
    steps.diffs += [each.diff() for each in found.todo]
    steps.changes += ["place " + each.path for each in [*found.todo, *_order_key(params)]]
    steps.changes += [found.verb + " k3s"] if found.verb else []
    steps.changes += ["remove " + path for path in found.stale]


def converge(plan: SitePlan, params: dict[str, Any], steps: Steps) -> None:
    """Make it so. The caller holds the fence.

    Raises:
        EdgeError: a file cannot be placed, k3s does not start, or another version answers.
    """
    with steps.step("place"):
        found = compare(plan)
        steps.diffs += [each.diff() for each in found.todo]
        if found.todo or found.verb:
            # Before the first change: whoever comes after a kill knows whose k3s this is and that it may need a
            # restart.
            _mark(plan, params, marker.INSTALLING, None)
        for thing in [*found.todo, *_order_key(params)]:
            thing.place()
            steps.changes.append("place " + thing.path)
        _enable(any(thing.path == layout.UNIT_FILE for thing in found.todo))
    if found.verb:
        with steps.step(found.verb):
            steps.changes.append(found.verb + " k3s")
            bring_up(found.verb, params["version"], params["start_timeout_s"])
    if found.todo or found.verb:
        _mark(plan, params, marker.INSTALLED, plan.digest)
    for path in found.stale:
        remove(path)
        steps.changes.append("remove " + path)


def bring_up(verb: str, version: str, timeout_s: float) -> None:
    """`start` or `restart` the k3s that is installed, and wait until its API answers with this version.

    Raises:
        EdgeError: it does not, within the time.
    """
    deadline = time.monotonic() + timeout_s
    service.start(verb, timeout_s)
    _await_version(version, deadline)


def _order_key(params: dict[str, Any]) -> list[WantedText]:
    """The appliance's key for work orders, where another one or none is there. k3s has nothing to do with it."""
    if not params["order_key"]:
        return []
    wanted = WantedText(layout.ORDER_KEYS, params["order_key"] + "\n", 0o600)
    return [] if wanted.is_there() else [wanted]


def _service_verb(plan: SitePlan, will_change: bool) -> str:
    installed = marker.read()
    applied = installed.get("applied") if installed else None
    if service.state()["ActiveState"] not in ("active", "activating", "reloading"):
        return "start"
    return "restart" if will_change or applied != plan.digest else ""


def _enable(unit_changed: bool) -> None:
    if unit_changed or service.state()["NeedDaemonReload"] == "yes":
        service.systemctl("daemon-reload")
    if service.state()["UnitFileState"] != "enabled":
        service.systemctl("enable", layout.UNIT)


def _await_version(version: str, deadline: float) -> None:
    """Wait until the API answers with this version: the file on disk says nothing about what runs."""
    while True:
        try:
            answer = KubeApi().read("/version")["gitVersion"]
        except KubeApiError as exc:
            answer = str(exc)
        if answer == version:
            return
        if time.monotonic() >= deadline:
            raise EdgeError(
                "E-K3S-VERSION",
                f"k3s is up, but {version} does not answer in time ({answer})",
                "Read `journalctl -u k3s` on the node; the next attempt waits again.",
                BUDGETED,
                edge_log=service.log_tail(),
            )
        time.sleep(POLL_S)


def _mark(plan: SitePlan, params: dict[str, Any], state: str, applied: str | None) -> None:
    before = marker.read() or {}
    found = before.get("found")
    if found is None:
        found = sorted(os.listdir(layout.CONFIG_DIR)) if os.path.isdir(layout.CONFIG_DIR) else []
    marker.write(
        state,
        params["version"],
        applied=applied,
        attempt=params["attempt"],
        disabled_components=sorted(k3s_config.disabled_components(plan.config)),
        changed_at=dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        found=found,
        secrets_encryption=plan.config["secrets-encryption"],
        site=params["site"],
    )
