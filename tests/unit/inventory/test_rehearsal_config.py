"""What of a node's configuration a rehearsal takes over, and what it never does."""

from __future__ import annotations

import pytest
import yaml

from edgemgr.inventory.rehearsal_config import RehearsalConfig, rehearsal_config

FIXED = {"disable-agent": True, "etcd-disable-snapshots": True, "node-ip": "203.0.113.254", "node-name": "store-1"}


def made(text: str, **more: str) -> RehearsalConfig:
    files = {"config/config.yaml": text.encode()}
    files.update({f"config/config.yaml.d/{name}.yaml": each.encode() for name, each in more.items()})
    return rehearsal_config("store-1", files)


def content(text: str, **more: str) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(made(text, **more).text)
    return {key: value for key, value in found.items() if FIXED.get(key) != value}


def test_a_node_without_a_configuration_is_a_server_without_an_agent() -> None:
    assert yaml.safe_load(rehearsal_config("store-1", {}).text) == FIXED


def test_what_belongs_to_the_datastore_is_kept() -> None:
    text = (
        "secrets-encryption: true\ncluster-cidr: 10.52.0.0/16\nservice-cidr: [10.53.0.0/16]\ncluster-dns: 10.53.0.10\n"
        "cluster-domain: shop.local\nservice-node-port-range: 30000-30100\n"
    )
    assert content(text) == {
        "secrets-encryption": True,
        "cluster-cidr": "10.52.0.0/16",
        "service-cidr": "10.53.0.0/16",
        "cluster-dns": "10.53.0.10",
        "cluster-domain": "shop.local",
        "service-node-port-range": "30000-30100",
    }


@pytest.mark.parametrize(
    "line",
    [
        "kube-apiserver-arg: ['audit-log-path=/etc/cron.d/x', 'authentication-token-webhook-config-file=/x']",
        "datastore-endpoint: mysql://root:secret@db.example/kine",
        "data-dir: /etc",
        "write-kubeconfig: /root/.ssh/authorized_keys",
        "token: another",
        "server: https://elsewhere.example:6443",
        "bind-address: 192.0.2.1",
        "tls-san: [x.example]",
        "flannel-iface: eth0",
        "private-registry: /etc/passwd",
        "disable-agent: false",
        "node-name: another",
        "cluster-reset: true",
        "config: /etc/other.yaml",
    ],
)
def test_what_reaches_out_or_names_files_stays_behind(line: str) -> None:
    assert content(line) == {}


@pytest.mark.parametrize(
    "value", ["'10.42.0.0/16 --write-kubeconfig=/x'", '"a\\nb: c"', "{a: b}", "[[1]]", "null", f"'{'a' * 300}'"]
)
def test_a_value_that_no_such_option_can_have_is_left_out(value: str) -> None:
    assert content(f"cluster-domain: {value}") == {}


def test_a_later_file_wins_and_a_plus_adds() -> None:
    found = content(
        "cluster-domain: a\nservice-cidr: 10.43.0.0/16\n", b="cluster-domain: b\nservice-cidr+: fd00::/112\n"
    )
    assert found == {"cluster-domain": "b", "service-cidr": "10.43.0.0/16,fd00::/112"}


def test_a_file_that_is_no_yaml_is_passed_over() -> None:
    assert content("a: [b", z="cluster-domain: z\n") == {"cluster-domain": "z"}


@pytest.mark.parametrize(
    ("ranges", "addresses", "loopback"),
    [
        ("10.42.0.0/16", ("203.0.113.254",), "127.0.0.1"),
        ("fd00:42::/56", ("2001:db8::fe",), "::1"),
        ("10.42.0.0/16, fd00:42::/56", ("203.0.113.254", "2001:db8::fe"), "127.0.0.1"),
        ("fd00:42::/56,10.42.0.0/16", ("2001:db8::fe", "203.0.113.254"), "::1"),
        ("nonsense", ("203.0.113.254",), "127.0.0.1"),
    ],
)
def test_the_node_has_an_address_of_each_kind_that_its_pods_have(
    ranges: str, addresses: tuple[str, ...], loopback: str
) -> None:
    found = made(f"cluster-cidr: '{ranges}'\n")
    assert (found.addresses, found.loopback) == (addresses, loopback)
    assert yaml.safe_load(found.text)["node-ip"] == ",".join(addresses)
