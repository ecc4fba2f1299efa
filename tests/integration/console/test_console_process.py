"""`edgemgr serve` as a process: it answers, it stops when told to, and it says why it does not start."""

from __future__ import annotations

import http.client
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests_support.appliance import Appliance, until


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    appliance = Appliance(tmp_path, tmp_path / "lab")
    yield appliance
    appliance.close()


def status_of(port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_and_works_and_stops_cleanly(appliance: Appliance, number: signal.Signals) -> None:
    process = appliance.serve()
    assert until("the console answers", lambda: status_of(appliance.port, "/sites"), 30) == 200
    assert f"console: http://127.0.0.1:{appliance.port}/" in appliance.tail()
    told_at = time.monotonic()
    process.send_signal(number)
    assert process.wait(timeout=15) == 0
    assert time.monotonic() - told_at < 10
    assert "stopped" in appliance.tail()
    assert "Traceback" not in appliance.tail()
    assert "none runs" in appliance.attempt("doctor").stdout


def test_a_console_alone_has_no_workers(appliance: Appliance) -> None:
    process = appliance.start("serve", "--listen", f"127.0.0.1:{appliance.port}", "--workers", "0")
    assert until("the console answers", lambda: status_of(appliance.port, "/operations"), 30) == 200
    assert "workers: 0" in appliance.tail()
    process.terminate()
    assert process.wait(timeout=15) == 0


def test_a_port_that_is_taken_is_a_clear_error(appliance: Appliance) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = appliance.attempt("serve", "--listen", f"127.0.0.1:{other.getsockname()[1]}")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Address already in use" in done.stderr
    assert "E-CONFIG-PORT" in done.stderr


def test_listening_for_other_machines_is_refused(appliance: Appliance) -> None:
    done = appliance.attempt("serve", "--listen", "0.0.0.0:8080")
    assert done.returncode == 1
    assert "no login" in done.stderr
    assert "ssh -L 8080:127.0.0.1:8080" in done.stderr
    assert not (appliance.directory / "state").exists()
