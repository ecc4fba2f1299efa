"""`edgemgr upgrade --plan`: what an upgrade would do at each site of a selection, and what stands against it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from edgemgr.cli.ask import All, Filter, Labels, Names
from edgemgr.cli.duration import length_text
from edgemgr.cli.output import Column, Output, OutputOption, emit
from edgemgr.errors import UsageError
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.upgrade import PlanState, UpgradePlan, Verdict

_STATES = {
    PlanState.READY: "ready",
    PlanState.WARNED: "ready, with warnings",
    PlanState.UP_TO_DATE: "up to date",
    PlanState.BLOCKED: "blocked",
}


@dataclass(frozen=True)
class CheckRow:
    """One check of one site."""

    site: str
    check: str
    verdict: str
    detail: str
    code: str
    hint: str


_PLANS: tuple[Column[UpgradePlan], ...] = (
    Column("site", lambda row: row.site),
    Column("arch", lambda row: row.arch, wide=True),
    Column("from", lambda row: row.from_version),
    Column("to", lambda row: row.to_version),
    Column("hops", lambda row: len(row.hops)),
    Column("way", lambda row: row.way, wide=True),
    Column("staged", lambda row: row.staged),
    Column("at most", lambda row: length_text(row.most_s) if row.hops else None, wide=True),
    Column("state", lambda row: _STATES[row.state]),
    Column("asked there", lambda row: row.count(Verdict.ASK), wide=True),
    Column("observed", lambda row: row.observed_at, wide=True),
    Column("code", lambda row: row.code, wide=True),
    Column("why", lambda row: row.why),
)
_CHECKS: tuple[Column[CheckRow], ...] = (
    Column("site", lambda row: row.site),
    Column("check", lambda row: row.check),
    Column("verdict", lambda row: "asked there" if row.verdict == Verdict.ASK else row.verdict),
    Column("code", lambda row: row.code, wide=True),
    Column("detail", lambda row: row.detail),
    Column("hint", lambda row: row.hint, wide=True),
)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("upgrade")(upgrade)


def upgrade(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="PRODUCT/CHANNEL/NUMBER; `edgemgr bundle list` has them.")
    ],
    names: Names = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would be done at each site; changes nothing.")
    ] = False,
    version: Annotated[
        str | None, typer.Option("--version", help="The k3s version to end on; the newest of the bundle without it.")
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            "--window", help="Hours in which sites may be disturbed, by their own clocks: sat,sun 01:00-05:00."
        ),
    ] = None,
    checks: Annotated[bool, typer.Option("--checks", help="With --plan: a line for each check of each site.")] = False,
    selector: Labels = None,
    filter_: Filter = None,
    every: All = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Plan how sites get to the version of a bundle.

    They go one minor version at a time, and each step has its own backup and verdict. Every site is shown with its way
    and with what blocks it. Nothing is asked of a site yet: what is said of its node is as old as the last observation.
    """
    if not plan:
        raise UsageError(
            "this edgemgr plans upgrades and does not carry them out yet",
            hint="Add --plan to see what would be done.",
            code="E-UPGRADE-PLAN-ONLY",
        )
    from edgemgr.app import open_app
    from edgemgr.cli.choice import chosen_sites
    from edgemgr.inventory.upgrade_outlook import Wish, outlook
    from edgemgr.model.timestamp import utc_now

    wish = Wish(BundleName.parse(bundle), version, window)
    with open_app() as appliance:
        ids = [site_id for site_id, _ in chosen_sites(appliance.database, names, selector, filter_, every)]
        plans = outlook(appliance.database, wish, ids, now=utc_now())
    if checks:
        emit(_check_rows(plans), _CHECKS, output, kind="UpgradeCheckList", name=lambda row: f"{row.site}/{row.check}")
    else:
        emit(plans, _PLANS, output, kind="UpgradePlanList", name=lambda row: row.site)
    typer.echo(summary(plans), err=True)


def summary(plans: Sequence[UpgradePlan]) -> str:
    """One line: how many sites are in which state, and why those are blocked that are."""
    states = Counter(plan.state for plan in plans)
    codes = Counter(plan.code for plan in plans if plan.state is PlanState.BLOCKED)
    told = [f"{states[state]} {text}" for state, text in _STATES.items() if states[state]]
    why = ", ".join(f"{code} {number}" for code, number in codes.most_common())
    return f"{len(plans)} site(s): {'; '.join(told)}" + (f" ({why})" if why else "")


def _check_rows(plans: Sequence[UpgradePlan]) -> list[CheckRow]:
    return [
        CheckRow(plan.site, check.check, check.verdict, check.detail, check.code, check.hint)
        for plan in plans
        for check in plan.checks
    ]
