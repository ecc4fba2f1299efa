"""The example for `bootstrap --config`: accepted by the command, by the operation and by the node."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import k3s_config

from edgemgr.cli.ask import read_config
from edgemgr.lab.k3s_standin.node.config import known_flags
from edgemgr.operations.bootstrap import BootstrapParams

EXAMPLE = Path(__file__).parent.parent.parent / "inventory-examples/k3s-config.yaml"


def test_the_example_is_a_configuration_that_a_bootstrap_takes() -> None:
    options = read_config(EXAMPLE)
    assert BootstrapParams(version="v1.33.5+k3s1", k3s_config=options).k3s_config == options
    assert options
    assert k3s_config.faults(options) == []


@pytest.mark.parametrize("minor", [20, 33])
def test_every_supported_version_knows_the_options_of_the_example(minor: int) -> None:
    assert set(read_config(EXAMPLE)) <= set(known_flags(minor))
