"""What a broken or hostile site sends stays its own disaster: bounded in memory, and nobody else's result."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from runner_bench import Bench, site
from throwaway_sshd import Sshd

from edgemgr.model.attempt import AttemptResult, Outcome

pytestmark = pytest.mark.slow
MIB = 1024 * 1024

#: A module in a language of its own: its text is what the node's Python runs, so that it can say anything at all.
_RAW = """
import os, sys
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"how": {"type": "str"}})
how, out = module.params["how"], sys.stdout.buffer
if how == "flood":
    for _ in range(1600):
        out.write(b"x" * 65536)
elif how == "flood of errors":
    for _ in range(1600):
        sys.stderr.buffer.write(b"e" * 65536)
    out.write(b'{"edge_observation": {"health": "healthy"}}')
elif how == "deep":
    out.write(b'{"edge_observation": ' + b"[" * 200000 + b"]" * 200000 + b"}")
elif how == "huge number":
    out.write(b'{"edge_observation": {"health": "healthy", "n": ' + b"9" * 100000 + b"}}")
elif how == "large number":
    out.write(b'{"edge_observation": {"health": "healthy", "n": ' + b"9" * 4000 + b', "f": 1e999, "g": NaN}}')
elif how == "many keys":
    out.write(b'{"edge_observation": {' + b",".join(b'"k%d": 1' % n for n in range(1000000)) + b"}}")
elif how == "as many keys as get through":
    out.write(b'{"edge_observation": {' + b",".join(b'"k%d": 1' % n for n in range(60000)) + b"}}")
elif how == "no text":
    out.write(b'{"edge_observation": {"health": "healthy", "os": "\\xff\\xfe\\x00\\xc3"}, "msg": "\\xff"}')
elif how == "crash":
    out.flush()
    os.abort()
else:
    out.write(b'{"edge_observation": {"health": "healthy"}}')
out.flush()
os._exit(0)
"""
_HOW = (
    "nothing bad",
    "flood",
    "flood of errors",
    "deep",
    "huge number",
    "large number",
    "many keys",
    "as many keys as get through",
    "no text",
    "crash",
)


class Seen:
    """The results by what the site did, and the most memory that one process of the batch had."""

    def __init__(self, results: dict[str, AttemptResult], peak_bytes: int, log_bytes: int) -> None:
        self.results = results
        self.peak_bytes = peak_bytes
        self.log_bytes = log_bytes


@pytest.fixture(scope="module")
def seen(sshd: Sshd, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    import tempfile

    from runner_bench import make_bench

    with tempfile.TemporaryDirectory(prefix="em-") as name:
        bench: Bench = make_bench(Path(name))
        (bench.playbooks / "library/raw_say.py").write_text(_RAW)
        bench.playbook(
            "verify",
            """
            - hosts: sites
              gather_facts: false
              strategy: ansible.builtin.host_pinned
              tasks:
                - name: Say it
                  raw_say:
                    how: "{{ edge_how }}"
            """,
        )
        peak, done = [0], threading.Event()

        def watch() -> None:
            while not done.wait(0.05):
                peak[0] = max(peak[0], _largest_bytes(name.encode()))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            results = bench.run([site(sshd, number, edge_how=how) for number, how in enumerate(_HOW, 1)])
        finally:
            done.set()
            watcher.join()
        log_bytes = sum(path.stat().st_size for path in bench.settings.log_dir.rglob("*") if path.is_file())
        return Seen({how: results.by_attempt[number] for number, how in enumerate(_HOW, 1)}, peak[0], log_bytes)


def _largest_bytes(marker: bytes) -> int:
    """Resident memory of the largest ansible-playbook of this batch, parent or fork."""
    largest = 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if marker in (command := (path / "cmdline").read_bytes()) and b"ansible-playbook" in command:
                largest = max(largest, int((path / "statm").read_text().split()[1]) * 4096)
        except OSError:
            continue
    return largest


def test_a_site_among_disasters_succeeds(seen: Seen) -> None:
    assert seen.results["nothing bad"].outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("how", ["flood", "flood of errors", "many keys"])
def test_a_flood_is_cut_and_called_what_it_is(seen: Seen, how: str) -> None:
    result = seen.results[how]
    assert (result.outcome, result.code) == (Outcome.FAILED, "E-SITE-OUTPUT"), result


@pytest.mark.parametrize("how", ["deep", "huge number", "as many keys as get through", "crash"])
def test_a_result_that_cannot_be_kept_fails_its_own_attempt(seen: Seen, how: str) -> None:
    result = seen.results[how]
    assert result.outcome is Outcome.FAILED, result
    assert result.observation is None
    assert len(result.message) < 100_000


def test_numbers_without_measure_and_broken_text_become_plain_facts(seen: Seen) -> None:
    numbers, text = seen.results["large number"], seen.results["no text"]
    assert numbers.observation is not None, numbers
    assert (numbers.observation.facts["f"], numbers.observation.facts["g"]) == (None, None)
    if text.observation is not None:  # or the module's answer was refused as a whole
        assert text.observation.os is not None
        text.observation.os.encode()
    assert text.outcome in (Outcome.SUCCEEDED, Outcome.FAILED)


def test_memory_and_logs_stay_bounded(seen: Seen) -> None:
    assert seen.peak_bytes < 200 * MIB
    assert seen.log_bytes < 2 * MIB


def test_the_bounded_ssh_can_be_run() -> None:
    import os

    from edgemgr.runner import ansible

    assert os.access(ansible._SSH, os.X_OK)
