"""Target: what it takes to open a connection to a Site, and nothing else. Made for one use, never stored."""

from __future__ import annotations

from dataclasses import dataclass

from edgemgr.model.secret import Secret


@dataclass(frozen=True)
class Jump:
    """A host on the way, pinned like a site."""

    address: str
    port: int
    user: str
    host_key: str  #: full public key line, `ssh-ed25519 AAAA…`


@dataclass(frozen=True)
class Target:
    """One site as an SSH client needs it. `host_key` is the pinned one: nothing is sent to any other host."""

    site_id: int
    name: str
    address: str
    port: int
    user: str
    host_key: str  #: full public key line; before the first login it may be only the fingerprint that is pinned
    private_key: Secret | None = None  #: OpenSSH private key, PEM
    password: Secret | None = None  #: for the first login only
    jump: Jump | None = None
    answers_in_s: float | None = None  #: what a word over a connection took a moment ago; None: nobody has tried

    @property
    def alias(self) -> str:
        """The name under which known_hosts keeps the key: stays valid when the address changes."""
        return f"edgemgr-site-{self.site_id}"
