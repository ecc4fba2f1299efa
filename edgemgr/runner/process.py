"""Process: the only use of ansible_runner, with its defaults that do not suit us set right.

Read in ansible-runner 2.4.3: it hands our whole environment to the child and switches host key checking off unless
told otherwise (config/_base.py); it takes an event from the terminal's output, where a site's text could forge one
(utils/__init__.py, OutputEventFilter); a cancel is looked for every `pexpect_timeout` seconds (runner.py); settings
that are given without a file are forgotten (config/_base.py, prepare_env).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from ansible_runner.config.runner import RunnerConfig
from ansible_runner.runner import Runner

POLL_S = 0.5
#: Two dozen forks would leave the one process that keeps leases, logs in to the next sites and answers browsers a
#: twentieth of the processors; with this it has what it needs.
_YIELDING = ("nice", "-n", "5")
#: a larger event file is dropped: the site's result was cut at MAX_EVENT_RES characters before
_EVENT_MAX_BYTES = 4 * 1024 * 1024
#: what ansible-runner sets for its own callback plugin
_RUNNER_VARIABLES = (
    "ANSIBLE_CALLBACK_PLUGINS",
    "ANSIBLE_STDOUT_CALLBACK",
    "AWX_ISOLATED_DATA_DIR",
    "RUNNER_OMIT_EVENTS",
    "RUNNER_ONLY_FAILED_EVENTS",
)


class _CheckedRunner(Runner):  # type: ignore[misc]
    """Believes an event only where the callback plugin left its file; whatever else looks like one is mere text."""

    def event_callback(self, event_data: dict[str, Any]) -> None:
        """Hand one event to the handler, from its file; nothing is kept."""
        written = self._written(event_data.get("uuid"))
        if written is not None:
            self.event_handler(written)
        elif event_data.get("stdout"):
            self.event_handler({"event": "verbose", "stdout": event_data["stdout"]})

    def _written(self, uuid: object) -> dict[str, Any] | None:
        try:
            name = f"{UUID(str(uuid))}-partial.json"
            path = Path(self.config.artifact_dir, "job_events", name)
            content = path.read_bytes()
            path.unlink()
            event = json.loads(content) if len(content) <= _EVENT_MAX_BYTES else None
        except (OSError, ValueError, RecursionError):
            return None
        return event if isinstance(event, dict) else None


def run_process(
    directory: Path,
    *,
    playbook: Path,
    inventory: Path,
    environment: Mapping[str, str],
    forks: int,
    check: bool,
    on_event: Callable[[Mapping[str, Any]], None],
    is_over: Callable[[], bool],
) -> int | None:
    """Run one playbook; returns its exit code, or None where a signal ended it.

    `is_over` is asked every `POLL_S`; True ends the process. Neither callback may raise.
    """
    config = RunnerConfig(
        str(directory),
        playbook=str(playbook),
        inventory=str(inventory),
        ident="run",
        forks=forks,
        cmdline="--check --diff" if check else None,
        # Empty, so that nothing of our own environment is taken for them.
        envvars={"ANSIBLE_CALLBACK_PLUGINS": "", "AWX_LIB_DIRECTORY": ""},
        fact_cache_type="memory",
        quiet=True,
        suppress_env_files=True,
    )
    config.prepare()
    config.command = [*_YIELDING, *config.command]
    config.env = {**{name: config.env[name] for name in _RUNNER_VARIABLES}, **environment}
    config.suppress_output_file = True
    config.pexpect_timeout = POLL_S
    runner = _CheckedRunner(config, event_handler=on_event, cancel_callback=is_over)
    runner.run()
    return runner.rc if isinstance(runner.rc, int) else None
