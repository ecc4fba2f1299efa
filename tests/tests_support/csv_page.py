"""The table of docs/csv.md, made of the data that the import itself reads."""

from __future__ import annotations

from dataclasses import replace

from edgemgr.inventory.columns import COLUMNS, Column, label_column


def column_table() -> str:
    """Every column of the inventory file as a Markdown table."""
    columns = (*COLUMNS, replace(label_column("KEY"), name="labels.KEY"))
    rows = [f"| `{column.name}` | {column.help} | {_when_empty(column)} | {_example(column)} |" for column in columns]
    return "\n".join(("| column | what it holds | an empty cell | example |", "|---|---|---|---|", *rows))


def _when_empty(column: Column) -> str:
    if column.required:
        return "is refused"
    if column.keep_if_empty:
        return "keeps what is there"
    if column.label is not None:
        return "takes the label away"
    return "takes the value away" if column.default is None else f"means `{column.default}`"


def _example(column: Column) -> str:
    return f"`{column.example}`" if column.example else "none"
