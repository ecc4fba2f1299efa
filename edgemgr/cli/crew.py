"""The workers of one process, and how it is stopped; for `serve` and `worker` alike."""

from __future__ import annotations

import logging
import signal
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.errors import EdgemgrError

if TYPE_CHECKING:
    from edgemgr.app import App

ZoneOption = Annotated[
    list[str] | None,
    typer.Option(
        "--zone",
        metavar="NAME",
        help="Serve only sites whose label `zone` is NAME; `default` are those without one. May be repeated.",
    ),
]


class Crew:
    """The workers of this process. One that cannot start stops them all."""

    def __init__(self, appliance: App, workers: int, stop: threading.Event) -> None:
        self.fault: EdgemgrError | None = None
        self._appliance = appliance
        self._stop = stop
        self._threads = [
            threading.Thread(target=self._run, name=f"worker-{number}") for number in range(1, workers + 1)
        ]

    def start(self) -> None:
        """Begin to take up operations."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until every worker has let go of what it held."""
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        from edgemgr.queue.worker import QueueWorker

        try:
            QueueWorker(self._appliance.database, self._appliance.vault, self._appliance.settings, self._stop).run()
        except EdgemgrError as exc:
            self.fault = exc
        finally:
            self._stop.set()


def start_logging() -> None:
    """One line for people on stderr; systemd keeps it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("paramiko").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def stop_on_signals() -> threading.Event:
    """An event that the first SIGINT or SIGTERM sets."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop
