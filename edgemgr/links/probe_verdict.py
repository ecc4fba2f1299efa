"""What a look at an address can find, each told apart from the others, in words for people."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from enum import StrEnum

#: A server may send other lines before its version (RFC 4253 4.2); no more than this is read.
PREAMBLE_BYTES = 8192
_LINES = 50
#: What sshd says instead of a greeting when it turns somebody away (drop_connection in OpenSSH's sshd.c).
_TURNED_AWAY = {
    b"Exceeded MaxStartups": "sshd is busy (MaxStartups)",
    b"Not allowed at this time": "sshd turns this appliance away for a while (PerSourcePenalties)",
}
#: Faults of this machine's own, which say nothing about the host.
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


class ProbeVerdict(StrEnum):
    """What answered, or what did not."""

    REACHABLE = "reachable"  #: an SSH server greeted; after a check of keys: with the right one
    BUSY = "busy"  #: an SSH server is there and turns connections away for the moment
    OTHER_KEY = "other key"  #: an SSH server answered with another host key than the pinned one
    NO_ANSWER = "no answer"  #: nothing came in time, as from a host that is switched off
    UNREACHABLE = "unreachable"  #: the network says that no way leads there
    NAME_UNKNOWN = "name unknown"  #: the name has no address
    REFUSED = "refused"  #: the host is there, the port is closed
    SILENT = "silent"  #: the connection is accepted and then nothing comes, or the key exchange does not end
    NOT_SSH = "not ssh"  #: something else listens on that port
    NOT_TRIED = "not tried"  #: this machine could not open a connection; says nothing about the host


_CODES = {
    ProbeVerdict.BUSY: "E-SITE-TURNED-AWAY",
    ProbeVerdict.OTHER_KEY: "E-SITE-IDENTITY-MISMATCH",
    ProbeVerdict.NO_ANSWER: "E-SITE-NO-ANSWER",
    ProbeVerdict.NAME_UNKNOWN: "E-SITE-NAME",
    ProbeVerdict.REFUSED: "E-SITE-REFUSED",
    ProbeVerdict.SILENT: "E-SITE-TURNED-AWAY",
    ProbeVerdict.NOT_SSH: "E-SITE-TURNED-AWAY",
}


@dataclass(frozen=True)
class Probe:
    """One look at one address."""

    verdict: ProbeVerdict
    detail: str  #: for people; the same words for the same finding
    elapsed_s: float
    shown: str | None = None  #: the public key line that was shown, with OTHER_KEY

    @property
    def answers(self) -> bool:
        """Whether an SSH server is there; which one it is only a check of its key says."""
        return self.verdict in (ProbeVerdict.REACHABLE, ProbeVerdict.BUSY)

    @property
    def code(self) -> str:
        """The code of the error that says the same; of no meaning where the site was reached."""
        return _CODES.get(self.verdict, "E-SITE-UNREACHABLE")


def read_greeting(received: bytes, *, is_closed: bool) -> tuple[ProbeVerdict, str] | None:
    """Tell what listens by what it sent so far; None: more is needed."""
    *lines, rest = received.split(b"\n")
    for line in lines[:_LINES]:
        if line.startswith(b"SSH-"):
            return ProbeVerdict.REACHABLE, line.rstrip().decode("ascii", "replace")
        for words, detail in _TURNED_AWAY.items():
            if line.startswith(words):
                return ProbeVerdict.BUSY, detail
    if len(lines) >= _LINES:
        return ProbeVerdict.NOT_SSH, "many lines, but no SSH greeting"
    if len(received) >= PREAMBLE_BYTES:
        return ProbeVerdict.NOT_SSH, "a long answer, but no SSH greeting"
    if not is_closed:
        return None
    return ProbeVerdict.NOT_SSH, "no SSH greeting" if lines or rest else "closed without an SSH greeting"


def read_error(number: int) -> tuple[ProbeVerdict, str]:
    """Tell what an error of the connection (errno(3)) means."""
    text = os.strerror(number)
    match number:
        case errno.ECONNREFUSED:
            return ProbeVerdict.REFUSED, "connection refused"
        case errno.ECONNRESET | errno.EPIPE | errno.ECONNABORTED:
            return ProbeVerdict.NOT_SSH, "closed without an SSH greeting"
        case errno.ETIMEDOUT:
            return ProbeVerdict.NO_ANSWER, text.lower()
        case number if number in _OURS:
            return ProbeVerdict.NOT_TRIED, f"this appliance cannot open a connection: {text.lower()}"
    return ProbeVerdict.UNREACHABLE, text.lower()
