"""Care of a simulated site: certificates are read, shown and renewed, or back if that goes wrong; leftovers go."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from acceptance_stories import VERSION, import_sites
from testinfra.host import Host
from tests_support.appliance import Appliance

from edgemgr.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]
SITE = "site-1"
TLS = "/var/lib/rancher/k3s/server/tls"
DROP_IN = "/etc/systemd/system/k3s.service.d/care.conf"
#: k3s' own variable for how long leaves last (docs.k3s.io, advanced).
SHORT = "[Service]\nEnvironment=CATTLE_NEW_SIGNED_CERT_EXPIRATION_DAYS=50\n"
STUBBORN = f"[Service]\nExecStartPre=/usr/bin/test -e {TLS}/client-admin.crt\n"


@pytest.fixture(scope="module")
def cluster(lab: Lab, appliance: Appliance) -> Appliance:
    """A site with k3s."""
    lab.up(1)
    import_sites(appliance, lab)
    appliance.serve()
    appliance.run("bootstrap", SITE, "--version", VERSION, "--wait", "--timeout", "5m", timeout_s=400)
    return appliance


@pytest.fixture
def shell(lab: Lab) -> Callable[[str], str]:
    def run(script: str) -> str:
        done = lab.run(SITE, ["sh", "-euc", script])
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


def ends(appliance: Appliance) -> dict[str, dict[str, Any]]:
    return {row["what"]: row for row in appliance.items("expiry", SITE, "--within", "4000d", "--unknown")}


def certificate_ends_in(appliance: Appliance) -> int:
    at = datetime.fromisoformat(ends(appliance)["certificate"]["at"])
    return round((at - datetime.now(UTC)) / timedelta(days=1))


def rotate(appliance: Appliance, *options: str, status: int = 0) -> dict[str, Any]:
    """Ask for it, wait, and give the operation and its one attempt."""
    appliance.run("certificates", "rotate", SITE, "--wait", "--timeout", "5m", *options, status=status, timeout_s=400)
    number = appliance.operation(SITE)["id"]
    whole: dict[str, Any] = json.loads(appliance.run("operation", "show", str(number), "-o", "json"))
    return whole


def assert_well(appliance: Appliance) -> None:
    """With a kubeconfig that is read anew, the API answers, and pods run."""
    pods = json.loads(appliance.run("kubectl", SITE, "--", "get", "pods", "-A", "-o", "json"))["items"]
    assert {pod["status"]["phase"] for pod in pods} <= {"Running", "Succeeded"}
    assert pods
    appliance.run("probe", SITE, "--wait", timeout_s=120)
    assert appliance.site(SITE)["health"] == "healthy"


def main_pid(shell: Callable[[str], str]) -> str:
    return shell("systemctl show -p MainPID --value k3s")


def shims(shell: Callable[[str], str]) -> str:
    return shell("pgrep -f '[c]ontainerd-shim' | sort")


def with_drop_in(shell: Callable[[str], str], text: str) -> None:
    shell(f"mkdir -p {DROP_IN.rpartition('/')[0]}; printf '{text}' >{DROP_IN}; systemctl daemon-reload")


def without_drop_in(shell: Callable[[str], str]) -> None:
    shell(f"rm -f {DROP_IN}; systemctl daemon-reload")


@pytest.fixture
def aging(cluster: Appliance, shell: Callable[[str], str]) -> Appliance:
    """The site's leaves end in 50 days, and it has told so."""
    with_drop_in(shell, SHORT.replace("\n", "\\n"))
    shell(f"systemctl stop k3s; cd {TLS}; rm -f client-a*.crt client-k*.crt client-s*.crt serving-*.crt client-c*r.crt")
    shell("systemctl start k3s")
    without_drop_in(shell)
    cluster.run("verify", SITE, "--wait", "--timeout", "5m", timeout_s=400)
    assert certificate_ends_in(cluster) == 50
    return cluster


def test_a_bootstrap_tells_what_ends_and_when(cluster: Appliance) -> None:
    found = ends(cluster)
    assert certificate_ends_in(cluster) == 365
    assert found["ca"]["at"][:4] == str(datetime.now(UTC).year + 10)
    assert found["kubernetes"]["at"].startswith("2026-06-28")
    assert found["disk"]["at"] is None
    assert "needed" in found["disk"]["detail"]
    with urllib.request.urlopen(f"http://127.0.0.1:{cluster.port}/sites/{SITE}", timeout=20) as answer:
        page = answer.read().decode()
    assert "Authority ends" in page
    assert "sqlite, " in page


def test_certificates_that_are_due_are_renewed_by_a_restart_that_containers_do_not_notice(
    aging: Appliance, shell: Callable[[str], str], look: Callable[[str], Host]
) -> None:
    before, key, containers = main_pid(shell), shell(f"sha256sum {TLS}/client-admin.key"), shims(shell)
    attempt = rotate(aging)["attempts"][0]
    assert (attempt["outcome"], attempt["changed"]) == ("succeeded", True)
    assert main_pid(shell) != before
    assert shell(f"sha256sum {TLS}/client-admin.key") == key
    assert shims(shell) == containers
    assert certificate_ends_in(aging) == 365
    said = look(SITE).check_output(f"openssl x509 -noout -checkend {360 * 86400} -in {TLS}/serving-kube-apiserver.crt")
    assert "will not expire" in said
    assert_well(aging)

    after = main_pid(shell)
    attempt = rotate(aging)["attempts"][0]
    assert (attempt["outcome"], attempt["changed"], main_pid(shell)) == ("succeeded", False, after)


def test_new_keys_are_made_and_the_cluster_is_the_same(cluster: Appliance, shell: Callable[[str], str]) -> None:
    key, authority = (shell(f"sha256sum {TLS}/{name}") for name in ("client-admin.key", "server-ca.key"))
    containers = shims(shell)
    assert rotate(cluster, "--new-keys")["attempts"][0]["changed"] is True
    assert shell(f"sha256sum {TLS}/client-admin.key") != key
    assert shell(f"sha256sum {TLS}/server-ca.key") == authority
    assert shims(shell) == containers
    assert_well(cluster)
    assert shell("ls /var/lib/edgemgr | grep -c rotation || true") == "0"


def test_while_an_upgrade_needs_hands_nothing_is_touched(cluster: Appliance, shell: Callable[[str], str]) -> None:
    before = main_pid(shell)
    shell("mkdir -p /var/lib/edgemgr/upgrade; touch /var/lib/edgemgr/upgrade/hold")
    try:
        whole = rotate(cluster, "--new-keys", status=6)
    finally:
        shell("rm /var/lib/edgemgr/upgrade/hold")
    assert (whole["operation"]["code"], whole["attempts"][0]["outcome"]) == ("E-UPGRADE-HANDS", "refused")
    assert main_pid(shell) == before


def test_a_k3s_that_does_not_come_up_with_new_keys_runs_on_with_the_old_ones(
    cluster: Appliance, shell: Callable[[str], str]
) -> None:
    key = shell(f"sha256sum {TLS}/client-admin.key")
    with_drop_in(shell, STUBBORN.replace("\n", "\\n"))
    try:
        whole = rotate(cluster, "--new-keys", status=6)
        assert whole["operation"]["code"] == "E-ROTATE-BACK"
        assert "the old ones were put back" in whole["operation"]["message"]
        assert shell(f"sha256sum {TLS}/client-admin.key") == key
        assert_well(cluster)
    finally:
        without_drop_in(shell)
    assert len(whole["attempts"]) == 1


def test_what_old_versions_left_goes_once_nothing_runs_from_it(cluster: Appliance, shell: Callable[[str], str]) -> None:
    data, programs, used, unused = "/var/lib/rancher/k3s/data", "/usr/local/lib/edgemgr/k3s", "c" * 64, "d" * 64
    shell(
        f"for name in {used} {unused}; do mkdir -p {data}/$name/bin; cp /bin/dash {data}/$name/bin/shim; done; "
        f"mkdir -p {programs}/v1.20.8+k3s1 {programs}/v1.32.5+k3s1; "
        f"systemd-run -q --unit=care-shim {data}/{used}/bin/shim -c 'sleep 600; :'"
    )
    before = main_pid(shell)
    cluster.run("tidy", SITE, "--wait", timeout_s=200)
    assert shell(f"ls {data} | grep -v -e current -e previous | cut -c 1-4 | grep -c -e cccc -e dddd") == "1"
    assert shell(f"ls -d {data}/{used}/bin")
    assert shell(f"ls {programs}").split() == ["v1.32.5+k3s1", VERSION]
    shell("systemctl stop care-shim")
    cluster.run("tidy", SITE, "--wait", timeout_s=200)
    assert shell(f"ls -d {data}/{used} 2>/dev/null || echo gone") == "gone"
    assert main_pid(shell) == before
    assert_well(cluster)


def cluster_id(shell: Callable[[str], str]) -> str:
    found: str = json.loads(shell("k3s kubectl get namespace kube-system -o json"))["metadata"]["uid"]
    return found


BLOAT = """
import sqlite3
opened = sqlite3.connect("/var/lib/rancher/k3s/server/db/state.db", timeout=30, isolation_level=None)
opened.execute("CREATE TABLE bloat (content)")
opened.executemany("INSERT INTO bloat VALUES (?)", ((b"x" * 1000000,) for _ in range(40)))
opened.execute("DROP TABLE bloat")
"""


def test_a_datastore_is_made_smaller_and_is_the_same(cluster: Appliance, shell: Callable[[str], str], lab: Lab) -> None:
    done = lab.run(SITE, ["python3", "-c", BLOAT])
    assert done.returncode == 0, done.stderr
    containers, uid = shims(shell), cluster_id(shell)
    cluster.run("verify", SITE, "--wait", "--timeout", "5m", timeout_s=400)
    cluster.run("tidy", SITE, "--vacuum", "--wait", timeout_s=300)
    assert int(shell("stat -c %s /var/lib/rancher/k3s/server/db/state.db")) < 10_000_000
    assert cluster_id(shell) == uid
    assert shims(shell) == containers
    assert shell("ls /var/lib/rancher/k3s/server/db | grep -c edgemgr || true") == "0"
    assert_well(cluster)
    pid = main_pid(shell)
    cluster.run("tidy", SITE, "--vacuum", "--wait", timeout_s=300)
    assert main_pid(shell) == pid, "it is not worth a second stop"
