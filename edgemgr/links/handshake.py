"""The first half of an SSH connection: reach the host, agree on algorithms, learn its key. Nothing secret is sent."""

from __future__ import annotations

import logging
import socket

import paramiko
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_random_exponential

from edgemgr.errors import SiteError, SiteUnreachableError
from edgemgr.links.connection import Connection

#: paramiko 5 would still agree to these, last in its order of preference.
_WEAK = {
    "ciphers": ["aes128-cbc", "aes192-cbc", "aes256-cbc", "3des-cbc"],
    "macs": ["hmac-sha1", "hmac-md5", "hmac-sha1-96", "hmac-md5-96"],
}
_TRIES = 4
#: A site that was cut off, or began anew, sends nothing; who only waits for its answer never learns that it has
#: forgotten the connection. So the kernel asks (tcp(7)): after so many seconds of silence, so often, so many times.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 6))

# Its messages reach us as exceptions; without this they would appear on stderr as well, with tracebacks.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


class _TurnedAwayError(SiteUnreachableError):
    """Connected, then dropped before a greeting: what a busy sshd does (MaxStartups in sshd_config(5))."""

    code = "E-SITE-TURNED-AWAY"


def shake_hands(
    address: str,
    port: int,
    *,
    jump: Connection | None,
    key_types: tuple[str, ...],
    timeout_s: float,
) -> paramiko.Transport:
    """Open a transport and exchange keys, nothing else; the caller checks the host key before it goes on.

    Raises:
        SiteUnreachableError: no connection, no SSH server, or no answer in time.
        SiteError: no algorithm in common (E-SITE-ALGORITHMS).
    """
    tries = Retrying(
        retry=retry_if_exception_type(_TurnedAwayError),
        stop=stop_after_attempt(_TRIES) | stop_after_delay(timeout_s),
        wait=wait_random_exponential(multiplier=0.2, max=2),
        reraise=True,
    )
    return tries(_shake_hands_once, address, port, jump, key_types, timeout_s)


def shown_key(transport: paramiko.Transport) -> str:
    """Give the public key line that the host proved to own."""
    key = transport.get_remote_server_key()
    return f"{key.get_name()} {key.get_base64()}"


def _shake_hands_once(
    address: str, port: int, jump: Connection | None, key_types: tuple[str, ...], timeout_s: float
) -> paramiko.Transport:
    where = f"{address}:{port}"
    transport = paramiko.Transport(_open(address, port, jump, timeout_s), disabled_algorithms=_WEAK)
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = timeout_s
    transport.get_security_options().key_types = key_types
    try:
        transport.start_client(timeout=timeout_s)
        shown_key(transport)  # start_client returns normally when the time is up; this does not
    except paramiko.ssh_exception.IncompatiblePeer as exc:
        transport.close()
        raise SiteError(
            f"{where} and this appliance have no SSH algorithm in common: {exc}",
            hint="Bring the site's OpenSSH to 8.0 or newer, or allow current algorithms in its sshd_config.",
            code="E-SITE-ALGORITHMS",
        ) from exc
    except (paramiko.SSHException, OSError, EOFError) as exc:
        greeted = bool(transport.remote_version)
        transport.close()
        if greeted:
            raise SiteUnreachableError(f"the connection to {where} was lost while keys were exchanged") from exc
        raise _TurnedAwayError(
            f"{where} accepts connections, but gives no SSH greeting",
            hint="Is it the SSH port? A busy sshd turns connections away too (MaxStartups).",
        ) from exc
    return transport


def _open(address: str, port: int, jump: Connection | None, timeout_s: float) -> socket.socket | paramiko.Channel:
    if jump is not None:
        return jump.channel_to(address, port, timeout_s=timeout_s)
    where = f"{address}:{port}"
    try:
        connection = socket.create_connection((address, port), timeout=timeout_s)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
    except TimeoutError as exc:
        raise SiteUnreachableError(f"{where} did not answer in {timeout_s:g} s", code="E-SITE-NO-ANSWER") from exc
    except ConnectionRefusedError as exc:
        raise SiteUnreachableError(
            f"{where} refused the connection", hint="Does sshd run there, on that port?", code="E-SITE-REFUSED"
        ) from exc
    except (socket.gaierror, UnicodeError) as exc:
        raise SiteUnreachableError(
            f"the name {address} cannot be resolved", hint="Mend the address or the name service.", code="E-SITE-NAME"
        ) from exc
    except OSError as exc:
        raise SiteUnreachableError(f"{where} cannot be reached: {exc.strerror or exc}") from exc
    return connection
