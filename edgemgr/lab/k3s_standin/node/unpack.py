"""The program unpacks itself into data/HASH at the first start, as the packed k3s binary does."""

from __future__ import annotations

import hashlib
import os
import shutil

from .built import PADDING_BYTES
from .journal import FatalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

SHIM = "containerd-shim-runc-v2"


def unpack(binary: Path, shim: bytes, data_dir: Path) -> None:
    """Unpack, and point `current` at it; what was current becomes `previous`.

    Raises:
        FatalError: there is no room.
    """
    content = binary.read_bytes()
    home = data_dir / "data" / hashlib.sha256(content).hexdigest()
    beside = home.with_name(f"{home.name}-tmp")
    try:
        if not (home / "bin" / SHIM).exists():
            shutil.rmtree(beside, ignore_errors=True)
            (beside / "bin").mkdir(parents=True)
            (beside / "bin/k3s").write_bytes(content[: PADDING_BYTES + 1])
            (beside / "bin" / SHIM).write_bytes(shim)
            (beside / "bin" / SHIM).chmod(0o755)
            beside.rename(home)
        current = home.with_name("current")
        if current.is_symlink() and os.readlink(current) != str(home):  # noqa: PTH115 — the text of the link
            _link(home.with_name("previous"), os.readlink(current))  # noqa: PTH115
        _link(current, str(home))
    except OSError as exc:
        raise FatalError(f"extracting data: {exc.filename or home}: {exc.strerror}") from exc


def _link(path: Path, target: str) -> None:
    beside = path.with_name(f".{path.name}.tmp")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.replace(path)
