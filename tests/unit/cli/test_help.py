"""The help of every command, as a newcomer reads it."""

from __future__ import annotations

import re
import subprocess
import sys

import click
import pytest
from tests_support.command_tree import Command, every_command
from typer.testing import CliRunner

from edgemgr.cli.main import app

COMMANDS = every_command()
PARAMETERS = [
    pytest.param(command, parameter, id=f"{command} {parameter.name}")
    for command in COMMANDS
    for parameter in command.node.params
]
HEAVY = ("ansible_runner", "kubernetes", "fastapi", "uvicorn", "paramiko")


def shown(command: Command) -> str:
    done = CliRunner().invoke(app, [*command.path, "-h"], prog_name="edgemgr", env={"COLUMNS": "100"})
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_every_command_says_what_it_does_in_a_sentence(command: Command) -> None:
    first = re.split(r"(?<=\.)\s", (command.node.help or "").replace("\n", " "))[0]
    assert re.fullmatch(r"[A-Zk].{10,}\.", first), command.node.help


@pytest.mark.parametrize(
    ("command", "parameter"), PARAMETERS, ids=lambda item: getattr(item, "name", None) or str(item)
)
def test_every_option_and_argument_says_what_it_is_for(command: Command, parameter: click.Parameter) -> None:
    text = getattr(parameter, "help", None) or ""
    assert re.fullmatch(r"[^\n]{4,}\.", text), f"{command} {parameter.name}: {text!r}"


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_the_help_of_every_command_fits_a_terminal_and_has_no_boxes(command: Command) -> None:
    text = shown(command)
    assert text.startswith(f"Usage: {command} [OPTIONS]")
    assert max(map(len, text.splitlines())) <= 100
    assert not re.search("[\u2500-\u257f]", text), "a box"
    assert "\x1b" not in text


def test_the_list_of_commands_shows_each_first_sentence_whole() -> None:
    cut = [line for line in shown(COMMANDS[0]).splitlines() if line.endswith("...") and not line.startswith("Usage")]
    assert cut == []


def test_help_is_shown_without_loading_what_only_some_commands_need() -> None:
    program = (
        "import sys\n"
        "from edgemgr.cli.main import main\n"
        "sys.argv = ['edgemgr', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
