"""Which version a release is: from the operator, from the directory's name, from the program itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

from edgemgr.errors import ReleaseError
from edgemgr.model.version import K3sVersion
from edgemgr.settings import program_environment

_RUN_TIMEOUT_S = 60.0


def agreed_version(directory: Path, *, given: str | None, printed: K3sVersion | None) -> K3sVersion:
    """The one version that all sources name: no release file but the program itself carries it.

    Args:
        directory: where the release files lie; its name often is the version.
        given: what the operator said, if anything.
        printed: what the program says of itself, where it could be run.

    Raises:
        ReleaseError: no source names a version, or two name different ones (E-RELEASE-VERSION).
    """
    sources = {
        "--version": K3sVersion.parse(given) if given else None,
        f"the directory's name {directory.name}": K3sVersion.find(directory.name),
        "the program k3s itself": printed,
    }
    named = {source: version for source, version in sources.items() if version is not None}
    if not named:
        raise ReleaseError(
            f"the version of the release in {directory} is not known",
            hint="Name the directory after the version, for example v1.33.5+k3s1, or give --version.",
            code="E-RELEASE-VERSION",
        )
    if len(set(named.values())) > 1:
        raise ReleaseError(
            f"the version of the release in {directory} is in dispute: "
            + ", ".join(f"{source} says {version}" for source, version in named.items()),
            hint="Put the files of each version into a directory of their own, named after it.",
            code="E-RELEASE-VERSION",
        )
    return next(iter(named.values()))


def printed_version(binary: Path) -> K3sVersion | None:
    """What `k3s --version` prints, run from a private copy whose hash is verified; None when it cannot be run."""
    try:
        result = subprocess.run(
            [str(binary), "--version"],
            env=program_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_RUN_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return K3sVersion.find(result.stdout) if result.returncode == 0 else None
