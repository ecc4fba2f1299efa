"""`edgemgr upgrade`: bring sites to a version of a bundle; with --plan, what would be done and what blocks it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgemgr.cli.ask import (
    All,
    Choice,
    Deadline,
    DryRun,
    Filter,
    Labels,
    Names,
    Timeout,
    Wait,
    ask_for,
    read_config,
)
from edgemgr.cli.duration import length_text, seconds
from edgemgr.cli.output import Column, Output, OutputOption, emit
from edgemgr.errors import UsageError
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.operation import OperationKind
from edgemgr.model.upgrade import SETTLE_S, SOAK_S, PlanState, UpgradePlan, Verdict, Wish

if TYPE_CHECKING:
    from edgemgr.app import App

_CHECKS_HINT = "Write a list of `name:` with `url:`, or with `command:` as a list of words."

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
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML file of k3s options, in place of those that the site has.")
    ] = None,
    soak: Annotated[
        str, typer.Option("--soak", help="How long all has to be well before a version is accepted: 3m.")
    ] = f"{SOAK_S}s",
    settle: Annotated[
        str, typer.Option("--settle", help="How long it may take after a start until all is well: 10m.")
    ] = f"{SETTLE_S}s",
    site_checks: Annotated[
        Path | None,
        typer.Option("--site-checks", help="YAML list of checks of your own, each with name, and url or command."),
    ] = None,
    skip_blocked: Annotated[
        bool, typer.Option("--skip-blocked", help="Leave out the sites that the plan shows as blocked.")
    ] = False,
    window: Annotated[
        str | None,
        typer.Option(
            "--window", help="Hours in which it may begin, by the sites' own clocks, such as sat,sun 01:00-05:00."
        ),
    ] = None,
    checks: Annotated[bool, typer.Option("--checks", help="With --plan: a line for each check of each site.")] = False,
    selector: Labels = None,
    filter_: Filter = None,
    every: All = False,
    wait: Wait = False,
    timeout: Timeout = "60m",
    deadline: Deadline = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Bring sites to a version of a bundle that lies there.

    With --plan it shows what would be done, and changes nothing. Sites go one minor version at a time. Each node does
    it by itself and needs no link for it: it copies its datastore, exchanges k3s, and accepts the new version only when
    all that ran before runs again. Else it goes back, with its data. A change of the configuration alone takes the same
    road: --config with the version that the site has.
    """
    options = None if config is None else read_config(config)
    wish = Wish(BundleName.parse(bundle), version, window, options)
    choice = (names, selector, filter_, every)
    if plan:
        _show_plan(wish, choice, output, checks=checks)
        return
    if checks:
        raise UsageError(
            "--checks belongs to a plan",
            hint="Add --plan to see what would be done.",
            code="E-UPGRADE-PLAN-ONLY",
        )
    params = {
        "bundle": str(wish.bundle),
        "k3s_config": options,
        "soak_s": int(seconds(soak)),
        "settle_s": int(seconds(settle)),
        "site_checks": _read_checks(site_checks),
        "window": window,
    }
    goal, chosen = _goal(wish, choice, skip_blocked=skip_blocked)
    ask_for(
        OperationKind.UPGRADE,
        {**params, "version": goal},
        chosen,
        wait=wait,
        timeout=timeout,
        deadline=deadline,
        dry_run=dry_run,
        output=output,
    )


def _plans(app: App, wish: Wish, choice: Choice) -> list[UpgradePlan]:
    from edgemgr.cli.choice import chosen_sites
    from edgemgr.inventory.upgrade_outlook import outlook
    from edgemgr.model.timestamp import utc_now

    ids = [site_id for site_id, _ in chosen_sites(app.database, *choice)]
    return outlook(app.database, wish, ids, now=utc_now())


def _show_plan(wish: Wish, choice: Choice, output: Output, *, checks: bool) -> None:
    from edgemgr.app import open_app

    with open_app() as app:
        plans = _plans(app, wish, choice)
    if checks:
        emit(_check_rows(plans), _CHECKS, output, kind="UpgradeCheckList", name=lambda row: f"{row.site}/{row.check}")
    else:
        emit(plans, _PLANS, output, kind="UpgradePlanList", name=lambda row: row.site)
    typer.echo(summary(plans), err=True)


def _goal(wish: Wish, choice: Choice, *, skip_blocked: bool) -> tuple[str, Choice]:
    """The version to end on; the sites that are chosen, without blocked ones where that was asked."""
    from edgemgr.app import open_app

    with open_app() as app:
        plans = _plans(app, wish, choice)
    blocked = [plan for plan in plans if plan.state is PlanState.BLOCKED]
    goal = plans[0].to_version
    if not skip_blocked or not blocked:
        return goal, choice
    for plan in blocked:
        typer.echo(f"left out: {plan.site}: {plan.why} [{plan.code}]", err=True)
    if len(blocked) == len(plans):
        raise UsageError(
            "every site is blocked", hint="Put right what the lines say, then ask again.", code="E-OP-NO-SITE"
        )
    return goal, ([plan.site for plan in plans if plan.state is not PlanState.BLOCKED], None, None, False)


def _read_checks(path: Path | None) -> list[Any]:
    if path is None:
        return []
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise UsageError(f"{path} cannot be read: {exc}", hint=_CHECKS_HINT, code="E-OP-CONFIG") from exc
    if not isinstance(found, list):
        raise UsageError(f"{path} is no list of checks", hint=_CHECKS_HINT, code="E-OP-CONFIG")
    return found


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
