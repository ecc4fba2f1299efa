"""The module that gives a node a new token, called as Ansible does, and what it must leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    layout,
    token_journal,
    token_record,
)
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.steps import Steps
from ansible_collections.edgemgr.edge.plugins.modules import rotate_token as module

from tests_support.token_node import OLD, SITE, Machine, seal


class Module:
    check_mode = False

    def __init__(self, **params: Any) -> None:
        given = {"site": SITE, "attempt": 7, "number": 7, "fence_wait_s": 0, "min_free_mib": 0}
        self.params = {**given, "start_timeout_s": 0, "verify_timeout_s": 0, **params}


def run(check: bool = False, **params: Any) -> dict[str, Any]:
    steps, given = Steps(), Module(**params)
    given.check_mode = check
    result = module.body(given, steps)
    return {**steps.results(), **result}


def refused(**params: Any) -> EdgeError:
    with pytest.raises(EdgeError) as caught:
        run(**params)
    return caught.value


def left_over() -> list[str]:
    """What a rotation leaves beside the places that it exchanged."""
    server = Path(layout.DATA_DIR) / "server"
    names = [path.name for directory in (server, server / "cred", server / "db") for path in directory.iterdir()]
    return sorted(name for name in names if "edgemgr" in name) + ["copies"] * Path(token_journal.copies()).exists()


def assert_new(machine: Machine, number: int = 7) -> None:
    """k3s runs with a new token, and the old one opens nothing any more."""
    assert machine.is_active
    assert machine.password() != OLD
    assert machine.fits()
    assert seal(OLD) not in machine.sealed()
    assert token_record.number() == number
    assert left_over() == []
    assert not token_journal.is_unfinished()


def assert_old(machine: Machine) -> None:
    """k3s runs with the token that it had."""
    assert machine.is_active
    assert machine.password() == OLD
    assert machine.fits()
    assert left_over() == []
    assert not token_journal.is_unfinished()
