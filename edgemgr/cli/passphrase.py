"""The passphrase of signing keys: from a file or typed, never from an argument."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from edgemgr.errors import BundleError, UsageError

T = TypeVar("T")

_LIMIT_BYTES = 1024

PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="File with the passphrase of the keys; typed without it."),
]


def passphrase_of(file: Path | None) -> bytes | None:
    """What a file holds, without the end of its line; None without a file.

    Raises:
        UsageError: it cannot be read, or is no passphrase (E-BUNDLE-PASSPHRASE).
    """
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            text = opened.read(_LIMIT_BYTES + 2).rstrip(b"\r\n")
    except OSError as exc:
        raise _fault(f"{file} cannot be read: {exc.strerror}") from exc
    return _checked(text)


def typed_passphrase(prompt: str, *, twice: bool = False) -> bytes:
    """Ask for it on the terminal.

    Raises:
        UsageError: there is no terminal, or what was typed does not serve (E-BUNDLE-PASSPHRASE).
    """
    from getpass import getpass

    if not sys.stdin.isatty():
        raise _fault("the passphrase of the keys cannot be asked for here")
    text = getpass(prompt, stream=sys.stderr)
    if twice and getpass("Again: ", stream=sys.stderr) != text:
        raise _fault("the two are not the same")
    return _checked(text.encode())


def with_passphrase(action: Callable[[bytes | None], T], file: Path | None) -> T:
    """Do something with keys, and ask for their passphrase only when they have one that no file gives."""
    given = passphrase_of(file)
    try:
        return action(given)
    except BundleError as exc:
        if given is not None or exc.code != "E-BUNDLE-PASSPHRASE" or not sys.stdin.isatty():
            raise
    return action(typed_passphrase("Passphrase of the keys: "))


def _checked(text: bytes) -> bytes:
    if not 0 < len(text) <= _LIMIT_BYTES:
        raise _fault(f"a passphrase has 1 to {_LIMIT_BYTES} bytes")
    return text


def _fault(message: str) -> UsageError:
    return UsageError(
        message,
        hint="Type it, or give a file that only you can read with --passphrase-file.",
        code="E-BUNDLE-PASSPHRASE",
    )
