"""What a canceled attempt left running on a node is ended there, and nothing else is; on a site of the lab."""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests_support.bad_neighbours import Claim, Fate
from tests_support.own_lab import own_lab

from edgemgr.lab.lab import Lab
from edgemgr.links import ending
from edgemgr.model.attempt import Outcome
from edgemgr.model.operation import OperationKind
from edgemgr.model.secret import Secret
from edgemgr.runner.content import playbook_dir

pytestmark = pytest.mark.slow

#: Takes the collection's own fence, starts a program that stays in its session and one that leaves it, and waits.
_MODULE = """
import os
import subprocess
import time
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgemgr.edge.plugins.module_utils import fence
module = AnsibleModule({"attempt": {"type": "int"}, "work_s": {"type": "float"}})
with fence.hold(module.params["attempt"], 60):
    with open("/root/witness", "a") as witness:
        witness.write("begin %d\\n" % module.params["attempt"])
    if module.params["work_s"]:
        subprocess.Popen(["sleep", "7101"])
        subprocess.Popen(["sleep", "7102"], start_new_session=True)
        time.sleep(module.params["work_s"])
    with open("/root/witness", "a") as witness:
        witness.write("end %d\\n" % module.params["attempt"])
module.exit_json(changed=True, edge_observation={"health": "healthy"})
"""
_PLAYBOOK = """
- hosts: sites
  gather_facts: false
  become: true
  tasks:
    - name: Work under the fence
      fenced:
        attempt: "{{ edge_attempt }}"
        work_s: %s
"""


@dataclass
class Server:
    host_key: str
    private_key: Secret


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with own_lab("ending", "10.212.0.0/24", sites=1) as lab:
        yield lab


@pytest.fixture
def claim(lab: Lab) -> Iterator[Claim]:
    with tempfile.TemporaryDirectory(prefix="em-") as name:
        directory = Path(name)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / "key"], check=True, timeout=30)
        site = lab.site("site-1")
        home = f"/home/{site.user}"
        lab.run(
            "site-1",
            ["sh", "-c", f"mkdir -p {home}/.ssh && cat >{home}/.ssh/authorized_keys && chown -R {site.user}: {home}"],
            input_text=(directory / "key.pub").read_text(),
        )
        claim = Claim(directory / "appliance", work_s=0)
        (claim.playbooks / "library/fenced.py").write_text(_MODULE)
        (claim.playbooks / "collections").symlink_to(playbook_dir() / "collections")
        server = Server(site.host_key, Secret((directory / "key").read_text()))
        claim.add("site", [(site.address, site.port)], server, site.user)
        yield claim
        claim.close()


def test_a_canceled_attempt_is_ended_on_the_node_and_the_next_runs_at_once(lab: Lab, claim: Claim) -> None:
    (claim.playbooks / "reset.yml").write_text(_PLAYBOOK % 600)
    canceled = threading.Event()
    fates: list[Fate] = []
    carrying = threading.Thread(
        target=lambda: fates.append(claim.carry(kind=OperationKind.RESET, is_canceled=lambda _name: canceled.is_set()))
    )
    carrying.start()
    _until(lambda: "7102" in _processes(lab))
    canceled.set()
    began = time.monotonic()
    carrying.join(timeout=30)
    assert fates[0].results["site-1"].outcome is Outcome.CANCELED
    assert time.monotonic() - began < 10
    left = _processes(lab)
    assert "sleep 7101" not in left
    assert "fenced" not in left
    assert "sleep 7102" in left  # it left the session: a service, as k3s is one
    assert "sshd" in left

    (claim.playbooks / "reset.yml").write_text(_PLAYBOOK % 0)
    began = time.monotonic()
    fate = claim.carry(kind=OperationKind.RESET)
    assert fate.results["site-1"].outcome is Outcome.SUCCEEDED, fate.results
    assert time.monotonic() - began < 20
    first, second, third = lab.run("site-1", ["cat", "/root/witness"]).stdout.splitlines()
    assert first.startswith("begin ")  # and never its end
    assert (second.partition(" ")[2], second.split()[0], third.split()[0]) == (third.split()[1], "begin", "end")
    assert int(first.split()[1]) < int(second.split()[1])


def test_the_paths_of_the_fence_are_those_of_the_collection() -> None:
    layout = (
        playbook_dir() / "collections/ansible_collections/edgemgr/edge/plugins/module_utils/layout.py"
    ).read_text()
    paths: dict[str, str] = {}
    exec(layout, paths)  # noqa: S102 - our own text
    assert (paths["LOCK"], paths["FENCE_RECORD"]) == (ending.LOCK, ending.RECORD)


def _processes(lab: Lab) -> str:
    return lab.run("site-1", ["ps", "-eo", "args"]).stdout


def _until(condition: Callable[[], bool], within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
