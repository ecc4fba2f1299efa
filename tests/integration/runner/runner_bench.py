"""What the runner's tests share: small playbooks of their own, one module that says what it is told to, and results."""

from __future__ import annotations

import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from throwaway_sshd import Sshd

from edgemgr.model.attempt import AttemptResult
from edgemgr.runner.ansible import run_batch
from edgemgr.runner.batch import Batch, SiteRun
from edgemgr.runner.log import read_log
from edgemgr.settings import Settings

CANARY = "canary-7c1e-value"
REPORT = {"edge_observation": {"health": "healthy", "k3s_version": "v1.30.0+k3s1", "node_name": "n", "pods_total": 3}}

SAY = """
import time
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"result": {"type": "dict"}, "sleep_s": {"type": "float", "default": 0},
                        "fail": {"type": "bool", "default": False}, "repeat": {"type": "int", "default": 0}})
time.sleep(module.params["sleep_s"])
result = dict(module.params["result"] or {})
if module.params["repeat"]:
    result["padding"] = "x" * module.params["repeat"]
if module.params["fail"]:
    module.fail_json(**dict({"msg": "told to fail"}, **result))
module.exit_json(**result)
"""

ONE_TASK = """
- hosts: sites
  gather_facts: false
  strategy: ansible.builtin.free
  roles: [report]
"""

REPORT_ROLE = """
- name: Say what was asked for
  say:
    result: "{{ edge_result | default(edge_report) }}"
    sleep_s: "{{ edge_sleep_s | default(0) }}"
    fail: "{{ edge_fail | default(false) }}"
    repeat: "{{ edge_repeat | default(0) }}"
"""


@dataclass
class Results:
    """What run_batch handed out, and when, in seconds since the start."""

    by_attempt: dict[int, AttemptResult] = field(default_factory=dict)
    after_s: dict[int, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    ended_after_s: float = 0.0

    def take(self, attempt_id: int, result: AttemptResult) -> None:
        assert attempt_id not in self.by_attempt, "settled twice"
        self.by_attempt[attempt_id] = result
        self.after_s[attempt_id] = time.monotonic() - self.started


@dataclass
class Bench:
    """Everything that a run needs, in a directory whose name is short enough for sockets."""

    settings: Settings
    playbooks: Path
    count: int = 0

    def playbook(self, kind: str, text: str) -> None:
        (self.playbooks / f"{kind}.yml").write_text(textwrap.dedent(text))

    def run(self, runs: list[SiteRun], kind: str = "verify", timeout_s: float = 60, **options: Any) -> Results:
        self.count += 1
        results = Results()
        run_batch(
            Batch(f"b{self.count}", kind, tuple(runs), timeout_s),
            self.settings,
            on_result=results.take,
            playbook_dir=self.playbooks,
            **options,
        )
        results.ended_after_s = time.monotonic() - results.started
        assert list(self.settings.runtime_dir.glob("batches/*")) == []
        return results

    def log(self, attempt_id: int) -> str:
        return "\n".join(read_log(self.settings.log_dir, attempt_id))


def make_bench(directory: Path, **changes: Any) -> Bench:
    playbooks = directory / "playbooks"
    (playbooks / "roles/report/tasks").mkdir(parents=True)
    (playbooks / "library").mkdir()
    (playbooks / "library/say.py").write_text(SAY)
    (playbooks / "roles/report/tasks/main.yml").write_text(REPORT_ROLE)
    (playbooks / "ansible.cfg").write_text("[defaults]\ninterpreter_python = /usr/bin/python3\n")
    (playbooks / "verify.yml").write_text(ONE_TASK)
    values = {"state_dir": directory / "state", "runtime_dir": directory / "run", "connect_timeout_s": 3.0}
    return Bench(Settings(**{**values, **changes}), playbooks)


def site(sshd: Sshd, number: int, **variables: object) -> SiteRun:
    return SiteRun(number, sshd.target(number), {"edge_report": REPORT, **variables})


def command_lines() -> str:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_text(errors="replace"))
        except OSError:
            continue
    return "\n".join(lines)
