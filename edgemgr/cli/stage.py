"""`edgemgr stage`: bring what a bundle holds to sites ahead of time, and show how far each has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.cli import stage_rules
from edgemgr.cli.ask import All, Deadline, DryRun, Filter, Labels, Names, Timeout, Wait, ask_for
from edgemgr.cli.default_group import StartGroup
from edgemgr.cli.duration import length_text
from edgemgr.cli.output import Column, Output, OutputOption, emit
from edgemgr.cli.size import size_text
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.operation import OperationKind

if TYPE_CHECKING:
    from edgemgr.inventory.stage_forecast import StageForecast
    from edgemgr.store.stage_item import StageItem

app = typer.Typer(
    cls=StartGroup,
    help="Bring what a bundle holds to sites, ahead of time. `stage BUNDLE` is short for `stage start BUNDLE`.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
stage_rules.register(app)

BundleArgument = Annotated[
    str, typer.Argument(metavar="BUNDLE", help="PRODUCT/CHANNEL/NUMBER; `edgemgr bundle list` has them.")
]

_FORECAST: tuple[Column[StageForecast], ...] = (
    Column("site", lambda row: row.site),
    Column("arch", lambda row: row.arch),
    Column("at most", lambda row: size_text(row.most_bytes)),
    Column("rate", lambda row: _rate(row.rate_bytes_s)),
    Column("eta", lambda row: _eta(row.soon_s, row.eta_s, row.late_s)),
)
_STATUS: tuple[Column[StageItem], ...] = (
    Column("site", lambda row: row.site),
    Column("bundle", lambda row: row.bundle),
    Column("state", lambda row: f"{row.state}, waits for {row.waiting_for}" if row.waiting_for else row.state),
    Column("done", lambda row: None if row.percent is None else f"{row.percent} %"),
    Column("of", lambda row: None if row.total_bytes is None else size_text(row.total_bytes)),
    Column("rate", lambda row: _rate(row.rate_bytes_s)),
    Column("limit", lambda row: _rate(row.limit_bytes_s), wide=True),
    Column("eta", lambda row: _eta(row.soon_s, row.eta_s, row.late_s)),
    Column("counted", lambda row: row.updated_at, wide=True),
    Column("operation", lambda row: row.operation_id, wide=True),
    Column("why", lambda row: row.message, wide=True),
)


@app.command()
def start(
    bundle: BundleArgument,
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
    """Send what sites lack of a bundle to their nodes, where it lies until it is used.

    Nothing that runs there is disturbed. Only what a node has not travels, layers that images share once; whatever
    cuts the link, it goes on from there. It gives way to everything else that is asked of the site.
    """
    wanted = str(BundleName.parse(bundle))
    choice = (names, selector, filter_, every)
    if dry_run:
        _forecast(wanted, choice, output)
        return
    ask_for(
        OperationKind.STAGE,
        {"bundle": wanted},
        choice,
        wait=wait,
        timeout=timeout,
        deadline=deadline,
        dry_run=False,
        output=output,
    )


@app.command()
def status(
    names: Names = None,
    selector: Labels = None,
    filter_: Filter = None,
    every: All = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show how far the latest stage of each site has come, how fast it goes and how long the rest takes.

    Without a choice of sites all of them are shown that ever were staged. The ETA leaves out times in which the link
    is down or the window closed; its range holds in about 80 of 100 cases.
    """
    from edgemgr.app import open_app
    from edgemgr.cli.choice import chosen_sites
    from edgemgr.store.stage_item import stage_items

    with open_app() as appliance:
        nothing_said = not names and selector is None and filter_ is None
        sites = chosen_sites(appliance.database, names, selector, filter_, every or nothing_said)
        with appliance.database.read() as session:
            items = stage_items(session, [site_id for site_id, _ in sites])
    emit(items, _STATUS, output, kind="StageList", name=lambda row: row.site)


def _forecast(bundle: str, choice: tuple[list[str] | None, str | None, str | None, bool], output: Output) -> None:
    from edgemgr.app import open_app
    from edgemgr.cli.choice import chosen_sites
    from edgemgr.inventory.stage_forecast import forecast
    from edgemgr.operations.submit import check

    with open_app() as appliance:
        ids = [site_id for site_id, _ in chosen_sites(appliance.database, *choice)]
        with appliance.database.read() as session:
            check(session, OperationKind.STAGE, {"bundle": bundle}, ids)
        rows = forecast(appliance.database, appliance.settings, BundleName.parse(bundle), ids)
    emit(sorted(rows, key=lambda row: row.site), _FORECAST, output, kind="StageForecast", name=lambda row: row.site)


def _rate(bytes_s: float | None) -> str | None:
    return None if bytes_s is None else f"{size_text(int(bytes_s))}/s"


def _eta(soon_s: float | None, eta_s: float | None, late_s: float | None) -> str | None:
    if soon_s is None or eta_s is None or late_s is None:
        return None
    return f"{length_text(eta_s)} ({length_text(soon_s)} to {length_text(late_s)})"
