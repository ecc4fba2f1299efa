"""Ansible: carries a batch, from its work directory to the last settled attempt."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgemgr.errors import RunnerError
from edgemgr.model.attempt import AttemptResult
from edgemgr.runner import content
from edgemgr.runner.batch import Batch, HandOver
from edgemgr.runner.built_modules import built_modules
from edgemgr.runner.events import read_event
from edgemgr.runner.processes import end_processes
from edgemgr.runner.result import Ending
from edgemgr.runner.settlement import Settlement
from edgemgr.runner.workspace import Workspace, workspace
from edgemgr.settings import Settings, program_environment

CANCEL_POLL_S = 1.0
#: characters of one task's result, beyond which ansible-runner's callback plugin drops it (awx_display.py)
#: above what ssh_bounded.sh lets through, so that what it says of a flood is not dropped with it
_RESULT_MAX_CHARS = 1_500_000
_SSH = Path(__file__).with_name("ssh_bounded.sh")
_logger = logging.getLogger(__name__)


def _never(_attempt_id: int) -> bool:
    return False


def run_batch(
    batch: Batch,
    settings: Settings,
    *,
    on_result: Callable[[int, AttemptResult], None],
    is_canceled: Callable[[int], bool] = _never,
    hand_over: HandOver | None = None,
    forks: int | None = None,
    check: bool = False,
    playbook_dir: Path | None = None,
) -> None:
    """Run one playbook against all sites of a batch; returns when the process is gone.

    `on_result` is called once for every attempt, in this thread, as soon as its evidence is there; what it raises
    is logged and goes no further. `is_canceled` is asked about once a second. A site that is canceled, or over its
    time, is settled at once, and its connections are cut, which frees its fork; `hand_over` is for those that slow
    ones keep waiting. `forks` is settings.forks by default. Nothing is raised for what goes wrong here: the attempts
    are settled with it. With `check` nothing is changed, and the results say what would be: they
    are no observations. Several batches may run at once in threads of one process.

    A failed task is the end of its attempt: a playbook must not rescue one.
    """
    settlement = Settlement(batch, settings.log_dir, on_result)
    try:
        directory = playbook_dir or content.playbook_dir()
        playbook = content.playbook(directory, batch.kind)
        with workspace(batch, settings) as place:
            for attempt_id, fault in place.faults.items():
                settlement.refuse(attempt_id, fault)
            if not settlement.is_complete:
                forks = min(forks or settings.forks, len(batch.runs))
                carrier = _Carrier(settlement, is_canceled, hand_over, place, forks)
                _carry(carrier, settings, playbook, check=check)
    except RunnerError as exc:
        settlement.refuse_all(exc)


class _Carrier:
    """The callbacks of one process; what they raise would leave it behind, alive."""

    def __init__(
        self,
        settlement: Settlement,
        is_canceled: Callable[[int], bool],
        hand_over: HandOver | None,
        place: Workspace,
        forks: int,
    ) -> None:
        self._settlement = settlement
        self._is_canceled = is_canceled
        self._hand_over = hand_over
        self.place = place
        self.forks = forks
        self._next_poll = 0.0
        self._locked_out: set[str] = set()
        self.ending: Ending | None = None  #: why we ended it ourselves

    def on_event(self, raw: Mapping[str, Any]) -> None:
        try:
            event = read_event(raw)
            if event is not None and self.ending is None:
                self._settlement.take(event)
        except Exception:
            _logger.exception("an event of %s was not read", self.place.path.name)

    def is_over(self) -> bool:
        try:
            self._look_after()
        except Exception:
            _logger.exception("the sites of %s were not looked after", self.place.path.name)
        if self.ending is not None:
            # All of it, before ansible-runner kills the leader only: a fork that lives on would hold the terminal.
            end_processes(self.place.path)
        return self.ending is not None

    def finish(self, ending: Ending) -> None:
        given = self._settlement.give_away()
        if given and self._hand_over is not None:
            self._hand_over.take(given)
        self._settlement.finish(self.ending or ending)

    def _look_after(self) -> None:
        now = time.monotonic()
        if self.ending is not None or now < self._next_poll:
            return
        self._next_poll = now + CANCEL_POLL_S
        self._settlement.cancel(self._is_canceled)
        self._settlement.time_out()
        if self._hand_over is not None:
            self._give_away(self._hand_over)
        if self._settlement.is_abandoned:
            self.ending = Ending.CANCELED
        elif self._settlement.has_idled:
            self.ending = Ending.CRASHED
        else:
            self._dismiss()

    def _give_away(self, hand_over: HandOver) -> None:
        given = self._settlement.give_away()
        if given:
            hand_over.take(given)
        elif hand_over.may():
            for alias in self._settlement.withhold(self.forks):
                self.place.lock_out(alias)

    def _dismiss(self) -> None:
        """No dismissed site is let in any more, and what Ansible does there ends."""
        fresh = self._settlement.dismissed - self._locked_out
        for alias in fresh:
            self.place.lock_out(alias)
        self._locked_out |= fresh
        working = {alias for alias in self._locked_out if self._settlement.progress.is_working(alias)}
        if fresh | working:
            self.place.cut(fresh | working)


def _carry(carrier: _Carrier, settings: Settings, playbook: Path, *, check: bool) -> None:
    from edgemgr.runner.process import run_process

    ending = Ending.CRASHED
    try:
        rc = run_process(
            carrier.place.path,
            playbook=playbook,
            inventory=carrier.place.inventory,
            environment=_environment(carrier.place, settings, playbook.parent),
            forks=carrier.forks,
            check=check,
            on_event=carrier.on_event,
            is_over=carrier.is_over,
        )
        ending = Ending.DONE if rc is not None else Ending.CRASHED
    except Exception:  # whatever ansible-runner or pexpect raise, the attempts are settled
        _logger.exception("ansible-runner failed in %s", carrier.place.path.name)
    finally:
        carrier.finish(ending)


def _environment(place: Workspace, settings: Settings, playbooks: Path) -> dict[str, str]:
    return {
        **program_environment(),
        "ANSIBLE_CONFIG": str(playbooks / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(playbooks / "collections"),
        "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "False",
        "ANSIBLE_HOME": str(place.home),
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_INVENTORY_ENABLED": "ansible.builtin.yaml",
        "ANSIBLE_LOCAL_TEMP": str(place.home / "tmp"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "ANSIBLE_SSH_EXECUTABLE": str(_SSH),
        "ANSIBLE_TIMEOUT": str(math.ceil(settings.connect_timeout_s)),
        "ANSIBLE_TRANSPORT": "ssh",
        "EDGEMGR_BUILT_MODULES": str(built_modules(settings, playbooks)),
        "EDGEMGR_SSH_ERRORS": str(place.ssh_errors),
        "MAX_EVENT_RES": str(_RESULT_MAX_CHARS),
    }
