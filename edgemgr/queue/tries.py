"""Tries of sites: probes and, after a greeting, checks of the host key, side by side, none waiting for another.

Sites behind one jump host are tried together: it is the jump host that is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from edgemgr.links.probe import Probe, ProbeVerdict
from edgemgr.store.contacts import Contact

#: What is tried: address, port, and the key that must answer there.
Endpoint = tuple[str, int, str | None]


class Probing(Protocol):
    """What begins probes and gives those that have ended (links.probe.Prober); a simulation puts another one in."""

    def __len__(self) -> int:
        """How many are under way."""

    def add(self, key: Endpoint, address: str, port: int) -> None:
        """Begin one."""

    def poll(self) -> Sequence[tuple[Endpoint, Probe]]:
        """Give those that have ended since, without waiting."""


class Checking(Protocol):
    """What begins checks of keys and gives those that have ended (links.key_check.KeyChecker)."""

    def add(self, key: Endpoint, address: str, port: int, pin: str) -> None:
        """Begin one."""

    def poll(self) -> Sequence[tuple[Endpoint, Probe]]:
        """Give those that have ended since, without waiting."""


@dataclass(frozen=True)
class Tried:
    """What was found of one site. With `is_proven` and REACHABLE it is the right host, as far as a pin can tell."""

    contact: Contact
    probe: Probe
    is_proven: bool


class Tries:
    """For one thread: `begin` some, and `ended` gives each once."""

    def __init__(self, probing: Probing, checking: Checking) -> None:
        self._probing = probing
        self._checking = checking
        self._under_way: dict[Endpoint, list[Contact]] = {}

    def __len__(self) -> int:
        """How many connections are under way or wait to begin."""
        return len(self._probing)

    def begin(self, contact: Contact) -> None:
        """Try a site; if what it is reached by is being tried already, that answer will do."""
        endpoint = (contact.address, contact.port, contact.pin)
        if endpoint in self._under_way:
            self._under_way[endpoint].append(contact)
            return
        self._under_way[endpoint] = [contact]
        self._probing.add(endpoint, contact.address, contact.port)

    def ended(self, is_wanted: Callable[[Contact], bool]) -> list[Tried]:
        """Give what has ended since. A key is only looked at where `is_wanted`: it costs far more than a greeting."""
        found: list[Tried] = []
        for endpoint, probe in self._probing.poll():
            address, port, pin = endpoint
            greets = probe.verdict is ProbeVerdict.REACHABLE
            if greets and pin is not None and any(map(is_wanted, self._under_way[endpoint])):
                self._checking.add(endpoint, address, port, pin)
            else:
                is_proven = greets and pin is None
                found += [Tried(contact, probe, is_proven) for contact in self._under_way.pop(endpoint)]
        for endpoint, probe in self._checking.poll():
            found += [Tried(contact, probe, is_proven=True) for contact in self._under_way.pop(endpoint)]
        return found
