"""What one process of Ansible has packed for the nodes, the next one takes as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from runner_bench import SAY, Bench, site
from throwaway_sshd import Sshd

from edgemgr.model.attempt import AttemptResult, Outcome
from edgemgr.runner import content

NEW = 'result["edge_observation"]["k3s_version"] = "v9.9.9+k3s1"'
CHANGED = SAY.replace("module.exit_json(", f"{NEW}\nmodule.exit_json(")


@pytest.fixture
def lean(bench: Bench) -> Bench:
    (bench.playbooks / "collections").symlink_to(content.playbook_dir() / "collections")
    config = bench.playbooks / "ansible.cfg"
    config.write_text(config.read_text() + "callbacks_enabled = edgemgr.edge.lean_start\n")
    return bench


def say(bench: Bench, sshd: Sshd, module: str) -> AttemptResult:
    (bench.playbooks / "library/say.py").write_text(module)
    result = bench.run([site(sshd, 1)]).by_attempt[1]
    assert result.outcome is Outcome.SUCCEEDED, result.message
    return result


def version(result: AttemptResult) -> str:
    assert result.observation is not None
    return result.observation.k3s_version


def built(bench: Bench) -> set[Path]:
    return set(bench.settings.runtime_dir.glob("modules-*/*"))


def test_a_built_module_serves_until_a_file_of_the_playbooks_changes(lean: Bench, sshd: Sshd) -> None:
    assert version(say(lean, sshd, SAY)) == "v1.30.0+k3s1"
    (first,) = built(lean)
    assert first.stat().st_nlink == 1  # that process and its directory are gone

    assert version(say(lean, sshd, CHANGED)) == "v9.9.9+k3s1"
    (second,) = built(lean) - {first}

    second.replace(first)
    assert version(say(lean, sshd, SAY)) == "v9.9.9+k3s1", "what lay there was not what was used"
    assert built(lean) == {first}


def test_what_cannot_be_shared_is_built_by_each_process(lean: Bench, sshd: Sshd) -> None:
    say(lean, sshd, SAY)
    (first,) = built(lean)
    directory = first.parent
    first.unlink()
    directory.rmdir()
    directory.write_text("in the way")
    say(lean, sshd, SAY)
    assert directory.read_text() == "in the way"
