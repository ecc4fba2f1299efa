"""Where an activation keeps its things on the node. Named from `layout`, so that a test can move all of them."""

from __future__ import annotations

import os

from ansible_collections.edgemgr.edge.plugins.module_utils import layout

BOOT_UNIT = "edgemgr-upgrade.service"


def directory() -> str:
    """Everything about the activation at hand, or the last one."""
    return layout.STATE_DIR + "/upgrade"


def plan() -> str:
    """What is to be done. Without it there is nothing to do."""
    return directory() + "/plan.json"


def journal() -> str:
    """What was done: one line for each event."""
    return directory() + "/journal.jsonl"


def verdict() -> str:
    """How it ended; written once."""
    return directory() + "/verdict.json"


def lock() -> str:
    """Held by the one process that carries out the plan."""
    return directory() + "/lock"


def hold() -> str:
    """While this file exists, k3s does not start, whoever asks for it."""
    return directory() + "/hold"


def lifted_hold() -> str:
    """The same file while k3s may start: renamed, as there may be no room to write it again on a full disk."""
    return directory() + "/hold.lifted"


def journal_reserve() -> str:
    """Room for the journal on a disk that has become full."""
    return directory() + "/reserve"


def restore_reserve() -> str:
    """Room for going back on a disk that has become full; on k3s' file system."""
    return layout.DATA_DIR + "/edgemgr-reserve"


def workloads(number: int, hop: int) -> str:
    """What was ready before a hop."""
    return "{0}/workloads-{1}-{2}.json".format(directory(), number, hop)


def snapshots() -> str:
    """The directory of all snapshots."""
    return directory() + "/snapshot"


def snapshot(number: int, hop: int) -> str:
    """The state before a hop."""
    return "{0}/{1}-{2}".format(snapshots(), number, hop)


def program() -> str:
    """The activation program, one file."""
    return layout.PROGRAM_DIR + "/activation.pyz"


def boot_unit_file() -> str:
    """The service that finishes at the next boot what a reboot has cut off."""
    return os.path.dirname(layout.UNIT_FILE) + "/" + BOOT_UNIT


def guard_file() -> str:
    """The addition to k3s' service that heeds `hold`."""
    return layout.UNIT_FILE + ".d/edgemgr-upgrade.conf"


def parts() -> dict[str, str]:
    """What belongs to the state of a cluster: name in a snapshot → place on the node.

    Datastore and token belong together (the token opens what k3s keeps in it), TLS files newer than the datastore
    stop a start (k3s issue 4910), and a version writes the manifests that it brings along when it starts.
    """
    server = layout.DATA_DIR + "/server"
    return {
        "db": server + "/db",
        "token": server + "/token",
        "tls": server + "/tls",
        "cred": server + "/cred",
        "manifests": server + "/manifests",
        "config": layout.CONFIG_DIR,
        "node": os.path.dirname(layout.CONFIG_DIR) + "/node",
    }
