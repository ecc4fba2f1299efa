"""A real sshd, and a bench in a directory whose name is short enough for the sockets of shared connections."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from runner_bench import Bench, make_bench
from throwaway_sshd import Sshd


@pytest.fixture
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="em-") as directory:
        yield make_bench(Path(directory))


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd") / "server", addresses=5)
    server.start()
    yield server
    server.stop()
