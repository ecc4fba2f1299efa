"""A simulated site is given a new token under write load, without a word of it; cut in the middle, it ends well."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from acceptance_stories import VERSION, import_sites
from tests_support import kine_writer
from tests_support.appliance import Appliance, until

from edgemgr.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]
SITE = "site-1"
SERVER = "/var/lib/rancher/k3s/server"
STATE_DB = f"{SERVER}/db/state.db"
RECORD = "/var/lib/edgemgr/token/rotation.json"
FAULTS = "/etc/rancher/k3s/standin.yaml"
ROAD = ["backup", "pull", "rotate-token", "backup", "pull"]
SHOP = json.dumps(
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "till", "namespace": "default"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "till"}},
            "template": {
                "metadata": {"labels": {"app": "till"}},
                "spec": {"containers": [{"name": "till", "image": "rancher/mirrored-library-busybox:1.36.1"}]},
            },
        },
    }
)
#: In how many places k3s has sealed its data; what the writer counted of its changes, and what is there of them.
LOOK = """
import sqlite3
database = sqlite3.connect("file:/var/lib/rancher/k3s/server/db/state.db?mode=ro", uri=True, timeout=30)
rows = database.execute("SELECT name, deleted, max(id) FROM kine WHERE name LIKE '/bootstrap/%' GROUP BY name")
print(sum(not deleted for _, deleted, _ in rows.fetchall()))
if database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'tally'").fetchone()[0]:
    print(database.execute("SELECT changes FROM tally").fetchone()[0])
    print(database.execute("SELECT count(*) FROM kine WHERE name LIKE '/load/%'").fetchone()[0])
"""


@pytest.fixture(scope="module")
def cluster(lab: Lab, appliance: Appliance) -> Appliance:
    """A site with k3s and a workload."""
    lab.up(1, light=True)
    import_sites(appliance, lab)
    appliance.serve()
    appliance.run("bootstrap", SITE, "--version", VERSION, "--wait", "--timeout", "5m", timeout_s=400)
    done = lab.run(SITE, ["k3s", "kubectl", "apply", "-f", "-"], input_text=SHOP)
    assert done.returncode == 0, done.stderr
    return appliance


@pytest.fixture
def shell(lab: Lab) -> Callable[..., str]:
    def run(script: str, *, status: int = 0, text: str | None = None) -> str:
        done = lab.run(SITE, ["sh", "-euc", script], input_text=text)
        assert done.returncode == status, f"{done.stdout}\n{done.stderr}"
        return done.stdout.strip() + (done.stderr if status else "")

    return run


def token_of(shell: Callable[..., str]) -> str:
    return shell(f"cat {SERVER}/token")


def record(shell: Callable[..., str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shell(f"cat {RECORD} 2>/dev/null || echo '{{}}'"))
    return found


def road(appliance: Appliance) -> list[tuple[str, str]]:
    """Kind and state of each operation of the newest request, first to last."""
    request = appliance.operation(SITE)["request"]
    found = appliance.items("operation", "list", SITE, "--request", request)
    return [(each["kind"], each["state"]) for each in sorted(found, key=lambda each: each["id"])]


def rotate(appliance: Appliance, *, status: int = 0) -> str:
    return appliance.run("token", "rotate", SITE, "--yes", "--wait", "--timeout", "8m", status=status, timeout_s=600)


def has_succeeded(appliance: Appliance) -> bool:
    found = road(appliance)
    assert not [kind for kind, state in found if state in ("failed", "expired", "canceled")], found
    return found == [(kind, "succeeded") for kind in ROAD]


def assert_well(appliance: Appliance, shell: Callable[..., str]) -> None:
    """The datastore opens with the token that is there and no other, and all is ready."""
    assert shell("python3 -", text=LOOK).split()[0] == "1"
    shell("systemctl restart k3s")
    until("k3s answers again", lambda: shell("k3s kubectl get --raw /readyz || true") == "ok", 60)

    def is_ready() -> bool:
        till = json.loads(shell("k3s kubectl get deployment till -o json"))
        return bool(till["status"].get("availableReplicas") == 2)

    until("the workload is ready", is_ready, 60)
    appliance.run("verify", SITE, "--wait", "--timeout", "3m", timeout_s=240)
    assert appliance.site(SITE)["health"] == "healthy"
    assert shell("ls /var/lib/edgemgr/token").split() == ["known.json", "rotation.json"]


@contextlib.contextmanager
def seen_processes() -> Iterator[set[bytes]]:
    """Every command line and environment of this machine, sites included, until the block ends."""
    seen: set[bytes] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            for process in Path("/proc").glob("[0-9]*"):
                for part in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        seen.add((process / part).read_bytes())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join(timeout=30)


def test_a_token_is_rotated_under_write_load_between_two_backups_and_nobody_is_told(
    cluster: Appliance, shell: Callable[..., str]
) -> None:
    old = token_of(shell)
    uid = json.loads(shell("k3s kubectl get namespace kube-system -o json"))["metadata"]["uid"]
    containers = set(shell("pgrep -f '[c]ontainerd-shim'").split())
    shell("cat >/root/kine_writer.py", text=Path(kine_writer.__file__).read_text())
    writer = shell(f"setsid python3 /root/kine_writer.py {STATE_DB} /load >/dev/null 2>&1 & echo $!")
    try:
        with seen_processes() as seen:
            said = rotate(cluster)
    finally:
        shell(f"kill {writer}")
    _, told, found = shell("python3 -", text=LOOK).split()
    assert told == found, "no change was lost"
    assert int(told) > 50
    new = token_of(shell)
    assert new != old
    assert road(cluster) == [(kind, "succeeded") for kind in ROAD]
    assert json.loads(shell("k3s kubectl get namespace kube-system -o json"))["metadata"]["uid"] == uid
    assert containers
    assert containers <= set(shell("pgrep -f '[c]ontainerd-shim'").split()), "none was ended; a late one may have come"

    secrets = [text.rpartition(":")[2].encode() for text in (old, new)]
    assert all(len(secret) == 32 for secret in secrets)
    assert [line for line in seen for secret in secrets if secret in line] == []
    said += cluster.log.read_text()
    for each in cluster.items("operation", "list"):
        said += cluster.run("operation", "show", str(each["id"]), "-o", "json")
        said += cluster.attempt("operation", "logs", str(each["id"])).stdout
    said += cluster.run("event", "list", "-o", "json") + cluster.run("site", "show", SITE, "-o", "json")
    said += cluster.run("backup", "list", "-o", "json")
    assert [secret for secret in secrets if secret.decode() in said] == []
    for path in (path for path in cluster.directory.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert [secret for secret in secrets if secret in content] == [], path
    kept = "--exclude-dir=backups --exclude-dir=outgoing"
    left = shell(f"grep -rlF {secrets[0].decode()} /var/lib/edgemgr {kept} || true")
    assert left == "", "what the way back was is gone"


def test_the_old_token_no_longer_opens_the_datastore_and_the_new_one_does(
    cluster: Appliance, shell: Callable[..., str]
) -> None:
    new = token_of(shell)
    older = shell("ls /var/lib/edgemgr/backups | sort -n | head -n 1")
    shell(f"systemctl stop k3s; cp -p {SERVER}/token /root/token")
    shell(f"tar -xOf /var/lib/edgemgr/backups/{older}/files.tar server/token >{SERVER}/token")
    assert token_of(shell) != new
    said = shell("timeout 30 k3s server 2>&1", status=1)
    assert "encrypted with different token" in said
    shell(f"cp -p /root/token {SERVER}/token; rm /root/token; systemctl start k3s")
    assert_well(cluster, shell)


def test_a_backup_of_before_brings_the_old_token_back_and_one_of_after_the_new_one(
    cluster: Appliance, shell: Callable[..., str]
) -> None:
    new = token_of(shell)
    rows = cluster.items("backup", "list", SITE)
    assert [row["has_present_token"] for row in rows[:2]] == [True, False]
    after, before = rows[:2]
    done = cluster.attempt(
        *("backup", "restore", SITE, "--backup", str(before["id"]), "--yes", "--wait", "--timeout", "5m"), timeout_s=400
    )
    assert done.returncode == 0, done.stderr
    assert "brings that one back with it" in done.stderr
    assert token_of(shell) != new
    assert_well(cluster, shell)
    present = {row["id"]: row["has_present_token"] for row in cluster.items("backup", "list", SITE)}
    assert (present[before["id"]], present[after["id"]]) == (True, False)
    cluster.run(
        *("backup", "restore", SITE, "--backup", str(after["id"]), "--yes", "--wait", "--timeout", "5m"), timeout_s=400
    )
    assert token_of(shell) == new
    assert_well(cluster, shell)


def test_a_link_that_dies_in_the_middle_costs_nothing(cluster: Appliance, shell: Callable[..., str], lab: Lab) -> None:
    old, number = token_of(shell), record(shell).get("number")
    cluster.run("token", "rotate", SITE, "--yes")
    until("it has begun", lambda: record(shell).get("number") != number, 200, pause_s=0.05)
    lab.cut(SITE)
    until("the node has ended it by itself", lambda: record(shell)["state"] == "done", 120)
    new = token_of(shell)
    assert new != old
    lab.restore(SITE)
    until("the appliance knows, and has taken a backup", lambda: has_succeeded(cluster), 300)
    assert token_of(shell) == new, "a repeat makes no other token"
    assert_well(cluster, shell)


@pytest.mark.parametrize("moment", ["it has begun", "k3s has a new token"])
def test_a_node_that_loses_its_power_in_the_middle_ends_with_a_token_that_fits(
    cluster: Appliance, shell: Callable[..., str], lab: Lab, moment: str
) -> None:
    old, number = token_of(shell), record(shell).get("number")
    cluster.run("token", "rotate", SITE, "--yes")

    def has_come() -> bool:
        is_begun = record(shell).get("number") != number
        return is_begun if moment == "it has begun" else token_of(shell) != old

    until(moment, has_come, 200, pause_s=0.02)
    lab.power_cut(SITE)
    lab.restore(SITE)
    until("it has ended well", lambda: has_succeeded(cluster), 400)
    assert token_of(shell) != old
    assert_well(cluster, shell)


def test_a_k3s_that_ends_among_its_own_writes_has_its_old_token_back_and_no_backup_of_after_is_taken(
    cluster: Appliance, shell: Callable[..., str]
) -> None:
    old = token_of(shell)
    shell(f"echo 'token_cut: 2' >{FAULTS}")
    try:
        rotate(cluster, status=6)
    finally:
        shell(f"rm {FAULTS}")
    assert road(cluster) == [("backup", "succeeded"), ("pull", "succeeded"), ("rotate-token", "failed")]
    assert cluster.operation(SITE)["code"] == "E-TOKEN-BACK"
    assert token_of(shell) == old
    assert_well(cluster, shell)


def test_a_token_that_somebody_gives_to_k3s_is_refused_with_the_file_and_without_the_token(
    cluster: Appliance, shell: Callable[..., str]
) -> None:
    old = token_of(shell)
    directory = "/etc/rancher/k3s/config.yaml.d"
    shell(f"mkdir -p {directory}; cat >{directory}/mine.yaml", text=f"token: {old}\n")
    try:
        rotate(cluster, status=6)
    finally:
        shell(f"rm -r {directory}")
    operation = cluster.operation(SITE)
    assert (operation["kind"], operation["code"]) == ("rotate-token", "E-TOKEN-CONFIGURED")
    assert f"token in {directory}/mine.yaml" in operation["message"]
    assert old.rpartition(":")[2] not in json.dumps(operation)
    assert token_of(shell) == old


def test_where_the_first_backup_fails_nothing_is_rotated_and_that_is_said(
    cluster: Appliance, shell: Callable[..., str]
) -> None:
    old = token_of(shell)
    shell("mkdir -p /var/lib/edgemgr/upgrade; touch /var/lib/edgemgr/upgrade/hold")
    try:
        cluster.run("token", "rotate", SITE, "--yes", "--wait", "--timeout", "5m", status=6, timeout_s=400)
    finally:
        shell("rm /var/lib/edgemgr/upgrade/hold")
    assert [kind for kind, _ in road(cluster)] == ["backup"]
    operation = cluster.operation(SITE)
    assert operation["code"] == "E-BACKUP-UPGRADE"
    assert operation["message"].endswith("; so the token was not rotated")
    assert token_of(shell) == old
