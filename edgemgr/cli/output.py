"""What commands print: the same rows as a table, as JSON, YAML or CSV, or as bare names. Only data goes to stdout."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Generic, TypeVar

import typer

from edgemgr.cli.table import clean, print_table
from edgemgr.inventory.formula import defuse

API_VERSION = "edgemgr/v1"
_AGE_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))

T = TypeVar("T")


class Output(StrEnum):
    """The forms that a list can take."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    JSONL = "jsonl"
    YAML = "yaml"
    CSV = "csv"
    NAME = "name"


OutputOption = Annotated[Output, typer.Option("-o", "--output", help="Form of the output.")]


@dataclass(frozen=True)
class Column(Generic[T]):
    """One column of a table; CSV has all of them."""

    title: str
    value: Callable[[T], object]
    wide: bool = False  #: shown by `-o wide` only


def emit(
    rows: Iterable[T],
    columns: Sequence[Column[T]],
    output: Output,
    *,
    kind: str,
    name: Callable[[T], str],
    total: int | None = None,
    plain: Callable[[T], dict[str, Any]] | None = None,
) -> None:
    """Print rows on stdout.

    Args:
        rows: what to print.
        columns: the columns of table and CSV. Times are shown as ages in tables, as ISO 8601 elsewhere.
        output: the form.
        kind: what JSON and YAML call the list, such as SiteList.
        name: what `-o name` prints for a row.
        total: how many there are, when `rows` is only a part.
        plain: a row as plain data for JSON and YAML; rows that are dataclasses need none.
    """
    items = list(rows)
    as_plain = plain or _dataclass_to_plain
    match output:
        case Output.NAME:
            sys.stdout.writelines(f"{name(row)}\n" for row in items)
        case Output.JSON:
            _print_json(_envelope(kind, [as_plain(row) for row in items], total))
        case Output.JSONL:
            sys.stdout.writelines(f"{json.dumps(to_plain(as_plain(row)), ensure_ascii=False)}\n" for row in items)
        case Output.YAML:
            _print_yaml(_envelope(kind, [as_plain(row) for row in items], total))
        case Output.CSV:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow([column.title.lower().replace(" ", "_") for column in columns])
            writer.writerows([defuse(_text(column.value(row))) for column in columns] for row in items)
        case _:
            shown = [column for column in columns if output is Output.WIDE or not column.wide]
            print_table(
                [column.title for column in shown], [[_cell(column.value(row)) for column in shown] for row in items]
            )


def emit_one(row: T, fields: Sequence[Column[T]], output: Output, *, kind: str, name: Callable[[T], str]) -> None:
    """Print one thing: a line for each field, or the object alone in JSON and YAML."""
    if output in (Output.TABLE, Output.WIDE):
        width = max(len(field.title) for field in fields) + 2
        for field in fields:
            text = clean(_cell(field.value(row)))
            sys.stdout.write(f"{field.title + ':':{width}}{text}".rstrip() + "\n")
    elif output in (Output.JSON, Output.YAML):
        document = {"apiVersion": API_VERSION, "kind": kind, **_dataclass_to_plain(row)}
        (_print_json if output is Output.JSON else _print_yaml)(document)
    else:
        emit([row], fields, output, kind=kind, name=name)


def print_object(document: dict[str, Any], *, kind: str) -> None:
    """Print one JSON object that is no row of a list, such as the outcome of an import."""
    _print_json({"apiVersion": API_VERSION, "kind": kind, **document})


def age(moment: datetime | None, now: datetime | None = None) -> str:
    """How long ago, in the largest fitting unit: `12s`, `5m`, `3h`, `40d`; `-` for never."""
    if moment is None:
        return "-"
    seconds = max(0, int(((now or datetime.now(UTC)) - moment).total_seconds()))
    for unit_s, letter in _AGE_UNITS:
        if seconds >= unit_s:
            return f"{seconds // unit_s}{letter}"
    return f"{seconds}s"


def to_plain(value: Any) -> Any:
    """Turn times and words into what JSON and YAML know."""
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, datetime):
        return _iso(value)
    return value.value if isinstance(value, StrEnum) else value


def _envelope(kind: str, items: list[dict[str, Any]], total: int | None) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "items": items, "total": len(items) if total is None else total}


def _print_json(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(to_plain(document), indent=2, ensure_ascii=False) + "\n")


def _print_yaml(document: dict[str, Any]) -> None:
    import yaml

    yaml.safe_dump(to_plain(document), sys.stdout, sort_keys=False, allow_unicode=True)


def _dataclass_to_plain(row: Any) -> dict[str, Any]:
    return dataclasses.asdict(row)


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return age(value)
    return _text(value) or "-"


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return _iso(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ",".join(f"{key}={item}" for key, item in value.items())
    return str(value)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
