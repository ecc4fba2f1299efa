"""An activation on a played node: what is asked for, and how it went."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from ansible_collections.edgemgr.edge.plugins.module_utils import activation_paths, activation_plan

from tests_support.activation_machine import NEW, NEWER, OLD, files

ATTEMPT = 1017
TIMES = {"soak_s": 20, "start_timeout_s": 60, "verify_timeout_s": 60, "deadline_s": 1200}


class Story:
    """A kind of activation and how it ends when nothing cuts it off. `faults`: what is wrong with which version."""

    def __init__(self, ends: str, version: str, *, hops: int = 1, config: bool = False, **faults: str) -> None:
        self.ends, self.version, self.hops, self.config, self.faults = ends, version, hops, config, faults

    def params(self, **changes: Any) -> dict[str, Any]:
        """The arguments of the module, as far as the plan is made from them."""
        versions = [OLD, OLD] if self.config else [OLD, NEW, NEWER][: self.hops + 1]
        hops = [
            {
                "from_version": before,
                "to_version": after,
                "artifacts": [] if self.config else files(after),
                "config": {"debug": True},
                "images": None if self.config else [f"images of {after}"],
            }
            for before, after in pairwise(versions)
        ]
        fixed = {"attempt": ATTEMPT, "operation": "op-1", "site": "store-1", "hops": hops, "checks": []}
        return {**fixed, **TIMES, **changes}

    def plan(self, **changes: Any) -> activation_plan.Plan:
        return activation_plan.make(self.params(**changes), "amd64")


def verdict() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(activation_paths.verdict()).read_text())
    return found
