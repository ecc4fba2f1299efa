"""docs/backups.md, followed command by command, with a site under write load, and its node lost in the end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from acceptance_stories import VERSION, import_sites
from tests_support import kine_writer
from tests_support.appliance import PROGRAM, Appliance, until
from tests_support.page_steps import Step, matches, page_steps

from edgemgr.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]

PAGE = Path(__file__).parent.parent.parent / "docs/backups.md"
SITE = "site-1"
STATE_DB = "/var/lib/rancher/k3s/server/db/state.db"
BACKUPS = "/var/lib/edgemgr/backups"
LOST = "## When the node is lost"
SHOP: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
    *(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"prices-{number}", "namespace": "shop"},
            "data": {"bread": str(number)},
        }
        for number in range(20)
    ),
]
#: What the writer counted of its changes, and what is there of them.
TALLY = """
import glob, sqlite3
(path,) = glob.glob("/var/lib/edgemgr/backups/*/state.db")
database = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
told = database.execute("SELECT changes FROM tally").fetchone()[0]
found = database.execute("SELECT count(*) FROM kine WHERE name LIKE '/load/%'").fetchone()[0]
print(told, found)
"""


class Reader:
    """Somebody who follows the page; the page's site is the lab's."""

    def __init__(self, appliance: Appliance, lab: Lab) -> None:
        self.appliance, self.lab = appliance, lab
        self.place = appliance.directory / "reader"
        self.place.mkdir()

    def follow(self, step: Step) -> str:
        site = self.lab.site(SITE)
        command = step.command.replace("store-0042", SITE).replace("SHA256:…", site.host_key_fingerprint)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.place,
            env={**self.appliance.environment, "PATH": f"{PROGRAM.parent}:/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{self.appliance.tail()}"
        output = done.stdout.replace(SITE, "store-0042")
        shown = "\n".join(step.shown)
        assert not step.shown or matches(step.shown, output), f"$ {step.command}\n{output}\nthe page shows\n{shown}"
        return output

    def read(self, heading: str) -> None:
        steps = [step for step in page_steps(PAGE) if step.heading == heading]
        assert steps, heading
        for step in steps:
            self.follow(step)


@pytest.fixture(scope="module")
def reader(lab: Lab, appliance: Appliance) -> Iterator[Reader]:
    """One site with k3s, a workload and objects of its own."""
    lab.up(1, light=True)
    import_sites(appliance, lab)
    appliance.serve()
    appliance.run("bootstrap", SITE, "--version", VERSION, "--wait", "--timeout", "5m", timeout_s=400)
    for item in SHOP:
        on_site(lab, "k3s", "kubectl", "apply", "-f", "-", text=json.dumps(item))
    return Reader(appliance, lab)


def kubectl(appliance: Appliance, *words: str) -> str:
    return appliance.run("kubectl", SITE, "--", *words, timeout_s=60)


def on_site(lab: Lab, *words: str, text: str | None = None) -> str:
    done = lab.run(SITE, list(words), input_text=text)
    assert done.returncode == 0, done.stderr
    return done.stdout


def identity(appliance: Appliance, lab: Lab) -> dict[str, Any]:
    """What makes a cluster the same one."""
    namespace = json.loads(kubectl(appliance, "get", "namespace", "kube-system", "-o", "json"))
    files = "/var/lib/rancher/k3s/server/tls/server-ca.crt /var/lib/rancher/k3s/server/token /etc/rancher/node/password"
    return {
        "uid": namespace["metadata"]["uid"],
        "files": on_site(lab, "sh", "-c", f"sha256sum {files}"),
    }


def objects(appliance: Appliance) -> dict[str, Any]:
    found = json.loads(kubectl(appliance, "get", "configmaps", "-n", "shop", "-o", "json"))["items"]
    return {item["metadata"]["name"]: (item["metadata"]["uid"], item["data"]) for item in found}


def test_the_page_is_followed_by_a_site_under_write_load_that_loses_its_node(
    reader: Reader, lab: Lab, appliance: Appliance
) -> None:
    was, had = identity(appliance, lab), objects(appliance)
    assert len(had) == 20
    on_site(lab, "sh", "-c", "cat >/root/kine_writer.py", text=Path(kine_writer.__file__).read_text())
    begin = f"setsid python3 /root/kine_writer.py {STATE_DB} /load >/dev/null 2>&1 & echo $!"
    writer = on_site(lab, "sh", "-c", begin).strip()
    try:
        reader.read("## Take one")
    finally:
        on_site(lab, "kill", writer)
    told, found = on_site(lab, "python3", "-c", TALLY).split()
    assert told == found, "the copy is of one moment"
    assert int(told) > 50
    reader.read("## By themselves")
    reader.read("## Of sites that were removed")
    reader.read("## See that it could be restored")

    on_site(lab, "k3s", "kubectl", "delete", "namespace", "shop")
    reader.read("## Bring it back to the same node")
    assert (identity(appliance, lab), objects(appliance)) == (was, had)
    assert on_site(lab, "sh", "-c", "ls -d /var/lib/rancher/k3s/server/.db.edgemgr-before-restore")

    lab.down(SITE)
    lab.up(1, light=True)  # the same address, another host key, nothing on it
    (reader.place / "password").write_text(lab.site(SITE).password + "\n")
    reader.read(LOST)
    assert (identity(appliance, lab), objects(appliance)) == (was, had)
    site = appliance.site(SITE)
    assert (site["health"], site["k3s_version"], site["update"]) == ("healthy", VERSION, "up_to_date")
    assert on_site(lab, "sh", "-c", "ls /var/lib/edgemgr/backups 2>/dev/null; true").split() == []
    log = appliance.log.read_bytes()
    token = on_site(lab, "cat", "/var/lib/rancher/k3s/server/token").strip()
    assert token.encode() not in log
    for path in (appliance.directory / "state/logs").rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes(), path


def test_a_link_that_dies_while_a_backup_is_pulled_costs_no_second_one(
    reader: Reader, lab: Lab, appliance: Appliance
) -> None:
    appliance.run("stage", "limit", f"site:{SITE}", "8K")
    appliance.run("backup", "run", SITE)

    def pull(state: str) -> bool:
        found = appliance.items("operation", "list", SITE, "--kind", "pull", "--limit", "1")
        return bool(found) and found[0]["state"] == state

    until("the pull has begun", lambda: pull("running"), 60)
    lab.cut(SITE)
    before = appliance.items("backup", "list", SITE)
    lab.restore(SITE)
    appliance.run("stage", "limit", f"site:{SITE}", "none")
    until("the pull has ended", lambda: pull("succeeded"), 120)
    held = appliance.items("backup", "list", SITE)
    assert len(held) == len(before) + 1
    assert on_site(lab, "ls", BACKUPS).split() == [str(held[0]["attempt"])]


def test_a_node_that_loses_its_power_in_the_middle_of_a_restore_is_restored_all_the_same(
    reader: Reader, lab: Lab, appliance: Appliance
) -> None:
    was, had = identity(appliance, lab), objects(appliance)
    on_site(lab, "k3s", "kubectl", "delete", "namespace", "shop")
    appliance.run("backup", "restore", SITE, "--yes")
    record = "cat /var/lib/edgemgr/restore.json 2>/dev/null || echo '{}'"
    number = json.loads(on_site(lab, "sh", "-c", record)).get("number")

    def has_begun() -> bool:
        found = json.loads(on_site(lab, "sh", "-c", record))
        return found.get("state") == "begun" and found["number"] != number

    until("k3s stands still for the exchange", has_begun, 60, pause_s=0.05)
    lab.power_cut(SITE)
    lab.restore(SITE)
    until("the restore has ended", lambda: appliance.operation(SITE)["state"] == "succeeded", 180)
    assert (identity(appliance, lab), objects(appliance)) == (was, had)
    attempts = appliance.operation(SITE)["attempts"]
    assert attempts > 1, "the first attempt was cut off"
