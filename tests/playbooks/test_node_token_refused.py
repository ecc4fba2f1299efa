"""Where a token is not rotated, and why: nothing is touched then."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    activation_paths,
    layout,
    marker,
    node_facts,
    service,
)
from tests_support import token_node
from tests_support.token_module import assert_new, assert_old, refused, run
from tests_support.token_node import SITE, VERSION, Machine


@pytest.fixture
def machine(node_root: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return token_node.playing(monkeypatch)


def write(path: str, text: str) -> Path:
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


@pytest.mark.parametrize(
    ("place", "text", "what"),
    [
        ("CONFIG", "node-name: store-1\ntoken: hidden\n", "token"),
        ("CONFIG", "# token: none\n'token-file' : /root/t\n", "token-file"),
        ("CONFIG", "{node-name: x, token: hidden}\n", "token"),
        ("CONFIG.d/90-mine.yaml", "token+: hidden\n", "token"),
        ("CONFIG.d/90-mine.yml", '"token": hidden\n', "token"),
        ("UNIT_FILE", "[Service]\nExecStart=/usr/local/bin/k3s server \\\n  --token hidden\n", "--token"),
        ("UNIT_FILE", "[Service]\nExecStart=/usr/local/bin/k3s server '--token-file=/root/t'\n", "--token-file"),
        ("UNIT_FILE", "[Service]\nExecStart=/usr/local/bin/k3s server -t hidden\n", "-t"),
        ("UNIT_FILE.d/mine.conf", '[Service]\nEnvironment="K3S_TOKEN=hidden"\n', "K3S_TOKEN"),
        ("UNIT_FILE.env", "K3S_TOKEN_FILE=/root/t\n", "K3S_TOKEN_FILE"),
    ],
)
def test_a_token_that_is_given_to_k3s_is_refused_with_the_file_that_gives_it(
    machine: Machine, place: str, text: str, what: str
) -> None:
    name, _, rest = place.partition(".")
    path = getattr(layout, name) + ("." + rest if rest else "")
    write(path, text)
    failure = refused()
    assert failure.code == "E-TOKEN-CONFIGURED"
    assert f"{what} in {path}" in failure.message
    assert "hidden" not in failure.message
    assert machine.verbs == []
    assert_old(machine)


def test_a_file_of_variables_that_the_service_names_is_looked_into(machine: Machine, node_root: Path) -> None:
    path = write(f"{node_root}/etc/default/k3s", "export K3S_TOKEN=hidden\n")
    write(layout.UNIT_FILE, f"[Service]\nEnvironmentFile=-{node_root}/etc/default/%N\nEnvironmentFile=-/none\n")
    assert f"K3S_TOKEN in {path}" in refused().message


def test_what_only_the_running_k3s_was_given_is_found_too(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    real = node_facts.text
    environment = "PATH=/bin\0K3S_TOKEN=hidden\0"
    monkeypatch.setattr(machine, "state", lambda: {"ActiveState": "active", "SubState": "", "MainPID": "4711"})
    monkeypatch.setattr(service, "state", machine.state)
    monkeypatch.setattr(
        node_facts, "text", lambda path, *more: environment if path == "/proc/4711/environ" else real(path, *more)
    )
    assert "K3S_TOKEN in the environment of the running k3s" in refused().message


@pytest.mark.parametrize(
    "text",
    [
        "node-name: store-1\nagent-token: other\nkubelet-arg:\n  - token-x\n",
        'node-label: ["token=x"]\n',
        'kube-apiserver-arg: ["service-account-extend-token-expiration=false"]\n',
    ],
)
def test_what_only_looks_like_a_token_is_none(machine: Machine, text: str) -> None:
    write(layout.CONFIG, text)
    write(layout.UNIT_FILE, "[Service]\nExecStartPre=/usr/bin/test -t 0\nExecStart=/usr/local/bin/k3s server\n")
    run()
    assert_new(machine)


def test_a_k3s_that_is_not_well_other_servers_and_a_full_disk_are_refused_untouched(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.nodes["store-1b"] = {"node-role.kubernetes.io/master": "true"}
    assert refused().code == "E-TOKEN-SERVERS"
    machine.nodes["store-1b"] = {}
    told = {each["check"]: each for each in run(check=True)["edge_checks"]}["nodes"]
    assert (told["verdict"], "store-1b" in told["detail"]) == ("warn", True)
    machine.is_active = False
    assert refused().code == "E-TOKEN-READY"
    machine.is_active = True
    assert refused(min_free_mib=1 << 30).code == "E-TOKEN-ROOM"
    assert machine.verbs == []
    assert not Path(layout.FENCE_RECORD).exists()


def test_an_old_k3s_a_database_elsewhere_and_a_node_that_is_not_ours_are_refused(machine: Machine) -> None:
    marker.write(marker.INSTALLED, "v1.28.2+k3s1", site=SITE)
    assert refused().code == "E-TOKEN-VERSION"
    marker.write(marker.INSTALLED, VERSION, site=SITE)
    (machine.server / "db").rename(machine.server / "elsewhere")
    assert refused().code == "E-TOKEN-DATASTORE"
    marker.write(marker.INSTALLING, VERSION, site=SITE)
    assert refused().code == "E-TOKEN-UNFINISHED"
    Path(layout.MARKER).unlink()
    assert refused().code == "E-TOKEN-UNFINISHED"
    assert machine.verbs == []


def test_while_an_upgrade_needs_hands_nothing_is_touched(machine: Machine) -> None:
    write(activation_paths.hold(), "")
    assert refused().code == "E-UPGRADE-HANDS"
    assert_old(machine)
