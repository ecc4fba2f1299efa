"""The directory of k3s release files that the lab offers, to be added with `edgemgr release add`."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgemgr.errors import UsageError

STANDIN_VERSION = "v1.33.5+k3s1"


def offer_release(directory: Path, *, k3s: Path | None = None, images: Path | None = None) -> None:
    """Make the directory: of a real k3s when its files are given, else of the stand-in unless it is there already.

    Raises:
        UsageError: only one of the two files was given.
        ReleaseError: the files do not fit.
    """
    from edgemgr.lab.release_files import write_real_release, write_standin_release

    if (k3s is None) != (images is None):
        raise UsageError(
            "a real k3s needs both its binary and its image archive",
            hint="Give --k3s FILE and --images FILE, or neither for the stand-in.",
        )
    if k3s is None and directory.exists():
        return
    beside = directory.with_name(f"{directory.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    if k3s is not None and images is not None:
        write_real_release(beside, k3s, images)
    else:
        write_standin_release(beside, STANDIN_VERSION)
    shutil.rmtree(directory, ignore_errors=True)
    beside.rename(directory)
