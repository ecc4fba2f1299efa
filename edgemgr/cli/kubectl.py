"""`edgemgr kubectl` and `edgemgr kubeconfig`: an operator's way to one cluster, through SSH, leaving nothing behind."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.errors import ConfigurationError, SiteIdentityError

if TYPE_CHECKING:
    from edgemgr.links.connection import Connection

_A_DAY_S = 86400.0
_KEEPALIVE_S = 30
_POLL_S = 1.0

SiteName = Annotated[str, typer.Argument(metavar="SITE", help="Name of the site.")]


def register(app: typer.Typer) -> None:
    """Add both commands to the command line."""
    app.command("kubectl", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(kubectl)
    app.command("kubeconfig")(kubeconfig)


def kubectl(
    site: SiteName,
    args: Annotated[list[str] | None, typer.Argument(metavar="ARGS", help="What kubectl is to do, after --.")] = None,
    on_site: Annotated[bool, typer.Option("--on-site", help="Use the kubectl in the site's own k3s.")] = False,
) -> None:
    """Run kubectl against a site. For example: edgemgr kubectl store-0007 -- get pods -A.

    Uses this machine's kubectl through an SSH tunnel; without one, the site's own. Its exit status is ours.
    """
    from edgemgr.settings import program_environment

    arguments = args[1:] if args and args[0] == "--" else args or []
    environment = program_environment()
    program = None if on_site else shutil.which("kubectl", path=environment["PATH"])
    with _connect(site) as connection:
        if program is None:
            status = _on_site(connection, arguments)
        else:
            status = _through_tunnel(connection, [program, *arguments], environment)
    raise typer.Exit(status)


def kubeconfig(
    site: SiteName,
    listen: Annotated[int, typer.Option("--listen", min=0, max=65535, help="Local port; 0 takes a free one.")] = 0,
    print_only: Annotated[
        bool, typer.Option("--print", help="Print and end; a tunnel must be opened by another command.")
    ] = False,
) -> None:
    """Print a kubeconfig for a site, and keep its tunnel open. Ctrl-C ends it.

    It holds the administrator's key of that cluster, and Kubernetes cannot take such a key back: keep no copy.
    """
    from edgemgr.links.kube import required_kubeconfig
    from edgemgr.links.tunnel import K3S_API_PORT, open_tunnel

    with _connect(site) as connection:
        found = required_kubeconfig(connection)
        if print_only:
            typer.echo(found.render(connection.name, listen or K3S_API_PORT).reveal())
            return
        with open_tunnel(connection, host=found.host, port=found.port, listen_port=listen) as port:
            typer.echo(found.render(connection.name, port).reveal())
            sys.stdout.flush()
            typer.echo(f"127.0.0.1:{port} leads to the API of {connection.name} until Ctrl-C", err=True)
            _wait_for_end(connection)


def _connect(name: str) -> Connection:
    """Connect to a site by its name; the appliance's state is closed again when this returns."""
    from edgemgr.app import open_app
    from edgemgr.inventory.access import note_mismatch, open_target
    from edgemgr.links.ssh import connect
    from edgemgr.settings import current_actor
    from edgemgr.store import queries

    with open_app() as app:
        with app.database.read() as session:
            site_id = queries.get_site(session, name).id or 0
        target = open_target(app.database, app.vault, app.settings, site_id, actor=current_actor())
        try:
            connection = connect(target, timeout_s=app.settings.connect_timeout_s)
        except SiteIdentityError as exc:
            note_mismatch(app.database, site_id, exc, actor=current_actor())
            raise
    connection.transport.set_keepalive(_KEEPALIVE_S)
    return connection


def _on_site(connection: Connection, arguments: list[str]) -> int:
    from edgemgr.links.stream import stream

    asked = f"k3s kubectl {shlex.join(arguments)}"
    script = f'if [ "$(id -u)" -eq 0 ]; then exec {asked}; else exec sudo -n {asked}; fi'
    command = f"/bin/sh -c {shlex.quote(script)}"  # the user's own shell may be another
    return stream(connection, command, stdin=sys.stdin.buffer, stdout=sys.stdout.buffer, stderr=sys.stderr.buffer)


def _through_tunnel(connection: Connection, command: list[str], environment: dict[str, str]) -> int:
    from edgemgr.links.kube import required_kubeconfig
    from edgemgr.links.tunnel import open_tunnel

    found = required_kubeconfig(connection)
    # The kubeconfig is in memory and has no name. kubectl keeps what it learns of a server by address, and ours is
    # another cluster behind the same address the next time: its cache ends with it.
    with (
        open_tunnel(connection, host=found.host, port=found.port) as port,
        tempfile.TemporaryDirectory(prefix="edgemgr-kubectl-") as cache,
    ):
        memory = os.memfd_create("edgemgr-kubeconfig", 0)
        try:
            os.write(memory, found.render(connection.name, port).reveal().encode())
            child = environment | {"KUBECONFIG": f"/proc/self/fd/{memory}", "KUBECACHEDIR": cache}
            return subprocess.run(command, env=child, pass_fds=[memory], timeout=_A_DAY_S, check=False).returncode
        except OSError as exc:
            raise ConfigurationError(
                f"{command[0]} cannot be started: {exc.strerror}", hint="Mend it, or use --on-site.", code="E-KUBECTL"
            ) from exc
        except subprocess.TimeoutExpired as exc:
            raise ConfigurationError("kubectl ran for a day and was ended", hint="", code="E-KUBECTL") from exc
        finally:
            os.close(memory)


def _wait_for_end(connection: Connection) -> None:
    never = threading.Event()
    try:
        while connection.transport.is_active():
            never.wait(_POLL_S)
    except KeyboardInterrupt:
        return
    typer.echo(f"the connection to {connection.name} was lost", err=True)
    raise typer.Exit(1)
