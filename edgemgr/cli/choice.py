"""Which sites a command means: by name, by selector, or all of them; and asking before much is changed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from edgemgr.errors import ConflictError, UsageError
from edgemgr.store.database import Database, Session

#: Above this many sites a confirmation is typed as the number, not as y.
TYPED_ABOVE = 50


def chosen_sites(
    database: Database, names: Sequence[str] | None, labels: str | None, filter_: str | None, every: bool
) -> list[tuple[int, str]]:
    """The sites that a command means, as (id, name) in the order of their names.

    Raises:
        UsageError: nothing or too much was said, or a selector matches no site.
        NotFoundError: a name is unknown.
    """
    with database.read() as session:
        return _choose(session, names, labels, filter_, every)


def _choose(
    session: Session, names: Sequence[str] | None, labels: str | None, filter_: str | None, every: bool
) -> list[tuple[int, str]]:
    from edgemgr.model.selector import EVERY_SITE
    from edgemgr.model.selector_text import parse_filter, parse_labels
    from edgemgr.store import queries
    from edgemgr.store.chosen_sites import names_of

    ways = [bool(names), labels is not None or filter_ is not None, every]
    if sum(ways) != 1:
        raise UsageError(
            "name sites, or use -l/--filter, or --all: exactly one of them",
            hint="`edgemgr site list` shows the sites.",
            code="E-OP-NO-SITE",
        )
    if names:
        ids = queries.ids_of_names(session, [name for text in names for name in _names_of(text)])
    else:
        where = EVERY_SITE
        if labels is not None:
            where &= parse_labels(labels)
        if filter_ is not None:
            where &= parse_filter(filter_)
        ids = queries.site_ids(session, where)
    if not ids:
        raise UsageError(
            "no site matches", hint="`edgemgr site list` with the same selector shows what does.", code="E-OP-NO-SITE"
        )
    names_by_id = names_of(session, ids)
    return [(site_id, names_by_id[site_id]) for site_id in ids]


def _names_of(text: str) -> list[str]:
    """`-` means names from standard input, one a line."""
    return [line.strip() for line in sys.stdin if line.strip()] if text == "-" else [text]


def confirm_sites(what: str, names: Sequence[str]) -> None:
    """Ask before something that cannot be undone.

    Raises:
        ConflictError: the answer was no, or nobody could be asked.
    """
    sample = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")  # noqa: PLR2004 - a sample
    typer.echo(f"{what} {len(names)} site(s): {sample}", err=True)
    if not sys.stdin.isatty():
        raise ConflictError("nobody can be asked here", hint="Add --yes if you are certain.", code="E-USAGE-CONFIRM")
    expected = str(len(names)) if len(names) > TYPED_ABOVE else "y"
    answer = typer.prompt(f"Type {expected} to go on", default="", show_default=False, err=True)
    if answer.strip().lower() != expected:
        raise ConflictError("nothing was changed", hint="", code="E-USAGE-CONFIRM")
