"""A PostgreSQL server of the tests' own, started from Debian's programs and ended with the run."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from psycopg import connect


def find_postgresql() -> Path:
    """The directory of initdb and pg_ctl; Debian keeps it out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.fail("PostgreSQL is not installed; `make test` installs Debian's package postgresql")
    return found[-1].parent


class PostgresServer:
    """One server on a socket and a port of 127.0.0.1, owned by user postgres when the tests run as root."""

    def __init__(self, programs: Path) -> None:
        # Not pytest's own directories: those are root's alone, and PostgreSQL refuses to run as root.
        self.directory = Path(tempfile.mkdtemp(prefix="edgemgr-postgresql-"))
        self.programs = programs
        self._numbers = itertools.count()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    def _as_owner(self, *command: str) -> None:
        prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        subprocess.run([*prefix, *command], check=True, capture_output=True, timeout=60, cwd="/")

    def start(self, *, is_durable: bool = False, addresses: Sequence[str] = ()) -> None:
        """Start it; unless `is_durable`, what it commits is not synced to the disk, which tests can do without.

        With `addresses` of ours, those on the same networks may connect as well.
        """
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.directory, owner.pw_uid, owner.pw_gid)
        data = self.directory / "data"
        self._as_owner(
            str(self.programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8"
        )
        if addresses:
            with (data / "pg_hba.conf").open("a") as file:
                file.write("host all all samenet trust\n")
        listen = ",".join(("127.0.0.1", *addresses))
        options = f"-c listen_addresses={listen} -c port={self.port} -c unix_socket_directories={self.directory}"
        options += " -c shared_buffers=64MB -c max_connections=60"
        options += "" if is_durable else " -c fsync=off -c full_page_writes=off"
        self._as_owner(
            str(self.programs / "pg_ctl"),
            "-D",
            str(data),
            "-w",
            "-l",
            str(self.directory / "log"),
            "-o",
            options,
            "start",
        )

    def stop(self) -> None:
        self._as_owner(str(self.programs / "pg_ctl"), "-D", str(self.directory / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self.directory, ignore_errors=True)

    def new_database(self) -> str:
        """An empty database; returns its SQLAlchemy URL."""
        name = f"test_{next(self._numbers)}"
        with connect(host="127.0.0.1", port=self.port, user="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{name}"
