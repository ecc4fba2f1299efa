"""A lab for one file of tests. Two runs of the tests on one machine take turns where they would meet."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from edgemgr.lab.lab import Lab
from edgemgr.settings import load_settings

LABS = Path("/var/lib/edgemgr-lab-tests")


@contextmanager
def own_lab(name: str, subnet: str, *, sites: int = 0) -> Iterator[Lab]:
    """With so many light sites. What a run left that was killed is removed first."""
    if os.geteuid() != 0:
        pytest.skip("simulated sites need root: `make test` uses sudo")
    with ExitStack() as stack:
        for what in (name, subnet.replace("/", "-")):
            stack.enter_context(_alone(what))
        lab = Lab(LABS / name, subnet=subnet, base=load_settings().lab_dir / "base")
        lab.down(purge=True)
        stack.callback(lab.down, purge=True)
        if sites:
            lab.up(sites, light=True)
        yield lab


@contextmanager
def _alone(what: str) -> Iterator[None]:
    """Wait until no other run uses it; the kernel lets go of it for a run that is killed."""
    LABS.mkdir(parents=True, exist_ok=True)
    with (LABS / f"{what}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
