"""What ssh and Ansible read for a batch: nothing of a site can mean more there than itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemgr.model.target import Jump, Target
from edgemgr.runner.host_vars import host_vars
from edgemgr.runner.ssh_files import SshPlan, TargetError, known_hosts

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBn4yqZ4x0cQ0gG2hT0PpXw0yq0yq0yq0yq0yq0yq0yq"
TARGET = Target(site_id=7, name="site-7", address="10.0.0.7", port=2222, user="edge", host_key=KEY + " a comment")
PLAN = SshPlan(Path("/run/edgemgr/batches/b1"), connect_timeout_s=9.5, fast_kex=False)


def block(target: Target, plan: SshPlan = PLAN) -> str:
    return plan.block(target, plan.directory / "keys/0", plan.directory / "s/0")


def test_a_site_is_known_by_its_alias_only() -> None:
    lines = block(TARGET).splitlines()
    assert lines[:6] == [
        "Host edgemgr-site-7",
        "HostName 10.0.0.7",
        "Port 2222",
        "User edge",
        "HostKeyAlias edgemgr-site-7",
        'IdentityFile "/run/edgemgr/batches/b1/keys/0"',
    ]
    assert 'ControlPath "/run/edgemgr/batches/b1/s/0"' in lines
    assert known_hosts(TARGET) == f"edgemgr-site-7 {KEY}\n"


def test_a_jump_host_has_a_block_and_a_pin_of_its_own() -> None:
    target = replace(TARGET, jump=Jump("gate.example", 22, "hop", KEY))
    text = block(target)
    assert "ProxyJump edgemgr-jump-7\nHost edgemgr-jump-7\nHostName gate.example" in text
    assert "ControlMaster" not in text  # ssh would hide that the jump host has another key
    assert known_hosts(target).splitlines()[1] == f"edgemgr-jump-7 {KEY}"


def test_host_keys_are_always_checked() -> None:
    tail = PLAN.tail().splitlines()
    for line in (
        "StrictHostKeyChecking yes",
        "GlobalKnownHostsFile /dev/null",
        'UserKnownHostsFile "/run/edgemgr/batches/b1/known_hosts"',
        "UpdateHostKeys no",
        "BatchMode yes",
        "PasswordAuthentication no",
        "ConnectTimeout 10",
    ):
        assert line in tail


def test_a_site_that_has_just_answered_is_not_waited_for_as_long_as_one_that_nobody_has_tried() -> None:
    for answers_in_s, wait_s in ((None, 10), (0.2, 2), (1.6, 5), (60.0, 10)):
        arguments = PLAN.arguments(replace(TARGET, answers_in_s=answers_in_s))
        assert arguments == f"-F /run/edgemgr/batches/b1/ssh_config -o ConnectTimeout={wait_s}"


def test_the_key_exchange_is_weakened_only_when_asked_for() -> None:
    assert "KexAlgorithms" not in PLAN.tail()
    assert "KexAlgorithms curve25519-sha256" in replace(PLAN, fast_kex=True).tail()


def test_a_path_that_is_too_long_for_a_socket_means_no_shared_connection() -> None:
    assert "ControlPath" not in block(TARGET, replace(PLAN, directory=Path("/run/" + "x" * 90)))


def test_an_ipv6_address_with_a_zone_is_written_so_that_ssh_reads_it_back() -> None:
    assert "HostName fe80::1%%eth0" in block(replace(TARGET, address="fe80::1%eth0"))


@pytest.mark.parametrize(
    "changes",
    [
        {"address": "10.0.0.1\nProxyCommand touch x"},
        {"address": "-oProxyCommand=x"},
        {"address": "a b"},
        {"address": "%h"},
        {"address": ""},
        {"user": "root\n"},
        {"user": "$(id)"},
        {"user": ""},
        {"port": 0},
        {"port": 65536},
        {"jump": Jump("a;b", 22, "root", KEY)},
    ],
)
def test_a_value_that_would_mean_more_than_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(TargetError):
        block(replace(TARGET, **changes))


@pytest.mark.parametrize(
    "host_key", ["", "ssh-ed25519", KEY + "\nother " + KEY, "@cert-authority * " + KEY, "* " + KEY]
)
def test_a_pin_that_is_not_one_key_is_refused(host_key: str) -> None:
    with pytest.raises(TargetError):
        known_hosts(replace(TARGET, host_key=host_key))


@given(st.text(), st.text())
def test_no_address_or_user_adds_a_line(address: str, user: str) -> None:
    count = len(block(TARGET).splitlines())
    try:
        text = block(replace(TARGET, address=address, user=user))
    except TargetError:
        return
    assert len(text.splitlines()) == count


def test_texts_are_wrapped_at_any_depth_and_the_rest_is_as_it_was() -> None:
    given_values = {"edge_a": "{{ x }}", "edge_b": [1, True, None, 1.5, {"k": ("{% y %}",)}]}
    assert host_vars(TARGET, given_values) == {
        "edge_a": {"__ansible_unsafe": "{{ x }}"},
        "edge_b": [1, True, None, 1.5, {"k": [{"__ansible_unsafe": "{% y %}"}]}],
        "ansible_become": True,
    }


def test_root_needs_no_sudo() -> None:
    assert host_vars(replace(TARGET, user="root"), {}) == {"ansible_become": False}


@pytest.mark.parametrize(
    "variables",
    [
        {"ansible_ssh_extra_args": "-oProxyCommand=x"},
        {"edge_a": {"__ansible_vault": "x"}},
        {"edge_a": [{"__ansible_unsafe": "x"}]},
        {"edge_a": {1: "x"}},
        {"edge_a": object()},
    ],
)
def test_what_ansible_would_take_for_something_else_is_refused(variables: dict[str, object]) -> None:
    with pytest.raises(TargetError):
        host_vars(TARGET, variables)


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10))
def test_no_text_gets_through_unwrapped(value: object) -> None:
    try:
        wrapped = host_vars(TARGET, {"edge_a": value})
    except TargetError:
        return

    def bare(item: object) -> list[str]:
        if isinstance(item, str):
            return [item]
        if isinstance(item, list):
            return [found for each in item for found in bare(each)]
        if isinstance(item, dict) and set(item) != {"__ansible_unsafe"}:
            return [found for each in item.values() for found in bare(each)]
        return []

    assert bare(json.loads(json.dumps(wrapped["edge_a"]))) == []
