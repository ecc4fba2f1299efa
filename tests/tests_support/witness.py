"""Playbooks whose only task is to bear witness: they take the real fence and write down on the node who was there.

Each attempt makes two steps. A step appends `begin ATTEMPT STEP` and, when it is done, `end ATTEMPT STEP`, both synced.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sqlmodel import col, select

import edgemgr
from edgemgr.lab.lab import Lab
from edgemgr.model.attempt import Attempt
from edgemgr.model.operation import OPEN_STATES, Operation, OperationKind
from edgemgr.model.site import Site
from edgemgr.operations.submit import submit
from edgemgr.runner.content import playbook_dir
from edgemgr.store.database import Database

#: On the node.
RECORD = "/var/lib/edgemgr-witness"
STEPS = (1, 2)
OPEN = [state.value for state in OPEN_STATES]

_PLAYBOOK = """\
- hosts: sites
  strategy: ansible.builtin.host_pinned
  gather_facts: false
  become: true
  tasks:
    - witness: {attempt: "{{ edge_attempt }}", step: 1}
    - witness: {attempt: "{{ edge_attempt }}", step: 2}
"""
_MODULE = f"""\
from __future__ import annotations

import os
import random
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgemgr.edge.plugins.module_utils import fence
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import run


def say(line):
    handle = os.open("{RECORD}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(handle, line.encode() + b"\\n")
    os.fsync(handle)
    os.close(handle)


def bear_witness(module):
    attempt, step = module.params["attempt"], module.params["step"]
    with fence.hold(attempt, 20):
        say(f"begin {{attempt}} {{step}}")
        time.sleep(random.uniform(0.1, 1.0))
        say(f"end {{attempt}} {{step}}")
    return {{"changed": True, "edge_observation": {{"health": "healthy"}} if step == {STEPS[-1]} else None}}


run(AnsibleModule({{"attempt": {{"type": "int"}}, "step": {{"type": "int"}}}}), bear_witness)
"""

#: Beside the playbooks: by how many seconds the clock of every process that uses them is wrong.
CLOCK = "clock"
# Python reads this module before any other. libfaketime would be the honest way, but it breaks the absolute sleeps that
# Python 3.11 takes (clock_nanosleep with TIMER_ABSTIME gives EINVAL once the clock was set).
_WRONG_CLOCK = f"""\
import pathlib
import datetime

from edgemgr.model import timestamp

right = timestamp.utc_now


def wrong():
    return right() + datetime.timedelta(seconds=float(pathlib.Path(__file__).with_name("{CLOCK}").read_text() or 0))


timestamp.utc_now = wrong
"""


def witness_content(directory: Path) -> dict[str, str]:
    """Make the playbooks; returns the variables that let the installed `edgemgr` use them instead of its own."""
    playbooks = directory / "playbooks"
    (playbooks / "library").mkdir(parents=True)
    (directory / "edgemgr").symlink_to(Path(edgemgr.__file__).resolve().parent)
    (playbooks / "collections").symlink_to(playbook_dir() / "collections")
    (playbooks / "ansible.cfg").write_text((playbook_dir() / "ansible.cfg").read_text())
    (playbooks / "reset.yml").write_text(_PLAYBOOK)
    (playbooks / "library" / "witness.py").write_text(_MODULE)
    (directory / "sitecustomize.py").write_text(_WRONG_CLOCK)
    (directory / CLOCK).write_text("0")
    return {"PYTHONPATH": str(directory)}


def ask_for_free_sites(database: Database, site_ids: Sequence[int]) -> None:
    """Have something queued for every one of these sites that has nothing open."""
    with database.write() as session:
        busy = set(session.exec(select(Operation.site_id).where(col(Operation.state).in_(OPEN))).all())
        free = [number for number in site_ids if number not in busy]
        if free:
            submit(session, OperationKind.RESET, {}, free, actor="test")


def let_sites_bear_witness(database: Database, lab: Lab) -> int:
    """Hold what the database says succeeded against what each site wrote down; returns how many attempts succeeded."""
    with database.read() as session:
        succeeded = session.exec(
            select(Site.name, Attempt.id)
            .join(Operation, col(Operation.site_id) == col(Site.id))
            .join(Attempt, col(Attempt.operation_id) == col(Operation.id))
            .where(Attempt.outcome == "succeeded")
        ).all()
    for site in lab.list():
        record = lab.run(site.name, ["cat", RECORD]).stdout.splitlines()
        check(site.name, record, [number or 0 for name, number in succeeded if name == site.name])
    return len(succeeded)


def check(site: str, record: Iterable[str], succeeded: Iterable[int]) -> Mapping[int, set[int]]:
    """Nothing ran twice, nothing overlapped, numbers only grew, and what succeeded did all its steps.

    Returns: attempt → the steps that it ended.
    """
    begun: list[tuple[int, int]] = []
    done: dict[int, set[int]] = {}
    for line in record:
        word, attempt, step = line.split()
        this = (int(attempt), int(step))
        if word == "begin":
            assert this not in begun, f"{site}: {line} a second time"
            assert not begun or this > begun[-1], f"{site}: {line} after {begun[-1]}"
            begun.append(this)
        else:
            assert this == begun[-1], f"{site}: {line} while {begun[-1]} is at work"
            done.setdefault(this[0], set()).add(this[1])
    for attempt_id in succeeded:
        assert done.get(attempt_id) == set(STEPS), (
            f"{site}: attempt {attempt_id} succeeded after {done.get(attempt_id)}"
        )
    return done
