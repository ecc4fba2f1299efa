from __future__ import annotations

import socket

import pytest

from edgemgr.errors import ConfigurationError
from edgemgr.web.listen import ListenAddress


@pytest.mark.parametrize(
    ("text", "host", "port", "url"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, "http://127.0.0.1:8080/"),
        ("127.9.9.9:1", "127.9.9.9", 1, "http://127.9.9.9:1/"),
        ("localhost:80", "localhost", 80, "http://localhost:80/"),
        ("[::1]:8080", "::1", 8080, "http://[::1]:8080/"),
    ],
)
def test_an_address_of_this_machine_is_taken(text: str, host: str, port: int, url: str) -> None:
    address = ListenAddress.parse(text)
    assert (address.host, address.port, address.url) == (host, port, url)


@pytest.mark.parametrize(
    "text", ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:80", "console.example:8080", "127.0.0.1.example:80"]
)
def test_an_address_that_other_machines_reach_is_refused_and_the_hint_names_ssh(text: str) -> None:
    with pytest.raises(ConfigurationError, match="no login") as caught:
        ListenAddress.parse(text)
    assert caught.value.code == "E-CONFIG-LISTEN"
    assert "ssh -L" in caught.value.hint


@pytest.mark.parametrize(
    "text", ["", "8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", ":8080", "127.0.0.1:٣"]
)
def test_what_is_no_address_and_port_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="no address") as caught:
        ListenAddress.parse(text)
    assert caught.value.code == "E-CONFIG-LISTEN"


def test_a_port_that_is_taken_is_said_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{port}") as caught:
            ListenAddress("127.0.0.1", port).bind()
    assert caught.value.code == "E-CONFIG-PORT"
    assert "--listen" in caught.value.hint
