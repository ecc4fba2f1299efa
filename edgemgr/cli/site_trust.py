"""`edgemgr site trust|key|password`: who a site is, and how it lets us in."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from edgemgr.cli.output import Column, Output, OutputOption, emit
from edgemgr.errors import EdgemgrError, SiteLoginError, UsageError

if TYPE_CHECKING:
    from edgemgr.app import App

_PASSWORD_LIMIT = 1024
_SOME_FAILED = 6
_SOME_OWED = 7


@dataclass(frozen=True)
class TrustRow:
    """What `site trust` shows of one site."""

    name: str
    address: str
    port: int
    trust: str
    fingerprint: str | None  #: the pinned one, or the one that waits for an operator's word
    note: str
    code: str


_COLUMNS: list[Column[TrustRow]] = [
    Column("NAME", lambda row: row.name),
    Column("ADDRESS", lambda row: row.address),
    Column("PORT", lambda row: row.port),
    Column("TRUST", lambda row: row.trust),
    Column("FINGERPRINT", lambda row: row.fingerprint),
    Column("NOTE", lambda row: row.note),
    Column("CODE", lambda row: row.code, wide=True),
]


def register(app: typer.Typer) -> None:
    """Add the three commands to `edgemgr site`."""
    for command in (trust, key, password):
        app.command(command.__name__)(command)


def trust(
    names: Annotated[list[str] | None, typer.Argument(metavar="SITE", help="Names of sites.")] = None,
    selector: Annotated[str | None, typer.Option("-l", "--selector", help="Sites with these labels.")] = None,
    filter_: Annotated[str | None, typer.Option("--filter", help="Sites by any field: trust=seen.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All sites.")] = False,
    seen: Annotated[bool, typer.Option("--seen", help="Take the keys that were seen before; connect to none.")] = False,
    fingerprint: Annotated[
        str | None, typer.Option("--fingerprint", help="Pin this SHA256:… to one site, whatever it shows.")
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why a pin is replaced; kept in the site's history.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Pin what is shown without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Collect and show; pin nothing.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Collect host keys, show them, pin those you confirm. For sites that have none pinned.

    Nothing secret is sent to collect a key. Compare each fingerprint with the one on the node itself:
    ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub. Another key than the pinned one is never accepted here:
    that takes --fingerprint and --reason.
    """
    from edgemgr.app import open_app
    from edgemgr.cli.choice import chosen_sites

    if reason and fingerprint is None:
        raise UsageError("--reason goes with --fingerprint", hint="Say which key it is for.", code="E-TRUST-USAGE")
    with open_app() as app:
        ids = [site_id for site_id, _ in chosen_sites(app.database, names, selector, filter_, every)]
        if fingerprint is not None:
            notes = _pin_one(app, ids, fingerprint, reason, dry_run=dry_run)
        else:
            notes = {} if seen else _collect(app, ids)
            waiting = [row for row in _rows(app, ids, notes) if row.trust == "seen" and not row.code]
            if waiting and not dry_run and (yes or _confirmed(waiting)):
                notes |= _pin_shown(app, ids, waiting)
        rows = _rows(app, ids, notes)
    emit(rows, _COLUMNS, output, kind="SiteTrustList", name=lambda row: row.name)
    if any(row.code for row in rows):
        raise typer.Exit(_SOME_FAILED)
    if any(row.trust != "pinned" for row in rows) and not dry_run:
        raise typer.Exit(_SOME_OWED)


def key(name: Annotated[str, typer.Argument(metavar="SITE", help="Name of the site.")]) -> None:
    """Print the key made for a site, for its authorized_keys."""
    from edgemgr.app import open_app
    from edgemgr.inventory.access import ensure_key
    from edgemgr.links.access_key import SITE_OPTIONS, jump_options
    from edgemgr.store import queries

    with open_app() as app:
        with app.database.read() as session:
            site = queries.get_site(session, name)
        public = ensure_key(app.database, app.vault, site.id or 0)
    typer.echo(f"{SITE_OPTIONS} {public}")
    if site.jump_address:
        typer.echo(f"The jump host {site.jump_address} needs this line:", err=True)
        typer.echo(f"{jump_options(site.address, site.port)} {public}", err=True)


def password(name: Annotated[str, typer.Argument(metavar="SITE", help="Name of the site.")]) -> None:
    """Give the password for the first login. It is typed, or read from standard input.

    It is sealed, used once after the host key is pinned, to install the site's own key, and then erased.
    """
    from edgemgr.app import open_app
    from edgemgr.model.event import Reason
    from edgemgr.model.secret import Secret, SecretName
    from edgemgr.settings import current_actor
    from edgemgr.store import events, host_keys, queries, secrets

    with open_app() as app:
        with app.database.read() as session:
            site = queries.get_site(session, name)
            if host_keys.pinned_on_first_use(session, site.id or 0):
                raise SiteLoginError(
                    f"site {name} was pinned without an operator's look: no password is sent to it",
                    hint="Pin it after comparing its key on the node (--fingerprint and --reason of `site trust`), "
                    "or place the key of `edgemgr site key` there.",
                    code="E-TRUST-PASSWORD",
                )
        secret = Secret(_read_password(f"Password of {site.user} at {site.address}: "))
        with app.database.write() as session:
            secrets.put(session, app.vault, site.id or 0, SecretName.PASSWORD, secret)
            events.record(
                session,
                Reason.SITE_CHANGED,
                "a password for the first login was given",
                actor=current_actor(),
                site_id=site.id,
                site_name=name,
            )
    typer.echo(f"sealed; it is used once, when site {name} is next reached, and then erased", err=True)


def _read_password(prompt: str) -> str:
    if sys.stdin.isatty():
        from getpass import getpass

        text = getpass(prompt, stream=sys.stderr)
    else:
        text = sys.stdin.read(_PASSWORD_LIMIT + 1).rstrip("\r\n")
    if not text or len(text) > _PASSWORD_LIMIT or not text.isprintable():
        raise UsageError(
            f"a password has 1 to {_PASSWORD_LIMIT} printable characters",
            hint="Type it, or send it on standard input.",
            code="E-TRUST-USAGE",
        )
    return text


def _collect(app: App, ids: list[int]) -> dict[int, EdgemgrError]:
    """Ask the sites that have no full pin yet; returns what went wrong, by site."""
    from edgemgr.inventory.key_scan import scan_sites
    from edgemgr.model.site import Site, Trust
    from edgemgr.settings import current_actor

    with app.database.read() as session:
        sites = [site for site_id in ids if (site := session.get(Site, site_id)) is not None]
        asked = [
            site.id or 0
            for site in sites
            if site.trust in (Trust.UNKNOWN, Trust.SEEN) or (site.trust == Trust.PINNED and site.host_key is None)
        ]
    results = scan_sites(app.database, app.vault, app.settings, asked, actor=current_actor())
    return {result.site_id: result.error for result in results if result.error is not None}


def _pin_one(app: App, ids: list[int], fingerprint: str, reason: str, *, dry_run: bool) -> dict[int, EdgemgrError]:
    from edgemgr.inventory.trust import pin
    from edgemgr.model.site import Site
    from edgemgr.settings import current_actor

    if len(ids) != 1:
        raise UsageError(
            f"--fingerprint is for one site, {len(ids)} were chosen",
            hint="Every host has a key of its own; many come in by the host_key column of a CSV.",
            code="E-TRUST-USAGE",
        )
    # The same code for a dry run: what a reading session changes is never committed.
    with app.database.read() if dry_run else app.database.write() as session:
        site = session.get_one(Site, ids[0], with_for_update=True)
        pin(session, site, fingerprint, actor=current_actor(), reason=reason)
    if dry_run:
        typer.echo(f"{fingerprint} would be pinned to {site.name}", err=True)
    return {}


def _pin_shown(app: App, ids: list[int], shown: list[TrustRow]) -> dict[int, EdgemgrError]:
    from edgemgr.inventory.trust import pin_seen
    from edgemgr.model.site import Site
    from edgemgr.settings import current_actor

    fingerprints = {row.name: row.fingerprint for row in shown}
    failed: dict[int, EdgemgrError] = {}
    for site_id in ids:
        try:
            with app.database.write() as session:
                site = session.get(Site, site_id, with_for_update=True)
                if site is not None and (confirmed := fingerprints.get(site.name)):
                    pin_seen(session, site, confirmed, actor=current_actor())
        except EdgemgrError as exc:
            failed[site_id] = exc
    return failed


def _rows(app: App, ids: list[int], notes: dict[int, EdgemgrError]) -> list[TrustRow]:
    from edgemgr.links.host_keys import fingerprint
    from edgemgr.model.site import Site, Trust

    rows = []
    with app.database.read() as session:
        for site_id in ids:
            site = session.get(Site, site_id)
            if site is None:
                continue
            seen = fingerprint(site.host_key_seen) if site.host_key_seen else None
            error = notes.get(site_id)
            note, code = (error.message, error.code) if error else ("", "")
            if site.trust == Trust.MISMATCH:
                note, code = f"showed {seen}", "E-SITE-IDENTITY-MISMATCH"
            rows.append(
                TrustRow(
                    name=site.name,
                    address=site.address,
                    port=site.port,
                    trust=site.trust,
                    fingerprint=seen if site.trust == Trust.SEEN else site.host_key_fingerprint,
                    note=note,
                    code=code,
                )
            )
    return rows


def _confirmed(rows: list[TrustRow]) -> bool:
    for row in rows:
        typer.echo(f"  {row.name}  {row.address}:{row.port}  {row.fingerprint}", err=True)
    if not sys.stdin.isatty():
        typer.echo("nothing was pinned: nobody can be asked here; add --yes after comparing them", err=True)
        return False
    answer = typer.prompt(
        f"Pin these {len(rows)} keys? Compare them on the nodes first. [y/N]",
        default="n",
        show_default=False,
        prompt_suffix=" ",
        err=True,
    )
    return bool(answer.strip().lower() in ("y", "yes"))
