"""What the stand-in for k3s keeps over stops, upgrades and rollbacks: datastore, token, authorities, certificates."""

from __future__ import annotations

import json
from pathlib import Path

from tests_support.standin_node import NEW, OLD, Node

from edgemgr.lab.k3s_standin.build import build_standin


def test_an_upgrade_shows_the_old_version_first_and_a_rollback_needs_the_old_datastore(node: Node, releases: Path):
    node.start()
    node.wait_for_pods("kube-system", 6)
    node.stop()
    backup = {path.name: path.read_bytes() for path in (node.data / "server/db").iterdir()}
    node.install((releases / NEW / "k3s").read_bytes())
    node.add_images(releases / NEW)
    node.start()
    assert node.node["status"]["nodeInfo"]["kubeletVersion"] == OLD
    assert json.loads(node.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"] == NEW
    node.wait(lambda: node.is_ready(NEW), "Ready with the new version")
    hashes = {link: (node.data / "data" / link).resolve() for link in ("current", "previous")}
    assert hashes["current"] != hashes["previous"]
    node.stop()
    node.install((releases / OLD / "k3s").read_bytes())
    assert "newer than v1.33.5+k3s1: downgrade is not supported" in node.start_and_fail()
    for path in (node.data / "server/db").iterdir():
        path.unlink()
    for name, content in backup.items():
        (node.data / "server/db" / name).write_bytes(content)
    node.start()
    node.wait(node.is_ready, "Ready with the old version")


def test_a_datastore_needs_its_token_and_brings_back_the_authorities(node: Node):
    node.start()
    node.stop()
    authority = node.data / "server/tls/server-ca.crt"
    old, token = authority.read_text(), (node.data / "server/token").read_text()
    (node.data / "server/token").write_text("K10" + "0" * 64 + "::server:other\n")
    assert "encrypted with different token" in node.start_and_fail()
    (node.data / "server/token").write_text(token)
    for path in (node.data / "server/tls").glob("*.*"):
        path.unlink()
    node.start()
    assert authority.read_text() == old
    assert (node.data / "server/token").read_text() == token


def test_a_certificate_that_expires_soon_is_renewed_at_start_with_its_key(node: Node):
    tls = node.data / "server/tls"
    node.start(CATTLE_NEW_SIGNED_CERT_EXPIRATION_DAYS="30")
    soon = {name: (tls / f"client-admin.{name}").read_bytes() for name in ("crt", "key")}
    assert "WARNING" in node.run("certificate", "check", "--output", "table").stdout
    node.stop()
    node.start()
    assert (tls / "client-admin.key").read_bytes() == soon["key"]
    assert (tls / "client-admin.crt").read_bytes() != soon["crt"]
    assert "WARNING" not in node.run("certificate", "check", "--output", "table").stdout
    node.stop()
    assert node.run("certificate", "rotate").returncode == 0
    node.start()
    assert (tls / "client-admin.key").read_bytes() != soon["key"]
    assert node.kubectl("get", "--raw", "/readyz") == "ok"


def test_an_old_version_ends_at_an_unknown_key_and_a_new_one_skips_it(node: Node):
    node.write("etc/rancher/k3s/config.yaml.d/more.yaml", "frobnicate: true\n")
    node.start()
    assert "Unknown flag --frobnicate found in config.yaml, skipping" in node.log
    node.stop()
    node.install(build_standin("v1.21.2+k3s1"))
    assert "flag provided but not defined: -frobnicate" in node.start_and_fail()
