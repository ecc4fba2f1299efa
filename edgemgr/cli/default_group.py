"""A group of commands of which one may be left out: `edgemgr stage BUNDLE` is `edgemgr stage start BUNDLE`."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


class StartGroup(TyperGroup):
    """What begins with none of the group's commands is one of `start`."""

    default = "start"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in where it was left out."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [self.default, *args]
        return super().parse_args(ctx, args)
