"""The whole command tree of `edgemgr`, as data."""

from __future__ import annotations

from dataclasses import dataclass

import typer.main
from click import Command as Node

from edgemgr.cli.main import app


@dataclass(frozen=True)
class Command:
    """One command or group, and the words that lead to it."""

    path: tuple[str, ...]
    node: Node

    def __str__(self) -> str:
        return " ".join(("edgemgr", *self.path))

    @property
    def children(self) -> dict[str, Node]:
        """The commands of a group; nothing below a command."""
        found: dict[str, Node] = getattr(self.node, "commands", {})
        return found

    @property
    def options(self) -> set[str]:
        """Every spelling of every option."""
        return {"-h", "--help"}.union(*(set(parameter.opts) for parameter in self.node.params))

    def child(self, name: str) -> Command:
        return Command((*self.path, name), self.children[name])


def root() -> Command:
    return Command((), typer.main.get_command(app))


def every_command() -> list[Command]:
    """The program itself, then every group and command."""
    found = [root()]
    for command in found:
        found += [command.child(name) for name in command.children]
    return found
