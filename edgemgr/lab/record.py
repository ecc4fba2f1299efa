"""What the lab remembers between two commands: `lab.json`, written whole or not at all."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from edgemgr.errors import LabError
from edgemgr.lab.processes import is_alive
from edgemgr.lab.simulated_site import LinkState, SimulatedSite, SiteState

SITES = TypeAdapter(list[SimulatedSite])


def write_private(path: Path, content: bytes) -> None:
    """Replace a file in one step; nobody but root reads it."""
    beside = path.with_name(f".{path.name}.new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(content)
    beside.replace(path)


def read_sites(path: Path) -> dict[str, SimulatedSite]:
    """Return the sites by name in the order of their numbers, with the state that their processes show now.

    Raises:
        LabError: as `remembered`.
    """
    return {name: as_it_is(site) for name, site in remembered(path).items()}


def remembered(path: Path) -> dict[str, SimulatedSite]:
    """Return the sites as they were written down; looking at the processes of a thousand takes a while.

    Raises:
        LabError: E-LAB-RECORD, the file cannot be read.
    """
    try:
        sites = SITES.validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValidationError as exc:
        raise LabError(
            f"{path} is no record of a lab: {exc.errors()[0]['msg']}",
            hint="Put the file back, or end its sites by hand (`ip netns pids NAME`) and remove the folder.",
            code="E-LAB-RECORD",
        ) from exc
    return {site.name: site for site in sorted(sites, key=lambda site: site.number)}


def as_it_is(site: SimulatedSite) -> SimulatedSite:
    """Return a site with the state that its processes show now."""
    state = SiteState.RUNNING if is_alive(site.process) else SiteState.OFF
    link = site.link
    if link is LinkState.DEGRADED and not is_alive(site.relay):
        link = LinkState.GOOD  # the relay's end takes its interfaces and routes along
    return replace(site, state=state, link=link)


def write_sites(path: Path, sites: dict[str, SimulatedSite]) -> None:
    """Remember these sites."""
    write_private(path, SITES.dump_json(list(sites.values()), indent=1))


@contextmanager
def exclusive(path: Path, *, within_s: float) -> Iterator[None]:
    """Hold a lock file while the block runs; the lock ends with the process, however it ends.

    Raises:
        LabError: E-LAB-BUSY, another command has held it for `within_s` seconds.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + within_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as exc:
                if time.monotonic() > deadline:
                    raise LabError(
                        f"another command works on the lab in {path.parent}",
                        hint="Wait for it to end, then try again.",
                        code="E-LAB-BUSY",
                    ) from exc
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)
