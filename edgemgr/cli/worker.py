"""`edgemgr worker`: one worker process without a console."""

from __future__ import annotations

import time

import typer

from edgemgr.cli.crew import ZoneOption

#: How often the process looks whether it is to stop, seconds.
_LOOK_S = 0.2


def register(app: typer.Typer) -> None:
    """Add `worker` to the command line."""
    app.command("worker")(run_worker)


def run_worker(zone: ZoneOption = None) -> None:
    """Run a worker without the console. Several may run; with PostgreSQL, on several machines.

    Ctrl-C or SIGTERM stops it: what it carries is let go and taken up by another worker.
    """
    from edgemgr.app import open_app
    from edgemgr.cli.crew import Crew, start_logging, stop_on_signals
    from edgemgr.settings import load_settings

    settings = load_settings(zones=zone or None)
    start_logging()
    stop = stop_on_signals()
    with open_app(settings) as appliance:
        crew = Crew(appliance, 1, stop)
        crew.start()
        # Not stop.wait(): the signal's handler sets the event in this very thread.
        while not stop.is_set():
            time.sleep(_LOOK_S)
        crew.join()
    if crew.fault is not None:
        raise crew.fault
