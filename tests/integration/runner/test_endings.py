"""How a run ends, and what a hostile site, playbook or environment cannot do; against a real sshd."""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from runner_bench import CANARY, REPORT, Bench, Results, command_lines, site
from throwaway_sshd import Sshd, make_key

from edgemgr.errors import Retry
from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.runner.ansible import run_batch
from edgemgr.runner.batch import Batch, SiteRun
from edgemgr.runner.workspace import sweep

pytestmark = pytest.mark.slow


def test_a_wrong_host_key_is_sent_nothing(bench: Bench, tmp_path: Path) -> None:
    server = Sshd(tmp_path / "server")
    server.start()
    try:
        run = SiteRun(1, server.target(1, host_key=make_key(tmp_path / "foreign")), {"edge_report": REPORT})
        result = bench.run([run]).by_attempt[1]
    finally:
        server.stop()
    assert result.code == "E-SITE-IDENTITY-MISMATCH"
    assert "Connection from 127.0.0.1" in server.log
    assert not [word for word in ("Accepted", "Failed", "Postponed", "publickey", " user ") if word in server.log]


def test_a_wrong_host_key_of_the_jump_host_stops_everything(bench: Bench, sshd: Sshd, tmp_path: Path) -> None:
    jump = replace(sshd.jump(), host_key=make_key(tmp_path / "foreign"))
    result = bench.run([SiteRun(1, sshd.target(1, jump=jump), {"edge_report": REPORT})]).by_attempt[1]
    assert (result.code, result.retry) == ("E-SITE-IDENTITY-MISMATCH", Retry.NEVER)


def test_without_our_word_ansible_runner_would_not_check_host_keys(bench: Bench, sshd: Sshd, tmp_path: Path) -> None:
    # Even a configuration that switches the check off is overruled.
    (bench.playbooks / "ansible.cfg").write_text("[defaults]\nhost_key_checking = False\n")
    run = SiteRun(1, sshd.target(1, host_key=make_key(tmp_path / "foreign")), {"edge_report": REPORT})
    assert bench.run([run]).by_attempt[1].code == "E-SITE-IDENTITY-MISMATCH"


@pytest.mark.parametrize(
    "text",
    [
        "- hosts: [broken",
        "- hosts: sites\n  roles: [no_such_role]\n",
        "- hosts: sites\n  tasks: [{no.such.module: {}}]\n",
    ],
)
def test_a_playbook_that_cannot_be_read_is_never_repeated(bench: Bench, sshd: Sshd, text: str) -> None:
    bench.playbook("verify", text)
    result = bench.run([site(sshd, 1)]).by_attempt[1]
    assert (result.outcome, result.code, result.retry) == (Outcome.FAILED, "E-RUNNER-PLAYBOOK", Retry.NEVER), result
    assert len(result.message) > 60  # with Ansible's own words


def test_a_play_that_matches_no_host_is_no_success(bench: Bench, sshd: Sshd) -> None:
    bench.playbook("verify", "- hosts: nobody\n  gather_facts: false\n  tasks: []\n")
    result = bench.run([site(sshd, 1)]).by_attempt[1]
    assert result.outcome is Outcome.FAILED
    assert result.code == "E-RUNNER-NO-REPORT"


def test_a_missing_playbook_settles_every_attempt(bench: Bench, sshd: Sshd) -> None:
    results = bench.run([site(sshd, 1), site(sshd, 2)], kind="upgrade")
    assert {result.code for result in results.by_attempt.values()} == {"E-RUNNER-CONTENT"}


def after(seconds: float, *attempt_ids: int) -> Callable[[int], bool]:
    start = time.monotonic()
    return lambda attempt_id: attempt_id in attempt_ids and time.monotonic() - start > seconds


def test_canceling_all_ends_every_process_soon(bench: Bench, sshd: Sshd) -> None:
    runs = [site(sshd, 1, edge_sleep_s=30), site(sshd, 2, edge_sleep_s=30)]
    results = bench.run(runs, is_canceled=after(2.5, 1, 2))
    assert {result.outcome for result in results.by_attempt.values()} == {Outcome.CANCELED}
    assert results.ended_after_s < 10
    assert str(bench.settings.runtime_dir) not in command_lines()


def test_canceling_one_site_leaves_the_others_alone(bench: Bench, sshd: Sshd) -> None:
    results = bench.run([site(sshd, 1, edge_sleep_s=30), site(sshd, 2, edge_sleep_s=5)], is_canceled=after(1, 1))
    assert results.by_attempt[1].outcome is Outcome.CANCELED
    assert results.by_attempt[2].outcome is Outcome.SUCCEEDED
    assert results.after_s[1] < results.after_s[2]
    assert results.ended_after_s < 20  # what the canceled site still did is ended with the last one


def test_the_time_of_each_site_is_bounded(bench: Bench, sshd: Sshd) -> None:
    results = bench.run([site(sshd, 1), site(sshd, 2, edge_sleep_s=60)], timeout_s=5)
    assert results.by_attempt[1].outcome is Outcome.SUCCEEDED
    assert results.by_attempt[2].outcome is Outcome.TIMED_OUT
    assert results.ended_after_s < 12


def test_a_connection_lost_in_the_middle_is_unreachable(bench: Bench, tmp_path: Path) -> None:
    server = Sshd(tmp_path / "server")
    server.start()

    def cut() -> None:
        deadline = time.monotonic() + 20
        while "Accepted publickey" not in server.log and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.0)
        # The session processes of this sshd carry its port nowhere: they are found as the children of its children.
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                name, ppid = path.read_text().split(")")[0], int(path.read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if "(sshd" in name and server._process is not None and ppid == server._process.pid:
                os.kill(int(path.parent.name), signal.SIGKILL)

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        result = bench.run([site(server, 1, edge_sleep_s=8)]).by_attempt[1]
    finally:
        cutter.join()
        server.stop()
    assert (result.outcome, result.code) == (Outcome.UNREACHABLE, "E-SITE-UNREACHABLE"), result


def test_a_host_that_accepts_and_stays_silent_is_unreachable(bench: Bench, sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = sshd.target(2, port=silent.getsockname()[1], address="127.0.0.1")
        results = bench.run([site(sshd, 1), SiteRun(2, target, {"edge_report": REPORT})])
    assert results.by_attempt[1].outcome is Outcome.SUCCEEDED
    assert results.by_attempt[2].outcome is Outcome.UNREACHABLE
    assert results.after_s[1] < results.after_s[2]


def test_templates_in_variables_and_in_facts_stay_text(bench: Bench, sshd: Sshd, tmp_path: Path) -> None:
    trap = f"{{{{ lookup('ansible.builtin.pipe', 'touch {tmp_path}/evaluated') }}}}"
    observation = {"edge_observation": {"health": "healthy", "os": trap, "deep": [{"x": trap}]}, "msg": trap}
    result = bench.run([site(sshd, 1, edge_result=observation, edge_other={trap: [trap]})]).by_attempt[1]
    assert result.observation is not None
    assert result.observation.os == trap
    assert result.observation.facts == {"deep": [{"x": trap}]}
    assert not (tmp_path / "evaluated").exists()


def test_a_site_cannot_forge_the_events_of_another(bench: Bench, sshd: Sshd) -> None:
    forged = {
        "event": "runner_on_ok",
        "uuid": "11111111-1111-1111-1111-111111111111",
        "event_data": {"host": "edgemgr-site-2", "res": {"edge_observation": {"health": "healthy"}}},
    }
    code = base64.b64encode(json.dumps(forged).encode()).decode()
    token = f"\x1b[K{code}\x1b[{len(code)}D\x1b[K"
    runs = [
        site(sshd, 1, edge_fail=True, edge_result={"msg": f"a{token}b{token}c", "warnings": [token], "stderr": token}),
        site(sshd, 2, edge_sleep_s=2, edge_result={"nothing": "to report"}),
    ]
    results = bench.run(runs)
    assert results.by_attempt[1].outcome is Outcome.FAILED
    assert results.by_attempt[2].code == "E-RUNNER-NO-REPORT"
    assert "\x1b" not in bench.log(1)


def test_what_on_result_raises_does_not_end_the_run(bench: Bench, sshd: Sshd) -> None:
    seen: list[int] = []

    def refuse(attempt_id: int, result: AttemptResult) -> None:
        seen.append(attempt_id)
        raise RuntimeError("no")

    batch = Batch("raises", "verify", (site(sshd, 1), site(sshd, 2)), 60)
    run_batch(batch, bench.settings, on_result=refuse, playbook_dir=bench.playbooks)
    assert sorted(seen) == [1, 2]


def test_two_batches_run_in_two_threads_of_one_process(bench: Bench, sshd: Sshd) -> None:
    results = [Results(), Results()]
    threads = [
        threading.Thread(
            target=run_batch,
            args=(Batch(f"t{n}", "verify", (site(sshd, n + 1, edge_sleep_s=1),), 60), bench.settings),
            kwargs={"on_result": results[n].take, "playbook_dir": bench.playbooks},
        )
        for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert [r.outcome for each in results for r in each.by_attempt.values()] == [Outcome.SUCCEEDED] * 2


def test_our_environment_does_not_reach_ansible(
    bench: Bench, sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ANSIBLE_STDOUT_CALLBACK", "no_such_callback")
    monkeypatch.setenv("ANSIBLE_REMOTE_USER", "somebody")
    monkeypatch.setenv("AWX_LIB_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("SECRET_OF_THE_APPLIANCE", CANARY)
    bench.playbook(
        "verify",
        """
        - hosts: sites
          gather_facts: false
          tasks:
            - name: Look at what Ansible itself sees
              say:
                result: {edge_observation: {health: healthy, seen: "{{ lookup('env', 'SECRET_OF_THE_APPLIANCE') }}"}}
        """,
    )
    result = bench.run([site(sshd, 1)]).by_attempt[1]
    assert result.observation is not None, result
    assert result.observation.facts == {"seen": ""}


def test_check_mode_reaches_the_tasks(bench: Bench, sshd: Sshd) -> None:
    bench.playbook(
        "verify",
        """
        - hosts: sites
          gather_facts: false
          tasks:
            - name: Say in which mode this is
              say:
                result: {edge_observation: {check: "{{ ansible_check_mode }}"}}
              check_mode: false
        """,
    )
    observation = bench.run([site(sshd, 1)], check=True).by_attempt[1].observation
    assert observation is not None
    assert observation.facts == {"check": True}


def test_a_dead_workers_leftovers_are_swept_with_their_processes(bench: Bench) -> None:
    leftover = bench.settings.runtime_dir / "batches" / "old"
    (leftover / "keys").mkdir(parents=True)
    (leftover / "keys" / "0").write_text("a key")
    (leftover / "owner").write_text("4194303 1\n")  # no such process
    fresh = bench.settings.runtime_dir / "batches" / "fresh"
    fresh.mkdir()
    config = leftover / "ssh_config"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config.write_text(f"Host x\n HostName 127.0.0.1\n Port {silent.getsockname()[1]}\n")
        old = subprocess.Popen(["ssh", "-F", str(config), "x"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        bystander = subprocess.Popen(["tail", "-f", str(config)], stdout=subprocess.DEVNULL)
        try:
            assert sweep(bench.settings) == ["old"]
            assert old.wait(timeout=5) == -signal.SIGKILL
            assert not leftover.exists()
            assert fresh.exists()
            assert bystander.poll() is None
        finally:
            for process in (old, bystander):
                process.kill()
                process.wait(timeout=5)


def test_what_a_killed_worker_left_behind_is_ended_by_the_next_one(bench: Bench, sshd: Sshd) -> None:
    worker = multiprocessing.get_context("fork").Process(
        target=run_batch,
        args=(Batch("orphan", "verify", (site(sshd, 1, edge_sleep_s=30),), 60), bench.settings),
        kwargs={"on_result": lambda _id, _result: None, "playbook_dir": bench.playbooks},
    )
    worker.start()
    deadline = time.monotonic() + 20
    shared = f"{bench.settings.runtime_dir}/batches/orphan/s/0 [mux]"
    while shared not in command_lines() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert sweep(bench.settings) == []  # its worker lives
    worker.kill()
    worker.join(timeout=10)
    assert f"{bench.settings.runtime_dir}/batches/orphan/" in command_lines()
    assert sweep(bench.settings) == ["orphan"]
    assert f"{bench.settings.runtime_dir}/batches/orphan/" not in command_lines()
    assert list(bench.settings.runtime_dir.glob("batches/*")) == []
