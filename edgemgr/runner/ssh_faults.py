"""What ssh, sudo and the node's shell say when no module could run, and what each of it means.

The sentences are those of OpenSSH (sshconnect.c, sshconnect2.c, clientloop.c), sudo (plugins/sudoers) and
ansible-core (executor/interpreter_discovery, plugins/connection/ssh.py). Ansible reports a wrong host key and a
refused login as "unreachable" too; told apart they must be, since a repeat mends neither.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgemgr.errors import Retry
from edgemgr.model.attempt import AttemptResult, Outcome

IDENTITY_CODE = "E-SITE-IDENTITY-MISMATCH"
LOGIN_CODE = "E-LOGIN-KEY"
OUTPUT_CODE = "E-SITE-OUTPUT"
_LINE_MAX = 500


@dataclass(frozen=True)
class Fault:
    """A pattern of a line in that text, and the outcome that it stands for."""

    pattern: str
    outcome: Outcome
    code: str
    message: str  #: `{site}` is the site's name, `{line}` the line that was found
    hint: str
    retry: Retry


_IDENTITY = Fault(
    r"^.*(Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|host key is known for).*$",
    Outcome.FAILED,
    IDENTITY_CODE,
    "the host that answered for {site} has another host key than the pinned one; nothing was sent to it",
    "Find out why. If the host was set up anew, pin its new key with `edgemgr site trust`.",
    Retry.NEVER,
)
_LOGIN = Fault(
    r"^.*(: Permission denied \(.*\)|Too many authentication failures).*$",
    Outcome.FAILED,
    LOGIN_CODE,
    "{site} does not accept our key: {line}",
    "Put the site's public key into authorized_keys of its user; `edgemgr site key` prints it.",
    Retry.BUDGETED,
)
_PYTHON = Fault(
    r"^.*(python[0-9.]*'?:? (was )?(not found|No such file or directory)|"
    r"requires a minimum of Python|No module named '[\w.]+').*$",
    Outcome.REFUSED,
    "E-PRE-PYTHON",
    "{site} has no Python that can be used: {line}",
    "Install python3 (3.8 or newer, not python3-minimal) on the node.",
    Retry.NEVER,
)
_SUDO = Fault(
    r"^.*(sudo: (command )?not found|sudo: No such file or directory|Missing sudo password|"
    r"a password is required|a terminal is required|you must have a tty|"
    r"is not in the sudoers file|is not allowed to (run|execute)|no new privileges|may not run sudo).*$",
    Outcome.REFUSED,
    "E-PRE-SUDO",
    "the user at {site} may not use sudo without a password: {line}",
    "Install sudo on the node and allow the user ALL with NOPASSWD, or give root as the site's user.",
    Retry.NEVER,
)
_FLOOD = Fault(
    r"^edgemgr: the site sent more than .*$",  # ssh_bounded.sh
    Outcome.FAILED,
    OUTPUT_CODE,
    "{site} sent far more than an answer may be; the rest was not read",
    "Look at what runs on the node: an answer of edgemgr's own modules is never that long.",
    Retry.BUDGETED,
)
_LOST = Fault(
    r"^.*(Shared connection to .* closed|Connection to .* closed by|Broken pipe|Connection timed out|"
    r"Connection reset by|client_loop: send disconnect|Control socket|mux_client|Timeout, server .* not responding|"
    r"Timeout \(\d+s\) waiting for|Connection refused|Connection closed|No route to host|Network is unreachable).*$",
    Outcome.UNREACHABLE,
    "E-SITE-UNREACHABLE",
    "the connection to {site} was lost: {line}",
    "Nothing to do: it goes on when the site can be reached.",
    Retry.FREE,
)


def when_unreachable(text: str, site: str) -> AttemptResult:
    """Ansible could not reach the site: because of its host key, of our key, or truly not."""
    said = re.split(r"(?:over|via) ssh: ", text, maxsplit=1)[-1]
    for fault in (_IDENTITY, _LOGIN):
        found = _read(fault, said, site)
        if found:
            return found
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    reason = lines[-1][:_LINE_MAX] if lines else "the connection ended without a word"
    return AttemptResult(
        Outcome.UNREACHABLE,
        code=_LOST.code,
        message=f"{site} could not be reached: {reason}",
        hint=_LOST.hint,
        retry=Retry.FREE,
    )


def when_raw(text: str, site: str) -> AttemptResult | None:
    """A task failed and no module had the word; None: for another reason than these."""
    found = (_read(fault, text, site) for fault in (_FLOOD, _IDENTITY, _LOGIN, _SUDO, _PYTHON, _LOST))
    return next(filter(None, found), None)


def _read(fault: Fault, text: str, site: str) -> AttemptResult | None:
    match = re.search(fault.pattern, text, re.MULTILINE)
    if match is None:
        return None
    return AttemptResult(
        fault.outcome,
        code=fault.code,
        message=fault.message.format(site=site, line=match[0].strip()[:_LINE_MAX]),
        hint=fault.hint,
        retry=fault.retry,
    )
