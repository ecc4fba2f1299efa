"""Every `edgemgr` command that a document, a hint or a help text names exists, with the options it is named with."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests_support.command_tree import root

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = sorted(path for part in ("edgemgr", "playbooks") for path in (ROOT / part).rglob("*.py"))
CONSOLE = re.compile(r"^\$ (edgemgr .*)$", re.MULTILINE)
QUOTED = re.compile(r"`(edgemgr [^`]+)`")
#: Where the words that belong to the shell begin.
SHELL = re.compile(r" (?:#|&|\||>|<|&&).*")


def texts(source: Path) -> Iterator[str]:
    """Every text in a program, its parts joined; what is filled in at run time shows as X."""
    inside: set[ast.AST] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.JoinedStr):
            inside.update(node.values)
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inside:
            yield node.value


def fault(line: str) -> str | None:
    """What is wrong with a command as somebody wrote it; None when nothing is."""
    command = root()
    words = shlex.split(SHELL.sub("", line.replace("\n", " ").replace("…", "X")))[1:]
    while words and command.children:
        if words[0].startswith("-") or not words[0].islower():
            break
        default = getattr(command.node, "default", None)  # as in `stage BUNDLE`, which is `stage start BUNDLE`
        if default and words[0].split("|")[0] not in command.children:
            break
        names = words.pop(0).split("|")  # as in `list|show`
        if unknown := set(names) - set(command.children):
            return f"there is no command {', '.join(sorted(unknown))}"
        command = command.child(names[0])
    if default := getattr(command.node, "default", None):
        command = command.child(default)
    named = {word.partition("=")[0] for word in words[: words.index("--") if "--" in words else None]}
    unknown = {word for word in named if re.match(r"--?[a-z]", word)} - command.options
    return f"{command} has no {', '.join(sorted(unknown))}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_in_the_documents_exist(page: Path) -> None:
    text = page.read_text()
    faults = {line: why for line in (*CONSOLE.findall(text), *QUOTED.findall(text)) if (why := fault(line))}
    assert faults == {}


def test_commands_in_hints_and_help_texts_exist() -> None:
    named = {line: source for source in SOURCES for text in texts(source) for line in QUOTED.findall(text)}
    assert len(named) > 30, "the search finds what it looks for"
    faults = {f"{source.relative_to(ROOT)}: {line}": why for line, source in named.items() if (why := fault(line))}
    assert faults == {}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("edgemgr site list --filter 'health!=healthy' | head", None),
        ("edgemgr kubectl store-0042 -- get pods -A", None),
        ("edgemgr site liste", "there is no command liste"),
        ("edgemgr site list --selektor region=emea", "edgemgr site list has no --selektor"),
    ],
)
def test_the_search_tells_a_wrong_command_from_a_right_one(line: str, why: str | None) -> None:
    assert fault(line) == why
