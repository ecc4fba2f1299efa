"""Sites that are to be upgraded: bundles with good and bad versions, a workload, and what a node says of itself."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acceptance_stories import VERSION, import_sites
from bundle_stories import Vendor
from tests_support.appliance import Appliance, until

from edgemgr.lab.lab import Lab
from edgemgr.lab.release_files import write_standin_release

IMAGE = "docker.io/rancher/mirrored-library-busybox:1.36.1"
UPGRADES = "/var/lib/edgemgr/upgrade"
#: A till that runs, and something that only the datastore knows.
WORKLOAD = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "prices", "namespace": "shop"},
            "data": {"apple": "1"},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "till", "namespace": "shop"},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": "till"}},
                "template": {
                    "metadata": {"labels": {"app": "till"}},
                    "spec": {"containers": [{"name": "till", "image": IMAGE}]},
                },
            },
        },
    ],
}
#: Run on a node: which rows of the snapshot's datastore the running one has otherwise, and how many there were.
COMPARE = """\
import glob, json, os, shutil, sqlite3, sys, tempfile
snapshot = max(glob.glob("/var/lib/edgemgr/upgrade/snapshot/*"), key=os.path.getmtime)
rows = []
for place in (snapshot + "/db", "/var/lib/rancher/k3s/server/db"):
    with tempfile.TemporaryDirectory() as directory:
        for path in glob.glob(place + "/state.db*"):
            shutil.copy(path, directory)
        database = sqlite3.connect(directory + "/state.db")
        rows.append({row[0]: repr(row) for row in database.execute("SELECT * FROM kine")})
        database.close()
before, now = rows
json.dump({"rows": len(before), "other": [n for n in before if now.get(n) != before[n]]}, sys.stdout)
"""


class Company:
    """An appliance with bootstrapped sites, each with a workload, and a vendor of bundles."""

    def __init__(self, appliance: Appliance, lab: Lab, directory: Path) -> None:
        self.appliance, self.lab = appliance, lab
        self.vendor = Vendor(appliance, directory, images_mib=2)

    def begin(self, *sites: str) -> None:
        """Import and bootstrap all sites of the lab, and give them work."""
        import_sites(self.appliance, self.lab)
        self._serving = self.appliance.serve()
        self.appliance.run("bootstrap", "--all", "--version", VERSION, "--wait", "--timeout", "6m", timeout_s=400)
        for site in sites:
            self.node(site, "k3s", "kubectl", "apply", "-f", "-", text=json.dumps(WORKLOAD))
        for site in sites:
            until(f"the till of {site} runs", lambda site=site: self.till(site)["phase"] == "Running", 60)  # type: ignore[misc]

    def restart(self) -> None:
        """Kill the appliance, and start it again."""
        self.appliance.kill(self._serving)
        self._serving = self.appliance.serve()

    def bring(self, number: int, versions: Mapping[str, Mapping[str, float]]) -> str:
        """Make and import a bundle of these versions, each with its faults; returns its name."""
        parts = []
        for version, faults in versions.items():
            release = self.vendor.directory / f"release-{version}"
            write_standin_release(release, version, faults=faults, images_mib=2)
            parts.append({"version": version, "release": release.name, "archs": ["amd64"]})
        return self.vendor.bring(number, k3s=parts)

    def stage(self, bundle: str, *sites: str) -> None:
        self.appliance.run("stage", bundle, *sites, "--wait", "--timeout", "5m", timeout_s=400)

    def upgrade(self, bundle: str, site: str, *more: str, status: int = 0) -> str:
        """Upgrade and wait; returns what was said. Times are those of a stand-in, which is well within seconds."""
        words = ("upgrade", bundle, site, "--soak", "4s", "--settle", "25s", *more)
        done = self.appliance.attempt(*words, "--wait", "--timeout", "8m", timeout_s=600)
        assert done.returncode == status, f"{done.stdout}\n{done.stderr}\n{self.told(site)}\n{self.appliance.tail()}"
        return done.stderr

    def node(self, site: str, *words: str, text: str | None = None) -> str:
        """Run a command on a node, past its link; returns what it printed."""
        done = self.lab.run(site, words, input_text=text)
        assert done.returncode == 0, f"{site}: {shlex.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def till(self, site: str) -> dict[str, Any]:
        """The one pod of the workload: its uid, its container, and how often that was started again."""
        pods = json.loads(self.node(site, "k3s", "kubectl", "get", "pods", "-n", "shop", "-o", "json"))["items"]
        if not pods or not pods[0].get("status", {}).get("containerStatuses"):
            return {"phase": "none"}
        (pod,) = pods
        (status,) = pod["status"]["containerStatuses"]
        return {
            "uid": pod["metadata"]["uid"],
            "phase": pod["status"]["phase"],
            "container": status.get("containerID"),
            "restarts": status["restartCount"],
        }

    def runs(self, site: str) -> str:
        """The version that answers on the node itself."""
        found = json.loads(self.node(site, "k3s", "kubectl", "version", "-o", "json"))
        return str(found["serverVersion"]["gitVersion"])

    def journal(self, site: str) -> list[dict[str, Any]]:
        """What the node's program has written."""
        done = self.lab.run(site, ["cat", f"{UPGRADES}/journal.jsonl"])
        return [json.loads(line) for line in done.stdout.splitlines() if line.endswith("}")]

    def verdict(self, site: str) -> dict[str, Any] | None:
        done = self.lab.run(site, ["cat", f"{UPGRADES}/verdict.json"])
        return json.loads(done.stdout) if done.stdout else None

    def told(self, site: str) -> str:
        """The journal, for who reads a failure."""
        return "\n".join(
            str({k: v for k, v in each.items() if k not in ("boot", "plan")}) for each in self.journal(site)
        )

    def datastore(self, site: str) -> dict[str, Any]:
        """The running datastore against the snapshot of the last hop."""
        found: dict[str, Any] = json.loads(self.node(site, "python3", "-", text=COMPARE))
        return found
