"""Links against a real sshd: who is let through, what is sent to whom, and what is left behind."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests_support.throwaway_sshd import PASSWORD, ThrowawaySshd, make_key, running_sshd

from edgemgr.errors import ConflictError, SiteError, SiteIdentityError, SiteLoginError, SiteUnreachableError
from edgemgr.links import access_key, host_keys
from edgemgr.links.kube import observe
from edgemgr.links.probe import ProbeVerdict, tcp_banner
from edgemgr.links.ssh import HostKeyMismatchError, connect
from edgemgr.links.tunnel import open_tunnel
from edgemgr.model.cluster import Health
from edgemgr.model.secret import Secret
from edgemgr.model.target import Jump, Target

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="starts an sshd with a password of its own: needs root")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThrowawaySshd]:
    with running_sshd(tmp_path_factory.mktemp("site"), kinds=("ed25519", "ecdsa", "rsa")) as running:
        yield running


def _target(sshd: ThrowawaySshd, **changes: object) -> Target:
    plain = Target(
        site_id=1,
        name="store-1",
        address="127.0.0.1",
        port=sshd.port,
        user="root",
        host_key=sshd.host_keys[0],
        password=Secret(PASSWORD),
    )
    return replace(plain, **changes)


def _authorize(sshd: ThrowawaySshd, options: str = access_key.SITE_OPTIONS) -> Secret:
    pair = access_key.make_key_pair("test")
    sshd.authorized_keys.parent.mkdir(exist_ok=True)
    with sshd.authorized_keys.open("a") as file:
        file.write(f"{options} {pair.public}\n")
    return pair.private


def test_a_scan_shows_the_ed25519_key_and_names_no_user(site: ThrowawaySshd) -> None:
    before = len(site.logins())
    assert host_keys.scan("127.0.0.1", site.port) == site.host_keys[0]
    assert len(site.logins()) == before


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_fingerprint_of_any_key_type_is_found(site: ThrowawaySshd, number: int) -> None:
    line = site.host_keys[number]
    assert host_keys.find(host_keys.fingerprint(line), "127.0.0.1", site.port) == line
    assert host_keys.find(line, "127.0.0.1", site.port) == line


def test_a_foreign_fingerprint_finds_the_preferred_key(site: ThrowawaySshd, tmp_path: Path) -> None:
    foreign = host_keys.fingerprint(make_key(tmp_path / "foreign"))
    assert host_keys.find(foreign, "127.0.0.1", site.port) == site.host_keys[0]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_any_of_its_pinned_keys_lets_a_site_through(site: ThrowawaySshd, number: int) -> None:
    with connect(_target(site, host_key=site.host_keys[number])) as connection:
        assert connection.run("echo hello; exit 3").status == 3


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_wrong_host_key_is_refused_before_anything_is_sent(site: ThrowawaySshd, tmp_path: Path, kind: str) -> None:
    before = len(site.logins())
    pinned = make_key(tmp_path / "pinned", kind)
    with pytest.raises(HostKeyMismatchError) as caught:
        connect(_target(site, host_key=pinned, private_key=access_key.make_key_pair("x").private))
    assert caught.value.code == "E-SITE-IDENTITY-MISMATCH"
    assert host_keys.fingerprint(pinned) in caught.value.message
    assert host_keys.fingerprint(caught.value.seen) in caught.value.message
    assert caught.value.seen in site.host_keys
    assert len(site.logins()) == before


def test_a_host_key_that_changes_is_refused_at_the_next_connection(tmp_path: Path) -> None:
    with running_sshd(tmp_path / "node") as sshd:
        target = _target(sshd)
        connect(target).close()
    before = len(sshd.logins())
    for path in (tmp_path / "node").glob("host_*"):
        path.unlink()
    with running_sshd(tmp_path / "node", port=sshd.port) as again:
        with pytest.raises(HostKeyMismatchError) as caught:
            connect(target)
        assert caught.value.seen == again.host_keys[0]
        assert len(again.logins()) == before


def test_a_wrong_password_and_a_wrong_key_have_their_own_codes(site: ThrowawaySshd) -> None:
    with pytest.raises(SiteLoginError) as caught:
        connect(_target(site, password=Secret("wrong-canary")))
    assert caught.value.code == "E-LOGIN-PASSWORD"
    assert "wrong-canary" not in str(caught.value)
    with pytest.raises(SiteLoginError) as caught:
        connect(_target(site, password=None, private_key=access_key.make_key_pair("x").private))
    assert caught.value.code == "E-LOGIN-KEY"
    with pytest.raises(SiteLoginError) as caught:
        connect(_target(site, password=None))
    assert caught.value.code == "E-LOGIN-NONE"


def test_our_key_is_installed_once_and_what_was_there_stays(tmp_path: Path) -> None:
    with running_sshd(tmp_path / "node") as sshd:
        pair = access_key.make_key_pair("edgemgr-site-1")
        sshd.authorized_keys.parent.mkdir(mode=0o700)
        theirs = make_key(tmp_path / "theirs") + " olga"
        sshd.authorized_keys.write_text(f"{pair.public}\n{theirs}")  # ours without options, no newline at the end
        sshd.authorized_keys.chmod(0o640)
        for _ in range(2):
            with connect(_target(sshd)) as connection:
                access_key.install(connection, pair.public)
            assert sshd.authorized_keys.read_text().splitlines() == [
                theirs,
                f"{access_key.SITE_OPTIONS} {pair.public}",
            ]
        assert sshd.authorized_keys.stat().st_mode & 0o777 == 0o640
        assert [path.name for path in sshd.authorized_keys.parent.iterdir()] == ["authorized_keys"]
        with connect(_target(sshd, password=None, private_key=pair.private)) as connection:
            assert connection.run("id -u").stdout == "0\n"


def test_a_home_that_cannot_be_written_is_a_refusal_with_its_reason(tmp_path: Path) -> None:
    with running_sshd(tmp_path / "node") as sshd:
        sshd.home.joinpath(".ssh").write_text("a file in the place of the directory")
        with connect(_target(sshd)) as connection, pytest.raises(SiteLoginError) as caught:
            access_key.install(connection, access_key.make_key_pair("x").public)
    assert caught.value.code == "E-LOGIN-INSTALL"


def test_a_command_has_input_output_status_and_a_limit_of_both_kinds(site: ThrowawaySshd) -> None:
    with connect(_target(site)) as connection:
        result = connection.run("cat; echo e >&2; exit 5", stdin="x" * 300_000)
        assert (result.status, len(result.stdout), result.stderr) == (5, 300_000, "e\n")
        with pytest.raises(SiteError) as caught:
            connection.run("yes", limit_bytes=100_000)
        assert caught.value.code == "E-SITE-OUTPUT"
        with pytest.raises(SiteUnreachableError, match="did not end"):
            connection.run("while :; do echo x; sleep 0.1; done", timeout_s=0.5)


def test_a_command_that_ends_without_reading_its_input_is_no_lost_connection(site: ThrowawaySshd) -> None:
    with connect(_target(site), timeout_s=10) as connection:
        assert [connection.run("exit 3", stdin="x" * 5_000_000).status for _ in range(3)] == [3, 3, 3]


def test_a_silent_connection_is_tried_by_the_kernel_and_given_up_within_a_minute(site: ThrowawaySshd) -> None:
    with connect(_target(site)) as connection:
        tcp = connection.transport.sock
        assert tcp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        idle_s, every_s, times = (tcp.getsockopt(socket.IPPROTO_TCP, option) for option in options)
        assert idle_s + every_s * times < 60


def test_a_site_behind_a_jump_host_is_reached_and_both_are_pinned(site: ThrowawaySshd, tmp_path: Path) -> None:
    with running_sshd(tmp_path / "jump") as gate:
        key = _authorize(gate, access_key.jump_options("127.0.0.1", site.port))
        jump = Jump(address="127.0.0.1", port=gate.port, user="root", host_key=gate.host_keys[0])
        target = _target(site, jump=jump, private_key=key)
        with connect(target) as connection:
            assert connection.run("echo there").stdout == "there\n"
        assert all("method password" not in line for line in gate.logins())  # the site's password is not shown to it

        before = len(gate.logins()), len(site.logins())
        with pytest.raises(SiteIdentityError) as caught:
            connect(replace(target, jump=replace(jump, host_key=make_key(tmp_path / "other"))))
        assert caught.value.code == "E-JUMP-IDENTITY-MISMATCH"
        assert (len(gate.logins()), len(site.logins())) == before
        with pytest.raises(HostKeyMismatchError):
            connect(replace(target, host_key=make_key(tmp_path / "third")))
        assert len(site.logins()) == before[1]

        with pytest.raises(SiteLoginError) as refused:
            connect(replace(target, private_key=access_key.make_key_pair("x").private))
        assert refused.value.code == "E-LOGIN-JUMP"


def test_a_jump_host_opens_no_other_address(tmp_path: Path, site: ThrowawaySshd) -> None:
    with running_sshd(tmp_path / "jump") as gate:
        key = _authorize(gate, access_key.jump_options("127.0.0.1", 9))
        jump = Jump(address="127.0.0.1", port=gate.port, user="root", host_key=gate.host_keys[0])
        with pytest.raises(SiteError) as caught:
            connect(_target(site, jump=jump, private_key=key))
        assert caught.value.code == "E-SITE-FORWARD-FORBIDDEN"


def test_a_closed_port_a_silent_one_and_another_service_are_unreachable_with_their_own_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(SiteUnreachableError) as caught:
            host_keys.scan("127.0.0.1", silent.getsockname()[1], timeout_s=0.5)
        assert caught.value.code == "E-SITE-TURNED-AWAY"
        assert tcp_banner("127.0.0.1", silent.getsockname()[1], 0.3).verdict == ProbeVerdict.SILENT
        port = silent.getsockname()[1]
    with pytest.raises(SiteUnreachableError) as caught:
        host_keys.scan("127.0.0.1", port, timeout_s=1)
    assert caught.value.code == "E-SITE-REFUSED"
    assert tcp_banner("127.9.9.9", port, 1).verdict == ProbeVerdict.REFUSED


def test_a_name_that_does_not_exist_is_unreachable() -> None:
    with pytest.raises(SiteUnreachableError) as caught:
        host_keys.scan("x" * 80, 22, timeout_s=1)
    assert caught.value.code == "E-SITE-NAME"


def test_a_server_that_turns_the_first_connections_away_is_tried_again(site: ThrowawaySshd) -> None:
    turned_away = 2
    with socket.create_server(("127.0.0.1", 0)) as door:

        def guard() -> None:
            for number in range(turned_away + 1):
                client, _ = door.accept()
                if number < turned_away:
                    client.sendall(b"Exceeded MaxStartups\r\n")
                    client.close()
                    continue
                with client, socket.create_connection(("127.0.0.1", site.port)) as behind:
                    ends = ((client, behind), (behind, client))
                    copies = [threading.Thread(target=_copy, args=pair, daemon=True) for pair in ends]
                    for copy in copies:
                        copy.start()
                    for copy in copies:
                        copy.join(10)

        thread = threading.Thread(target=guard, daemon=True)
        thread.start()
        assert host_keys.scan("127.0.0.1", door.getsockname()[1], timeout_s=10) == site.host_keys[0]
        thread.join(20)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):  # either end may close first
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def test_weak_algorithms_are_refused(tmp_path: Path) -> None:
    weak = "Ciphers aes128-cbc,3des-cbc\nMACs hmac-sha1,hmac-md5\n"
    with running_sshd(tmp_path / "node", config=weak) as sshd, pytest.raises(SiteError) as caught:
        host_keys.scan("127.0.0.1", sshd.port, timeout_s=5)
    assert caught.value.code == "E-SITE-ALGORITHMS"


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A service on loopback that sends back what it gets, in capitals, after the end of the input."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    client, _ = listener.accept()
                except TimeoutError:
                    continue
                with client:
                    text = b""
                    while data := client.recv(65536):
                        text += data
                    client.sendall(text.upper())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        thread.join(5)


def test_a_tunnel_carries_both_ways_for_several_at_once_and_is_gone_afterwards(
    site: ThrowawaySshd, echo_port: int
) -> None:
    with connect(_target(site)) as connection, open_tunnel(connection, port=echo_port) as port:
        clients = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(5)]
        for number, client in enumerate(clients):
            client.sendall(f"hello {number} ".encode() * 20_000)
            client.shutdown(socket.SHUT_WR)
        for number, client in enumerate(clients):
            with client:
                client.settimeout(10)
                assert client.makefile("rb").read() == f"HELLO {number} ".encode() * 20_000
        with pytest.raises(ConflictError) as caught, open_tunnel(connection, listen_port=port):
            pass
        assert caught.value.code == "E-TUNNEL-PORT"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)


def test_a_tunnel_to_a_closed_port_closes_the_client_and_lives_on(site: ThrowawaySshd, echo_port: int) -> None:
    with connect(_target(site)) as connection:
        with open_tunnel(connection, port=9) as port, socket.create_connection(("127.0.0.1", port), 5) as client:
            assert client.recv(1) == b""
        assert connection.run("true").status == 0


def test_a_site_without_k3s_is_observed_as_such(site: ThrowawaySshd) -> None:
    if Path("/etc/rancher/k3s/k3s.yaml").exists():
        pytest.skip("this machine runs k3s itself")
    seen = observe(_target(site))
    assert (seen.health, seen.health_reason) == (Health.UNKNOWN, "no k3s")
