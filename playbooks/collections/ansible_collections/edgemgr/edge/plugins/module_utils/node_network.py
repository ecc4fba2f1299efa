"""The node's network as preflight wants to know it: routes, listeners, firewalls. Reads /proc, needs no program."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess

from ansible_collections.edgemgr.edge.plugins.module_utils.node_facts import text

_RTF_UP = 0x1
_RTF_REJECT = 0x200
_LISTEN = "0A"


def has_default_route() -> bool:
    """Whether any default route exists, IPv4 or IPv6; a reject route is none."""
    for line in text("/proc/net/route").splitlines()[1:]:
        _interface, destination, _gateway, flags, _refs, _use, _metric, mask = line.split()[:8]
        if destination == mask == "00000000" and int(flags, 16) & _RTF_UP:
            return True
    for line in text("/proc/net/ipv6_route").splitlines():
        destination, length, *_rest, flags, interface = line.split()
        is_default = destination == "0" * 32 and length == "00" and interface != "lo"
        if is_default and int(flags, 16) & _RTF_UP and not int(flags, 16) & _RTF_REJECT:
            return True
    return False


def has_address(address: str) -> bool:
    """Whether this is an address of the node: only such a one can be bound to."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with contextlib.closing(socket.socket(family, socket.SOCK_DGRAM)) as channel:
            channel.bind((address, 0))
    except OSError:
        return False
    return True


def listeners(ports: set[int]) -> dict[int, str]:
    """Who listens on these TCP ports: port → `name (pid)`."""
    sockets = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in text(table).splitlines()[1:]:
            fields = line.split()
            port = int(fields[1].rpartition(":")[2], 16)
            if fields[3] == _LISTEN and port in ports:
                sockets[f"socket:[{fields[9]}]"] = port
    found = dict.fromkeys(sockets.values(), "an unknown process")
    for entry in os.listdir("/proc") if sockets else ():
        if not entry.isdigit():
            continue
        try:
            handles = f"/proc/{entry}/fd"
            targets = [os.readlink(f"{handles}/{handle}") for handle in os.listdir(handles)]
        except OSError:  # it has ended meanwhile
            continue
        for target in targets:
            if target in sockets:
                name = text(f"/proc/{entry}/comm").strip()
                found[sockets[target]] = f"{name} (pid {entry})"
    return found


def firewalls() -> list[str]:
    """The host firewalls that are switched on."""
    found = []
    if re.search(r"^ENABLED=yes", text("/etc/ufw/ufw.conf"), re.MULTILINE | re.IGNORECASE):
        found.append("ufw")
    if shutil.which("firewall-cmd"):
        shown = subprocess.run(
            ["systemctl", "is-active", "firewalld.service"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            universal_newlines=True,
            timeout=30,
            check=False,
        )
        if shown.stdout.strip() == "active":
            found.append("firewalld")
    return found
