"""The file with the appliance's key: made once, whole or not at all, and readable by its owner only."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from edgemgr.errors import VaultError

KEY_BYTES = 32

#: systemd puts credentials here and lets a service in by an access list, which shows as a group bit (systemd.exec(5)).
_CREDENTIALS = Path("/run/credentials")
_READ_LIMIT = 4096


def read_or_make(path: Path) -> bytes:
    """Read the key in `path` (64 hexadecimal digits); a new one is written there if the file does not exist.

    Raises:
        VaultError: the file cannot be read or made (E-VAULT-KEY-FILE), is not private to us (E-VAULT-KEY-OPEN),
            or holds no key (E-VAULT-KEY-FORMAT).
    """
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    except OSError as exc:
        raise _unusable(path, exc) from exc
    try:
        _make(path)
        return _read(path)
    except OSError as exc:
        raise _unusable(path, exc) from exc


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - an open descriptor: what was checked is what is read
        _check_private(path, os.fstat(descriptor))
        text = file.read(_READ_LIMIT)
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise VaultError(
            f"{path} is no key file: it must hold {2 * KEY_BYTES} hexadecimal digits",
            hint="Restore the key file from its backup. A new one cannot open the secrets that are stored.",
            code="E-VAULT-KEY-FORMAT",
        )
    return key


def _check_private(path: Path, status: os.stat_result) -> None:
    others = stat.S_IRWXO if path.is_relative_to(_CREDENTIALS) else stat.S_IRWXG | stat.S_IRWXO
    fault = ""
    if not stat.S_ISREG(status.st_mode):
        fault = "is no regular file"
    elif status.st_uid not in (0, os.geteuid()):
        fault = f"belongs to user {status.st_uid}"
    elif status.st_mode & others:
        fault = f"may be used by others (mode {stat.S_IMODE(status.st_mode):04o})"
    if fault:
        raise VaultError(
            f"the key file {path} {fault}",
            hint=f"If nobody else can have read it: chown it to the user of edgemgr and `chmod 0400 {path}`.",
            code="E-VAULT-KEY-OPEN",
        )


def _make(path: Path) -> None:
    """Write the file under another name and link it into place: nobody sees half a key, and the first one wins."""
    new = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    try:
        with open(descriptor, "w") as file:  # noqa: PTH123
            file.write(os.urandom(KEY_BYTES).hex() + "\n")
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            os.link(new, path)
    finally:
        new.unlink()
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _unusable(path: Path, exc: OSError) -> VaultError:
    return VaultError(
        f"the key file {path} cannot be used: {exc.strerror}",
        hint="Run edgemgr as the user who owns it, or set EDGEMGR_KEY_FILE.",
        code="E-VAULT-KEY-FILE",
    )
