"""The node's address and uses of old APIs, as an upgrade judges them."""

from __future__ import annotations

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import k3s_config, node_network
from ansible_collections.edgemgr.edge.plugins.module_utils.checks_upgrade import (
    addresses_of,
    check_address,
    check_apis,
    registered_addresses,
    removed_uses,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.k3s_version import K3sVersion, parse


def version(text: str) -> K3sVersion:
    found = parse(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("option", "found"),
    [
        ("10.0.0.5", ["10.0.0.5"]),
        ("10.0.0.5,fd00::5", ["10.0.0.5", "fd00::5"]),
        (["10.0.0.5", "fd00::5"], ["10.0.0.5", "fd00::5"]),
        ("eth0", []),
    ],
)
def test_addresses_are_read_from_the_configuration_as_it_is_written(option: object, found: list[str]) -> None:
    text = k3s_config.render({"debug": True, "node-ip": option, "node-label": ["a=10.0.0.9"]})
    assert addresses_of(text) == found
    assert addresses_of(k3s_config.render({"node-external-ip": option})) == []


def test_a_node_is_known_by_its_internal_addresses() -> None:
    listed = [{"type": "InternalIP", "address": "10.0.0.5"}, {"type": "Hostname", "address": "store-1"}]
    assert registered_addresses({"status": {"addresses": listed}}) == ["10.0.0.5"]
    assert registered_addresses({}) == []


@pytest.mark.parametrize(
    ("configured", "registered", "is_etcd", "verdict"),
    [
        ([], [], False, "pass"),
        (["10.0.0.5"], ["10.0.0.5"], True, "pass"),
        (["10.0.0.6"], ["10.0.0.5"], False, "block"),
        ([], ["10.0.0.6"], False, "warn"),
        ([], ["10.0.0.6"], True, "block"),
    ],
)
def test_an_address_that_is_lost_blocks_where_k3s_would_not_start_with_another(
    configured: list[str], registered: list[str], is_etcd: bool, verdict: str
) -> None:
    found = check_address(configured, registered, {"10.0.0.5"}, is_etcd)
    assert found.verdict == verdict
    assert bool(found.code) == bool(found.hint) == (verdict == "block")


def test_only_an_address_of_its_own_can_be_bound_to() -> None:
    assert node_network.has_address("127.0.0.1")
    assert not node_network.has_address("192.0.2.7")
    assert not node_network.has_address("2001:db8::7")


def metric(release: str, resource: str, *, group: str = "apps", version: str = "v1beta1") -> str:
    labels = f'group="{group}",removed_release="{release}",resource="{resource}",subresource="",version="{version}"'
    return f"apiserver_requested_deprecated_apis{{{labels}}} 1"


def test_only_what_goes_on_the_way_is_told() -> None:
    lines = [
        "# HELP apiserver_requested_deprecated_apis Gauge of deprecated APIs that have been requested",
        metric("1.33", "gone-before"),
        metric("1.34", "flowschemas", group="flowcontrol.apiserver.k8s.io", version="v1beta3"),
        metric("1.35", "podsecuritypolicies", group=""),
        metric("1.36", "later"),
        metric("", "never"),
        metric("one", "odd"),
        "apiserver_requested_deprecated_apis_other 1",
    ]
    assert removed_uses("\n".join(lines), version("v1.33.5+k3s1"), version("v1.35.2+k3s1")) == [
        "flowcontrol.apiserver.k8s.io/v1beta3/flowschemas, which v1.34 takes away",
        "v1beta1/podsecuritypolicies, which v1.35 takes away",
    ]


def test_uses_of_old_apis_are_warned_of_and_counted() -> None:
    assert check_apis(None).verdict == check_apis([]).verdict == "pass"
    found = check_apis([f"use {number}" for number in range(7)])
    assert (found.verdict, found.detail.endswith("use 4 and 2 more")) == ("warn", True)
