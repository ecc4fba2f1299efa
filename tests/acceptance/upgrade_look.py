"""What a node says of itself after an upgrade, in one look: everything that has to agree in the end."""

from __future__ import annotations

import json
from typing import Any

from upgrade_stories import UPGRADES, Company

#: Run on the node.
_LOOK = """\
import fcntl, glob, json, os, shutil, sqlite3, subprocess, sys, tempfile

upgrades = sys.argv[1]


def k3s(*words):
    done = subprocess.run(["k3s", "kubectl", *words, "-o", "json"], capture_output=True, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else {}


def rows(place):
    with tempfile.TemporaryDirectory() as directory:
        for path in glob.glob(place + "/state.db*"):
            shutil.copy(path, directory)
        database = sqlite3.connect(directory + "/state.db")
        try:
            return list(database.execute("SELECT id, name, value, * FROM kine ORDER BY id"))
        finally:
            database.close()


def writers(of):
    return [json.loads(row[2])["version"] for row in of if row[1] == "/standin/written-by"]


def others_at_work():
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            words = open(path, "rb").read().split(b"\\0")
        except OSError:
            continue
        if b"/usr/local/lib/edgemgr/activation.pyz" in words:
            found.append(b" ".join(words).decode())
    return found


def is_free(path):
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


now = rows("/var/lib/rancher/k3s/server/db")
snapshot = upgrades + "/snapshot/" + sys.argv[2]
before = rows(snapshot + "/db") if os.path.isdir(snapshot) else []
kept = {row[0]: row for row in now}
oldest = now[-1][0] - 1000  # what is older may be compacted
node = k3s("get", "nodes").get("items", [{}])[0]
conditions = {each["type"]: each["status"] for each in node.get("status", {}).get("conditions", [])}
json.dump(
    {
        "api": k3s("version").get("serverVersion", {}).get("gitVersion"),
        "binary": os.path.realpath("/usr/local/bin/k3s"),
        "config": open("/etc/rancher/k3s/config.yaml").read(),
        "other_rows": [row[:2] for row in before if kept.get(row[0], row if row[0] <= oldest else None) != row],
        "snapshot_rows": len(before),
        "writers": writers(now),
        "ready": conditions.get("Ready"),
        "kubelet": node.get("status", {}).get("nodeInfo", {}).get("kubeletVersion"),
        "label": node.get("metadata", {}).get("labels", {}).get("goal"),
        "at_work": others_at_work(),
        "lock_is_free": os.path.isdir(upgrades) and is_free(upgrades + "/lock"),
        "left": [path for path in (upgrades + "/hold", upgrades + "/reserve", "/var/lib/rancher/k3s/edgemgr-reserve")
                 if os.path.exists(path)],
        "cordoned": node.get("spec", {}).get("unschedulable", False),
    },
    sys.stdout,
)
"""


def look(company: Company, site: str, snapshot: str) -> dict[str, Any]:
    """Versions, rows of the datastore that differ from those of the snapshot of that name, and what was left behind."""
    found: dict[str, Any] = json.loads(company.node(site, "python3", "-", UPGRADES, snapshot, text=_LOOK))
    return found
