"""`edgemgr serve` inside a dark network."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dark_network import DarkNetwork
from tests_support.appliance import PROGRAM, until

from edgemgr.settings import Settings

CONSOLE = "127.0.0.1:8080"


@contextmanager
def serve(network: DarkNetwork, settings: Settings, log: Path) -> Iterator[None]:
    """Until the end of the block; it has a worker when it begins."""
    environment = {
        **os.environ,
        "EDGEMGR_STATE_DIR": str(settings.state_dir),
        "EDGEMGR_RUNTIME_DIR": str(settings.runtime_dir),
        "EDGEMGR_CONFIG": str(settings.state_dir / "none.toml"),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*network.prefix, str(PROGRAM), "serve", "--listen", CONSOLE],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        until("the appliance has a worker", lambda: b"started" in log.read_bytes(), 60)
        yield
    finally:
        process.terminate()
        process.wait(60)
