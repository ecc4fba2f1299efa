"""One batch against a real sshd, in which every site meets something else."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from runner_bench import CANARY, REPORT, Bench, Results, command_lines, make_bench, site
from throwaway_sshd import Sshd, free_port, make_key

from edgemgr.errors import Retry
from edgemgr.model.attempt import Outcome
from edgemgr.model.cluster import Health
from edgemgr.model.secret import Secret
from edgemgr.runner.batch import SiteRun

pytestmark = pytest.mark.slow
Seen = tuple[Results, Bench, str]  # and every command line of the machine during the run


@pytest.fixture(scope="module")
def seen(sshd: Sshd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    directory = Path(tempfile.mkdtemp(prefix="em-", dir="/tmp"))
    bench = make_bench(directory)
    # What a variable of the site holds decides; the playbook itself is the same for all.
    bench.playbook(
        "verify",
        """
        - hosts: sites
          gather_facts: false
          strategy: ansible.builtin.free
          vars:
            ansible_python_interpreter: "{{ edge_python | default('/usr/bin/python3') }}"
            ansible_become: "{{ edge_become | default(false) }}"
            ansible_become_user: nobody
            ansible_become_exe: "{{ edge_sudo | default('sudo') }}"
          roles: [report]
        """,
    )
    foreign_key = make_key(tmp_path_factory.mktemp("keys") / "foreign")
    other = tmp_path_factory.mktemp("keys") / "other"
    make_key(other)
    sudo = directory / "sudo"
    sudo.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    sudo.chmod(0o755)
    refusal = {"code": "E-PRE-DISK", "message": "the disk is full", "hint": "free some", "check": "disk"}
    swap = {"code": "E-PRE-CLOCK", "message": "the clock is wrong", "hint": "set it", "check": "clock"}
    runs = [
        site(sshd, 1, edge_secret=CANARY),
        SiteRun(2, sshd.target(2, host_key=foreign_key), {"edge_report": REPORT}),
        SiteRun(3, sshd.target(3, port=free_port()), {"edge_report": REPORT}),
        SiteRun(4, sshd.target(4, private_key=Secret(other.read_text())), {"edge_report": REPORT}),
        site(sshd, 5, edge_sleep_s=7),
        site(sshd, 6, edge_fail=True, edge_result={"edge_refusals": [refusal, swap], "msg": "the disk is full"}),
        site(sshd, 7, edge_fail=True, edge_result={"msg": "k3s died", "edge_code": "E-VERIFY-NODE"}),
        site(sshd, 8, edge_python="/usr/bin/python3.99"),
        site(sshd, 9, edge_become=True, edge_sudo=str(sudo)),
        site(sshd, 10, edge_become=True, edge_sudo="no-such-dir/sudo"),
        site(sshd, 11, edge_result={"nothing": "to report"}),
        SiteRun(12, sshd.target(12, user="root\nProxyCommand touch x"), {}),
        SiteRun(13, sshd.target(13, jump=sshd.jump()), {"edge_report": REPORT}),
        SiteRun(14, sshd.target(14, private_key=None), {}),
    ]
    lines: list[str] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            lines.append(command_lines())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        results = bench.run(runs)
    finally:
        done.set()
        watcher.join()
    yield results, bench, "\n".join(lines)
    shutil.rmtree(directory)


def test_every_attempt_is_settled_once(seen: Seen) -> None:
    assert sorted(seen[0].by_attempt) == list(range(1, 15))


def test_a_report_makes_success_with_its_observation(seen: Seen) -> None:
    result = seen[0].by_attempt[1]
    assert result.outcome is Outcome.SUCCEEDED
    assert result.observation is not None
    assert result.observation.health is Health.HEALTHY
    assert result.observation.k3s_version == "v1.30.0+k3s1"
    assert result.observation.facts == {"pods_total": 3}


@pytest.mark.parametrize(
    ("attempt_id", "outcome", "code", "retry"),
    [
        (2, Outcome.FAILED, "E-SITE-IDENTITY-MISMATCH", Retry.NEVER),
        (3, Outcome.UNREACHABLE, "E-SITE-UNREACHABLE", Retry.FREE),
        (4, Outcome.FAILED, "E-LOGIN-KEY", Retry.BUDGETED),
        (6, Outcome.REFUSED, "E-PRE-DISK", Retry.NEVER),
        (7, Outcome.FAILED, "E-VERIFY-NODE", Retry.BUDGETED),
        (8, Outcome.REFUSED, "E-PRE-PYTHON", Retry.NEVER),
        (9, Outcome.REFUSED, "E-PRE-SUDO", Retry.NEVER),
        (10, Outcome.REFUSED, "E-PRE-SUDO", Retry.NEVER),
        (11, Outcome.FAILED, "E-RUNNER-NO-REPORT", Retry.BUDGETED),
        (12, Outcome.FAILED, "E-RUNNER-TARGET", Retry.NEVER),
        (14, Outcome.FAILED, "E-LOGIN-KEY", Retry.NEVER),
    ],
)
def test_each_fate_has_its_own_outcome_and_code(
    seen: Seen, attempt_id: int, outcome: Outcome, code: str, retry: Retry
) -> None:
    result = seen[0].by_attempt[attempt_id]
    assert (result.outcome, result.code, result.retry) == (outcome, code, retry), result


def test_a_refusal_names_all_its_reasons(seen: Seen) -> None:
    result = seen[0].by_attempt[6]
    assert result.message == "the disk is full; the clock is wrong"
    assert result.hint == "free some"


def test_a_site_behind_a_jump_host_is_reached(seen: Seen) -> None:
    assert seen[0].by_attempt[13].outcome is Outcome.SUCCEEDED, seen[0].by_attempt[13]


def test_a_slow_site_delays_nobody_and_success_comes_while_it_runs(seen: Seen) -> None:
    results = seen[0]
    others = [after for attempt_id, after in results.after_s.items() if attempt_id not in {5, 11}]
    assert max(others) < results.after_s[5]
    assert results.after_s[1] < results.after_s[5] - 2
    assert results.by_attempt[5].outcome is Outcome.SUCCEEDED


def test_the_log_tells_what_happened(seen: Seen) -> None:
    log = seen[1].log(6)
    assert "begins" in log
    assert "E-PRE-CLOCK the clock is wrong" in log
    assert "refused     E-PRE-DISK the disk is full; the clock is wrong" in log
    assert list(seen[1].settings.log_dir.rglob("*.log")) == []


def test_no_secret_reaches_a_log_or_a_command_line(seen: Seen, sshd: Sshd) -> None:
    _, bench, lines = seen
    secrets = [CANARY, *sshd.private_key.reveal().splitlines()[1:-1]]
    logs = "\n".join(bench.log(attempt_id) for attempt_id in range(1, 15))
    assert "ansible-playbook" in lines  # the watcher saw the run
    for secret in secrets:
        assert secret not in lines
        assert secret not in logs


def test_no_value_of_a_site_reaches_a_command_line(seen: Seen) -> None:
    ssh = [line for line in seen[2].splitlines() if line.startswith("ssh\0") and "edgemgr-site-" in line]
    assert ssh
    assert not [line for line in ssh if "127.0.0." in line and "-W" not in line]


def test_nothing_is_left_running(seen: Seen) -> None:
    assert str(seen[1].settings.runtime_dir) not in command_lines()
