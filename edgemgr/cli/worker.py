"""`edgemgr worker`: one worker process without a console."""

from __future__ import annotations

import logging
import signal
import threading

import typer


def register(app: typer.Typer) -> None:
    """Add `worker` to the command line."""
    app.command("worker")(run_worker)


def run_worker() -> None:
    """Run operations until stopped by Ctrl-C or SIGTERM. Several may run; with PostgreSQL, on several machines."""
    from edgemgr.app import open_app
    from edgemgr.queue.worker import QueueWorker

    start_logging()
    stop = stop_on_signals()
    with open_app() as app:
        QueueWorker(app.database, app.vault, app.settings, stop).run()


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
