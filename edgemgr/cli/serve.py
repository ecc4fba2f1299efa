"""`edgemgr serve`: console and workers in one process."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from edgemgr.cli.crew import ZoneOption

#: How often the process looks whether it is to stop, seconds.
_LOOK_S = 0.2


def register(app: typer.Typer) -> None:
    """Add `serve` to the command line."""
    app.command("serve")(serve)


def serve(
    listen: Annotated[
        str | None, typer.Option("--listen", metavar="ADDRESS:PORT", help="Where the console listens; local only.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=0, max=16, help="Workers in this process; 0 for the console alone.")
    ] = None,
    zone: ZoneOption = None,
) -> None:
    """Run the console and the workers. Ctrl-C or SIGTERM stops them.

    The console has no login yet and therefore listens on this machine only. Reach it from elsewhere through SSH:
    ssh -L 8080:127.0.0.1:8080 APPLIANCE
    """
    from edgemgr.app import open_app
    from edgemgr.cli.crew import Crew, start_logging, stop_on_signals
    from edgemgr.settings import load_settings
    from edgemgr.web.http_server import HttpServer
    from edgemgr.web.listen import ListenAddress
    from edgemgr.web.server import make_console

    settings = load_settings(listen=listen, workers=workers, zones=zone or None)
    address = ListenAddress.parse(settings.listen)
    with address.bind() as listener, open_app(settings) as appliance:
        start_logging()
        stop = stop_on_signals()
        console = make_console(appliance)
        server = HttpServer(console, listener)
        crew = Crew(appliance, settings.workers, stop)
        server.start()
        crew.start()
        console.state.imports.add_whole()
        url = ListenAddress(address.host, listener.getsockname()[1]).url
        typer.echo(f"console: {url}  workers: {settings.workers}  (Ctrl-C stops)", err=True)
        try:
            # Not stop.wait(): the signal's handler sets the event in this very thread.
            while not stop.is_set() and server.is_running():
                time.sleep(_LOOK_S)
        finally:
            stop.set()
            server.stop()
            console.state.imports.stop()
            crew.join()
    typer.echo("stopped", err=True)
    if crew.fault is not None:
        raise crew.fault
