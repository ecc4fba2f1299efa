"""Builds the one file that a simulated site gets as /usr/local/bin/k3s."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from edgemgr.errors import LabError
from edgemgr.lab.k3s_standin.elf import elf_file, python_launcher, sleeper
from edgemgr.lab.k3s_standin.node.faults import FAULTS
from edgemgr.model.release import Arch
from edgemgr.model.version import K3sVersion

_PROGRAM = Path(__file__).parent / "node"
_PACKAGE = "k3s_standin"
_MAIN = f"import sys\nfrom {_PACKAGE}.cli import main\nsys.exit(main(sys.argv))\n"


def build_standin(
    version: str, *, arch: str = "amd64", faults: Mapping[str, float] | None = None, padding_bytes: int = 4 << 20
) -> bytes:
    """The stand-in's file: an ELF head, padding that gives it some weight, and the program as a zip archive.

    The same arguments give the same bytes, on any machine.

    Args:
        version: what it says it is, for example `v1.33.5+k3s1`.
        arch: amd64, arm64 or arm; only amd64 can be run.
        faults: what goes wrong with it, see `node/faults.py`.
        padding_bytes: the weight; as much is unpacked at the first start.

    Raises:
        ReleaseError: the version is none.
        LabError: a fault is unknown (E-LAB-FAULT).
    """
    parsed = K3sVersion.parse(version)
    unknown = set(faults or {}) - set(FAULTS)
    if unknown:
        raise LabError(
            f"the stand-in knows no fault named {', '.join(sorted(unknown))}",
            hint=f"Known faults: {', '.join(FAULTS)}.",
            code="E-LAB-FAULT",
        )
    built = (
        f'"""Written by the builder."""\n\nVERSION = {str(parsed)!r}\n'
        f"COMMIT = {hashlib.sha256(str(parsed).encode()).hexdigest()[:8]!r}\n"
        f"BAKED_FAULTS = {dict(sorted((faults or {}).items()))!r}\nPADDING_BYTES = {padding_bytes}\n"
    )
    # A byte that differs between versions in the padding, too: a delta between two files is never trivially empty.
    padding = hashlib.shake_256(f"{parsed} {arch}".encode()).digest(padding_bytes)
    return elf_file(Arch(arch), python_launcher(), padding + _zip(built))


def _zip(built: str) -> bytes:
    sources = {path.name: path.read_text("utf-8") for path in sorted(_PROGRAM.glob("*.py"))}
    sources["built.py"] = built
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "__main__.py", _MAIN.encode())
        for name, source in sorted(sources.items()):
            _add(archive, f"{_PACKAGE}/{name}", source.encode())
        _add(archive, f"{_PACKAGE}/containerd-shim-runc-v2", elf_file(Arch.AMD64, sleeper()))
    return buffer.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content)
