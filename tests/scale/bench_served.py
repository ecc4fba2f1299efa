"""How soon a site is served that comes back while a thousand others stay dark."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance_in_the_dark import serve
from dark_fleet import make_dark_fleet
from dark_network import DarkNetwork, dark_network
from progress import say
from sqlalchemy import func, select, update
from sqlmodel import col

from edgemgr.app import open_app
from edgemgr.model.attempt import Attempt
from edgemgr.model.operation import Operation
from edgemgr.model.site import Site
from edgemgr.settings import Settings
from edgemgr.store.database import Database

#: Every site has been tried once when the first comes back.
_LEAD_S = 25.0
_PATIENCE_S = 60.0


def measure(*, quick: bool) -> dict[str, Any]:
    """`edgemgr serve` as it comes; the sites that come back are a real sshd with a pinned key each."""
    dark, returned, span_s = (1_000, 10, 20.0) if quick else (1_000, 40, 240.0)
    chance = random.Random(7)  # noqa: S311 - no secret hangs on it
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgemgr-served-")))
        network = stack.enter_context(dark_network())
        settings = Settings(state_dir=directory / "state", runtime_dir=directory / "run")
        appliance = stack.enter_context(open_app(settings))
        make_dark_fleet(appliance.database, dark + returned, kinds=1)
        moments = {f"127.9.0.{number + 1}": _LEAD_S + chance.uniform(0, span_s) for number in range(returned)}
        _move(appliance.database, list(moments), _host_key(directory))
        (directory / "moments.json").write_text(json.dumps(moments))
        sites = _returning(network, directory)
        stack.callback(_end, sites)
        stack.enter_context(serve(network, settings, directory / "log"))
        say(f"{dark} sites are dark, {returned} come back within {span_s:.0f} s")
        back = _back(sites, returned)
        waits_s = _waits(appliance.database, back)
    return {"dark": dark, "returned": returned, "waits_s": waits_s}


def _host_key(directory: Path) -> str:
    path = directory / "host_key"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(command, check=True, timeout=30)
    return path.with_suffix(".pub").read_text().strip()


def _move(database: Database, addresses: list[str], key: str) -> None:
    """Let some sites of the fleet be those that come back, spread over it, each with that key pinned."""
    with database.write() as session:
        count = session.execute(select(func.count()).select_from(Site)).scalar_one()
        for number, address in enumerate(addresses):
            chosen = 1 + number * count // len(addresses)
            session.execute(update(Site).where(col(Site.id) == chosen).values(address=address, host_key=key))


def _returning(network: DarkNetwork, directory: Path) -> subprocess.Popen[str]:
    program = Path(__file__).with_name("returning_sites.py")
    return subprocess.Popen(
        [*network.prefix, sys.executable, str(program), str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    )


def _end(sites: subprocess.Popen[str]) -> None:
    sites.communicate(timeout=30)  # it ends with its input


def _back(sites: subprocess.Popen[str], count: int) -> dict[str, datetime]:
    """When each came back, by address; waits for all."""
    assert sites.stdout is not None
    lines = (sites.stdout.readline().split() for _ in range(count))
    return {address: datetime.fromtimestamp(float(at), UTC) for address, at in lines}


def _waits(database: Database, back: dict[str, datetime]) -> list[float]:
    """From back to the start of the first attempt after it, seconds, for each."""
    deadline = time.monotonic() + _PATIENCE_S
    query = (
        select(col(Site.address), col(Attempt.started_at))
        .join(Operation, col(Operation.site_id) == col(Site.id))
        .join(Attempt, col(Attempt.operation_id) == col(Operation.id))
        .where(col(Site.address).in_(list(back)))
        .order_by(col(Attempt.id).desc())
    )
    while True:
        with database.read() as session:
            started = {address: at for address, at in session.execute(query) if at >= back[address]}
        if len(started) == len(back):
            return [(started[address] - at).total_seconds() for address, at in back.items()]
        assert time.monotonic() < deadline, f"{len(started)} of {len(back)} sites were served"
        time.sleep(0.5)


if __name__ == "__main__":
    sys.stdout.write(f"{json.dumps(measure(quick=True), indent=2)}\n")
