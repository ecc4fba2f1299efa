"""`edgemgr bootstrap|verify|probe|reset`: ask for one kind of operation on the sites that were chosen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from edgemgr.cli.duration import seconds
from edgemgr.cli.output import Column, Output, emit_one
from edgemgr.errors import UsageError
from edgemgr.model.operation import OperationKind

Names = Annotated[list[str] | None, typer.Argument(metavar="SITE", help="Names of sites.")]
Labels = Annotated[str | None, typer.Option("-l", "--selector", help="Sites with these labels: region=emea,tier!=lab.")]
Filter = Annotated[
    str | None, typer.Option("--filter", help="Sites by any field: health=failing k3s<v1.33 name~store-0.")
]
All = Annotated[bool, typer.Option("--all", help="All sites.")]
Wait = Annotated[bool, typer.Option("--wait", help="Show progress until every site is done; exit 0, 6 or 7.")]
Timeout = Annotated[str, typer.Option("--timeout", help="How long --wait waits: 90s, 15m, 2h.")]
Deadline = Annotated[
    str | None, typer.Option("--deadline", help="How long the request lives while sites are away: 12h, 7d.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say which sites it would be, and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
OutputOption = Annotated[
    Output, typer.Option("-o", "--output", help="Form of the output: table, json, jsonl, yaml or name.")
]

#: Which sites a command means: names, labels, filter, all of them.
Choice = tuple[list[str] | None, str | None, str | None, bool]


@dataclass(frozen=True)
class Asked:
    """What a command asked for, as it is printed."""

    operation: str
    request: str | None
    sites: tuple[str, ...]
    params: dict[str, Any]
    dry_run: bool = False


_FIELDS: tuple[Column[Asked], ...] = (
    Column("operation", lambda asked: asked.operation),
    Column("sites", lambda asked: ", ".join(asked.sites)),
    Column("parameters", lambda asked: asked.params),
    Column("dry run", lambda asked: asked.dry_run),
)


def _tell(asked: Asked, output: Output) -> None:
    emit_one(asked, _FIELDS, output, kind="Request", name=lambda asked: asked.request or asked.operation)


def register(app: typer.Typer) -> None:
    """Add the four commands to the command line."""
    for command in (bootstrap, verify, probe, reset):
        app.command(command.__name__)(command)


def bootstrap(
    names: Names = None,
    version: Annotated[
        str | None, typer.Option("--version", help="The k3s version, for example v1.33.5+k3s1; see `release list`.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file merged into k3s' config.yaml.")] = None,
    selector: Labels = None,
    filter_: Filter = None,
    every: All = False,
    wait: Wait = False,
    timeout: Timeout = "30m",
    deadline: Deadline = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Bring up k3s on sites, or converge those that have it.

    A site that runs another version is refused and left as it is.
    """
    if version is None:
        raise UsageError(
            "bootstrap needs the k3s version",
            hint="Add --version; `edgemgr release list` shows what is there.",
            code="E-OP-VERSION",
        )
    params = {"version": version, "k3s_config": read_config(config)}
    ask_for(
        OperationKind.BOOTSTRAP,
        params,
        (names, selector, filter_, every),
        wait=wait,
        timeout=timeout,
        deadline=deadline,
        dry_run=dry_run,
        output=output,
    )


def verify(
    names: Names = None,
    selector: Labels = None,
    filter_: Filter = None,
    every: All = False,
    wait: Wait = False,
    timeout: Timeout = "30m",
    deadline: Deadline = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check on the node itself that k3s runs as it should. Changes nothing there."""
    ask_for(
        OperationKind.VERIFY,
        {},
        (names, selector, filter_, every),
        wait=wait,
        timeout=timeout,
        deadline=deadline,
        dry_run=dry_run,
        output=output,
    )


def probe(
    names: Names = None,
    selector: Labels = None,
    filter_: Filter = None,
    every: All = False,
    wait: Wait = False,
    timeout: Timeout = "30m",
    deadline: Deadline = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Look at sites through SSH and the Kubernetes API. Quick; changes nothing."""
    ask_for(
        OperationKind.PROBE,
        {},
        (names, selector, filter_, every),
        wait=wait,
        timeout=timeout,
        deadline=deadline,
        dry_run=dry_run,
        output=output,
    )


def reset(
    names: Names = None,
    selector: Labels = None,
    filter_: Filter = None,
    every: All = False,
    wait: Wait = False,
    timeout: Timeout = "30m",
    deadline: Deadline = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Remove k3s, its workloads and their data from sites. Asks first."""
    ask_for(
        OperationKind.RESET,
        {},
        (names, selector, filter_, every),
        wait=wait,
        timeout=timeout,
        deadline=deadline,
        dry_run=dry_run,
        output=output,
        confirm=None if yes else "reset removes k3s, its workloads and their data from",
    )


def ask_for(
    kind: OperationKind,
    params: dict[str, Any],
    choice: Choice,
    *,
    wait: bool,
    timeout: str,
    deadline: str | None,
    dry_run: bool,
    output: Output,
    confirm: str | None = None,
    called: str = "",
) -> None:
    """Ask for one kind of operation on the sites of a choice, and wait for it where that was wished.

    With `confirm` the operator is asked before: it says what happens, and the sites follow. `called` is how all of it
    is named where the kind is only its first step.
    """
    from edgemgr.app import open_app
    from edgemgr.cli.choice import chosen_sites, confirm_sites
    from edgemgr.cli.wait import wait_for
    from edgemgr.operations.submit import check, submit
    from edgemgr.settings import current_actor

    called = called or kind.value
    deadline_s = seconds(deadline) if deadline else None
    timeout_s = seconds(timeout)
    with open_app() as app:
        sites = chosen_sites(app.database, *choice)
        if dry_run:
            with app.database.read() as session:
                check(session, kind, params, [number for number, _ in sites])
            _tell(Asked(called, None, tuple(name for _, name in sites), params, dry_run=True), output)
            return
        if confirm:
            confirm_sites(confirm, [name for _, name in sites])
        with app.database.write() as session:
            request = submit(
                session, kind, params, [number for number, _ in sites], actor=current_actor(), deadline_s=deadline_s
            )
        asked = set(request.site_ids)
        if left_out := len(sites) - len(asked):
            typer.echo(f"{left_out} site(s) left out: a {called} is under way there, with more to follow", err=True)
        sites = [(number, name) for number, name in sites if number in asked]
        status = wait_for(app.database, request.id, kind=called, timeout_s=timeout_s) if wait else 0
    if output is not Output.TABLE:
        _tell(Asked(called, request.id, tuple(name for _, name in sites), params), output)
    if not wait:
        follow = f"edgemgr operation list --request {request.id}"
        typer.echo(f"{called} queued for {len(sites)} site(s); follow it with `{follow}`", err=True)
    raise typer.Exit(status)


def read_config(path: Path | None) -> dict[str, Any]:
    """The k3s options of a YAML file; none without a file.

    Raises:
        UsageError: it cannot be read, or is no mapping (E-OP-CONFIG).
    """
    if path is None:
        return {}
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise UsageError(
            f"{path} cannot be read: {exc}", hint="It is a YAML file of k3s options.", code="E-OP-CONFIG"
        ) from exc
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise UsageError(f"{path} is no mapping of k3s options", hint="Write `key: value` lines.", code="E-OP-CONFIG")
    return found
