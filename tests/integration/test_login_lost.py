"""A link that dies during the login is a link that died, and not a login that was refused."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator

import pytest
from tests_support.throwaway_sshd import PASSWORD, ThrowawaySshd, running_sshd

from edgemgr.errors import SiteUnreachableError
from edgemgr.links import access_key
from edgemgr.links.ssh import connect
from edgemgr.model.secret import Secret
from edgemgr.model.target import Target

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="starts an sshd with a password of its own: needs root")

NEWKEYS = 21  #: the last message of a client in clear text (RFC 4253, 12)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThrowawaySshd]:
    with running_sshd(tmp_path_factory.mktemp("site"), kinds=("ed25519",)) as running:
        yield running


def _exactly(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = source.recv(count - len(data))
        if not more:
            raise ConnectionError
        data += more
    return data


def _until_encrypted(client: socket.socket, server: socket.socket) -> None:
    """Hand on what the client says in clear text: its version, and packets up to its NEWKEYS."""
    while (byte := _exactly(client, 1)) != b"\n":
        server.sendall(byte)
    server.sendall(byte)
    kind = 0
    while kind != NEWKEYS:
        head = _exactly(client, 4)
        body = _exactly(client, int.from_bytes(head, "big"))
        server.sendall(head + body)
        kind = body[1]


@contextlib.contextmanager
def _dies_at_the_login(port: int, *, in_silence: bool) -> Iterator[int]:
    """A way to that port which carries the exchange of keys and nothing after it."""
    over = threading.Event()

    def carry(listener: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            listener.accept()[0] as client,
            socket.create_connection(("127.0.0.1", port)) as server,
        ):
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _until_encrypted(client, server)
            _exactly(client, 1)
            if in_silence:
                over.wait(30)
            for end in (client, server):
                end.shutdown(socket.SHUT_RDWR)
            back.join(5)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=carry, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join(10)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


@pytest.mark.parametrize("in_silence", [False, True], ids=["closed", "silent"])
@pytest.mark.parametrize("by_password", [True, False], ids=["password", "key"])
def test_a_link_that_dies_during_the_login_is_unreachable_and_not_a_refused_login(
    site: ThrowawaySshd, by_password: bool, in_silence: bool
) -> None:
    with _dies_at_the_login(site.port, in_silence=in_silence) as port:
        target = Target(
            site_id=1,
            name="store-1",
            address="127.0.0.1",
            port=port,
            user="root",
            host_key=site.host_keys[0],
            password=Secret(PASSWORD) if by_password else None,
            private_key=None if by_password else access_key.make_key_pair("test").private,
        )
        with pytest.raises(SiteUnreachableError, match="lost during the login"), connect(target, timeout_s=2.0):
            pass
