"""`edgemgr`: every command, and the one place where errors become text and an exit status."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from typing import Annotated

import typer

from edgemgr import __version__
from edgemgr.cli import (
    ask,
    backup,
    bundle,
    certificates,
    database,
    doctor,
    event,
    expiry,
    group,
    kubectl,
    lab,
    operation,
    queue,
    receipt,
    release,
    serve,
    site,
    site_trust,
    stage,
    tidy,
    token,
    upgrade,
    worker,
)
from edgemgr.errors import EdgemgrError

EXIT_CODES = """\
Exit status: 0 done · 1 failed · 2 wrong usage or input · 3 not found · 5 in conflict with what exists or runs ·
6 some sites failed · 7 some sites are still owed · 130 interrupted."""

app = typer.Typer(
    name="edgemgr",
    help="Bring up, watch and heal single-node k3s clusters at many remote sites, over nothing but SSH.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgemgr {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


site_trust.register(site.app)
app.add_typer(site.app, name="site")
app.add_typer(group.app, name="group")
app.add_typer(release.app, name="release")
app.add_typer(bundle.app, name="bundle")
app.add_typer(receipt.app, name="receipt")
ask.register(app)
app.add_typer(stage.app, name="stage")
upgrade.register(app)
expiry.register(app)
app.add_typer(certificates.app, name="certificates")
app.add_typer(token.app, name="token")
tidy.register(app)
app.add_typer(backup.app, name="backup")
app.add_typer(operation.app, name="operation")
app.add_typer(queue.app, name="queue")
app.add_typer(event.app, name="event")
worker.register(app)
serve.register(app)
kubectl.register(app)
app.add_typer(database.app, name="database")
doctor.register(app)
app.add_typer(lab.app, name="lab")


def main() -> None:
    """Run a command. No traceback reaches a user: what was not foreseen is written to a file and named."""
    try:
        app()
    except EdgemgrError as exc:
        typer.echo(f"error: {exc.message}", err=True)
        if exc.hint:
            typer.echo(f"hint: {exc.hint}", err=True)
        typer.echo(f"code: {exc.code} (docs/errors.md)", err=True)
        sys.exit(exc.exit_status)
    except BrokenPipeError:  # the reader, `head` for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is written down and named
        with tempfile.NamedTemporaryFile("w", prefix="edgemgr-fault-", suffix=".txt", delete=False) as file:
            traceback.print_exc(file=file)
        typer.echo(f"error: a fault of edgemgr itself: {type(exc).__name__}: {exc}", err=True)
        typer.echo(f"hint: The details are in {file.name}; please report them.", err=True)
        typer.echo("code: E-INTERNAL (docs/errors.md)", err=True)
        sys.exit(1)
