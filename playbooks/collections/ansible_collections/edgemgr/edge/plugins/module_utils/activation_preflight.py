"""What an activation itself needs, looked at before anything is written. Further rules are added to `HOOKS`."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_paths,
    activation_snapshot,
    artifacts,
    certificate_renewal,
    checks_k3s,
    checks_room,
    checks_upgrade,
    clock,
    layout,
    marker,
    node_certificates,
    node_facts,
    node_network,
    preflight,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.activation_plan import Plan
from ansible_collections.edgemgr.edge.plugins.module_utils.check import Check, blocked, passed
from ansible_collections.edgemgr.edge.plugins.module_utils.k3s_version import parse
from ansible_collections.edgemgr.edge.plugins.module_utils.kube_api import KubeApi, KubeApiError
from ansible_collections.edgemgr.edge.plugins.module_utils.safe_files import read_or_none


def checks(params: dict[str, Any], plan: Plan, began_at: float) -> list[Check]:
    """All checks of an upgrade, by the module's arguments; `began_at` is the node's time when it was asked."""
    found = [*preflight.check_node(params["min_memory_mib"]), preflight.check_token()]
    found += [each for hook in HOOKS for each in hook(plan)]
    found += check_config(plan, [each["config"] for each in params["hops"]])
    found += check_room(plan, params["min_free_mib"])
    if not params["is_prepared"] and not is_clock_open(params, began_at):
        off_s = clock.skew_s(began_at, params["asked_at"], began_at)
        found.append(clock.check_clock(off_s, params["clock_skew_s"]))
    return found


def is_clock_open(params: dict[str, Any], began_at: float) -> bool:
    """Whether only the controller can tell if the clock is right, and has not been asked yet."""
    is_open = clock.needs_answer(began_at, params["asked_at"], params["clock_skew_s"])
    return is_open and not params["is_prepared"]


def check_activation(plan: Plan) -> list[Check]:
    """The node has what the plan begins with, and what the program works with."""
    return [check_start(plan), check_files(plan), check_programs(), check_places(), check_authority()]


def check_start(plan: Plan) -> Check:
    """The plan begins with the version that is installed."""
    installed, begins = marker.read(), plan.hops[0].from_version
    if installed is None:
        hint = "Bootstrap the site."
        return blocked("foreign", "E-PRE-FOREIGN", "there is no k3s on the node that edgemgr installed", hint)
    if (installed["state"], installed["version"]) == (marker.INSTALLED, begins):
        return passed("version", begins)
    return blocked(
        "version",
        "E-PRE-VERSION",
        "the node has {0} ({1}), the plan begins at {2}".format(installed["version"], installed["state"], begins),
        "Verify the site, so that its facts are fresh, and plan the upgrade anew.",
    )


def check_files(plan: Plan) -> Check:
    """Everything was staged. The contents are hashed when the plan is carried out."""
    missing = sorted(
        "{0} of {1}".format(each["name"], hop.to_version)
        for hop in plan.hops
        for each in hop.artifacts
        if artifacts.missing([each])
    )
    if missing:
        message = "not on the node yet: {0}".format(", ".join(missing))
        return blocked("staged", "E-PRE-STAGED", message, "Stage the bundle for this site first.")
    return passed("staged", "everything is on the node")


def check_programs() -> Check:
    """systemd can start the program, and the node's Python can look into a datastore."""
    try:
        import sqlite3  # noqa: F401
    except ImportError:
        hint = "Install the complete python3 package."
        return blocked("python", "E-PRE-PYTHON", "the node's Python has no sqlite3 module", hint)
    if shutil.which("systemd-run") is None:
        return blocked(
            "systemd", "E-PRE-SYSTEMD", "the node has no systemd-run", "Install the complete systemd package."
        )
    return passed("programs", "Python with SQLite, systemd-run")


def check_places() -> Check:
    """A way back exchanges directories by renaming them."""
    places = activation_snapshot.unmovable()
    if places:
        message = "{0} is a mount or a link, which a way back could not exchange".format(" and ".join(places))
        hint = "Mount the whole of /var/lib/rancher/k3s instead."
        return blocked("places", "E-PRE-DISK", message, hint)
    return passed("places", "can be exchanged")


def check_authority() -> Check:
    """A CA that has ended: no start of any version renews it, and what it signs counts for nothing."""
    ends = node_certificates.first_end(node_certificates.read().authorities)
    if ends is None:
        return passed("certificates", "no CA of k3s could be read")
    day = certificate_renewal.day(ends)
    if ends <= time.time():
        hint = "Replace it first: `k3s certificate rotate-ca` on the node."
        return blocked("certificates", "E-UPGRADE-CA", f"the cluster's CA ended on {day}; k3s does not renew it", hint)
    return passed("certificates", f"the first CA ends on {day}")


def check_cluster(plan: Plan) -> list[Check]:
    """What the API can be asked in advance. One that does not answer stops the program before it stops k3s."""
    before, after = parse(plan.hops[0].from_version), parse(plan.hops[-1].to_version)
    registered, uses = [], None
    with contextlib.suppress(KubeApiError):
        api = KubeApi()
        registered = checks_upgrade.registered_addresses(api.read_or_none("/api/v1/nodes/" + plan.site) or {})
        if before is not None and after is not None:
            uses = checks_upgrade.removed_uses(api.text("/metrics"), before, after)
    text = plan.hops[-1].config or (read_or_none(layout.CONFIG) or b"").decode("utf-8", "replace")
    configured = checks_upgrade.addresses_of(text)
    own = {each for each in configured + registered if node_network.has_address(each)}
    is_etcd = os.path.isdir(layout.DATA_DIR + "/server/db/etcd")
    return [checks_upgrade.check_address(configured, registered, own, is_etcd), checks_upgrade.check_apis(uses)]


def check_config(plan: Plan, configs: list[dict[str, Any] | None]) -> list[Check]:
    """The configurations that the hops bring, against what cannot be changed any more."""
    installed = marker.read()
    return [checks_k3s.check_config(plan.site, each, installed) for each in configs if each is not None]


def check_room(plan: Plan, min_free_mib: int) -> list[Check]:
    """The files of all hops unpacked, a copy of the state before each, and one more while it is put back."""
    paths = (layout.CACHE_DIR, layout.PROGRAM_DIR, layout.RANCHER_DIR)
    file_systems = {path: node_facts.file_system(path) for path in paths}
    devices = {path: facts["device"] for path, facts in file_systems.items()}
    files = [each for hop in plan.hops for each in hop.artifacts]
    need = checks_room.needed_bytes(files, set(), installed=False, devices=devices)
    state_bytes = sum(_size(path) for path in activation_paths.parts().values())
    need[devices[layout.CACHE_DIR]] += state_bytes * len(plan.hops)
    need[devices[layout.RANCHER_DIR]] += state_bytes
    return checks_room.check_room(file_systems, need, False, min_free_mib)


def _size(place: str) -> int:
    if not os.path.isdir(place):
        return os.path.getsize(place) if os.path.exists(place) else 0
    return sum(os.lstat(directory + "/" + name).st_size for directory, _, names in os.walk(place) for name in names)


#: Every rule that is asked before a plan is written: plan in, checks out.
HOOKS: list[Callable[[Plan], list[Check]]] = [check_activation, check_cluster]
