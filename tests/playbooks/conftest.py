"""The collection as importable code, and a node whose every path lies in the test's own directory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

PLAYBOOKS = Path(__file__).parent.parent.parent / "playbooks"
sys.path.insert(0, str(PLAYBOOKS / "collections"))


@pytest.fixture
def node_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty node: all paths that the collection knows are moved below this directory."""
    from ansible_collections.edgemgr.edge.plugins.module_utils import layout

    root = tmp_path / "node"
    root.mkdir()
    for name, value in vars(layout).items():
        if isinstance(value, str) and value.startswith("/") and not name.startswith("_"):
            monkeypatch.setattr(layout, name, f"{root}{value}")
    return root
