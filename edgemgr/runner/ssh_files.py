"""What OpenSSH reads for one batch: ssh_config and known_hosts. Pure text; nothing is opened here.

Every site has a Host block of its own under its alias, so that no value of a site reaches a command line. A
value that could mean more than itself there (a space, a quote, a line break, a leading dash) is refused;
CVE-2023-51385 is what happens otherwise. Options: ssh_config(5).
"""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from edgemgr.errors import Retry, RunnerError
from edgemgr.model.target import Jump, Target

# The largest sun_path of unix(7) is 108 bytes with its NUL; ssh adds a dot and 16 characters while it makes the socket.
_SOCKET_PATH_MAX_BYTES = 107 - 17
# A shared connection that lingers costs a process of 1 to 2 MB; the tasks of a site follow each other at once.
_LINGER_S = 5
# A site that answered a moment ago and does not now has lost its link: waiting long for it would only hold a fork. It
# is given so many times what a word took then, and at least so many seconds: TCP tries again after one.
_AGAIN, AGAIN_S = 3, 2
CONFIG = "ssh_config"
_ADDRESS = re.compile(r"[A-Za-z0-9:]([A-Za-z0-9.:_-]{0,252})?(%[A-Za-z0-9_.-]{1,15})?")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_HOST_KEY = re.compile(r"([a-z0-9@.-]{3,64}) ([A-Za-z0-9+/]{16,8192}={0,2})( [^\r\n]*)?")
_PORT_MAX = 65535


class TargetError(RunnerError):
    """A site's connection data cannot be used."""

    code = "E-RUNNER-TARGET"
    retry = Retry.NEVER
    default_hint = "Mend the site's connection data with `edgemgr site edit`."


@dataclass(frozen=True)
class SshPlan:
    """What holds for all sites of a batch."""

    directory: Path
    connect_timeout_s: float
    fast_kex: bool

    def block(self, target: Target, key_file: Path, socket: Path) -> str:
        """The Host blocks of one site, and of the host on the way to it.

        Raises:
            TargetError: a value would not stay what it is.
        """
        lines = self._host(target.alias, target, key_file)
        if target.jump is None and len(str(socket).encode()) <= _SOCKET_PATH_MAX_BYTES:
            lines += ["ControlMaster auto", f"ControlPersist {_LINGER_S}s", f'ControlPath "{_literal(socket)}"']
        if target.jump is not None:
            # Not shared: with ControlPersist ssh throws away what the ssh to the jump host says (sshconnect.c), and
            # a changed host key there would look like a host that is down.
            lines += [f"ProxyJump {jump_alias(target)}"]
            lines += self._host(jump_alias(target), target.jump, key_file)
        return "\n".join(lines) + "\n"

    def arguments(self, target: Target) -> str:
        """What ssh is told on its command line for a site: Ansible puts a ConnectTimeout there itself, behind ours."""
        wait_s = self.connect_timeout_s
        if target.answers_in_s is not None:
            wait_s = min(wait_s, max(AGAIN_S, _AGAIN * target.answers_in_s))
        return f"-F {shlex.quote(str(self.directory / CONFIG))} -o ConnectTimeout={math.ceil(wait_s)}"

    def tail(self) -> str:
        """The block for all hosts. The first value of an option counts, so that this comes last."""
        lines = [
            "Host *",
            "BatchMode yes",
            "IdentitiesOnly yes",
            "IdentityAgent none",
            f'UserKnownHostsFile "{_literal(self.directory / "known_hosts")}"',
            "GlobalKnownHostsFile /dev/null",
            "StrictHostKeyChecking yes",
            "UpdateHostKeys no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            f"ConnectTimeout {math.ceil(self.connect_timeout_s)}",  # of the ssh to a jump host
            "ServerAliveInterval 5",
            "ServerAliveCountMax 3",
            "Compression no",
        ]
        if self.fast_kex:
            lines.append("KexAlgorithms curve25519-sha256")
        return "\n".join(lines) + "\n"

    def _host(self, alias: str, host: Target | Jump, key_file: Path) -> list[str]:
        if not _ADDRESS.fullmatch(host.address):
            raise TargetError(f"the address {host.address!r} cannot be used")
        if not _USER.fullmatch(host.user):
            raise TargetError(f"the user name {host.user!r} cannot be used")
        if not 0 < host.port <= _PORT_MAX:
            raise TargetError(f"the port {host.port} cannot be used")
        return [
            f"Host {alias}",
            f"HostName {_literal(host.address)}",
            f"Port {host.port}",
            f"User {host.user}",
            f"HostKeyAlias {alias}",
            f'IdentityFile "{_literal(key_file)}"',
        ]


def jump_alias(target: Target) -> str:
    """The name of the Host block of the host on the way to a site."""
    return f"edgemgr-jump-{target.site_id}"


def known_hosts(target: Target) -> str:
    """The pins of one site and of the host on the way to it.

    Raises:
        TargetError: a pin is not one public key.
    """
    pins = [(target.alias, target.host_key)]
    if target.jump is not None:
        pins.append((jump_alias(target), target.jump.host_key))
    lines = []
    for alias, host_key in pins:
        match = _HOST_KEY.fullmatch(host_key.strip())
        if match is None:
            raise TargetError(f"the host key that is pinned for {alias} is not a public key")
        lines.append(f"{alias} {match[1]} {match[2]}\n")
    return "".join(lines)


def _literal(value: object) -> str:
    return str(value).replace("%", "%%")
