"""docs/benchmarks.json: what every part of the benchmarks measured last, so that each can be run alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.parent.parent / "docs"
RECORD = DOCS / "benchmarks.json"


def read_record() -> dict[str, dict[str, Any]]:
    """Part → `{"machine": …, "took_s": …, "result": …}`."""
    found: dict[str, dict[str, Any]] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    return found


def keep(part: str, *, machine: dict[str, str], took_s: float, result: dict[str, Any]) -> None:
    """Write what a part measured over what it measured before; the other parts' results stay."""
    record = {**read_record(), part: {"machine": machine, "took_s": round(took_s, 1), "result": result}}
    beside = RECORD.with_suffix(".new")
    beside.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    beside.replace(RECORD)
