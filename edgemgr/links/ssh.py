"""Connecting to a site: only to the host with the pinned key, and only then with a key or a password.

The comparison is made here, between the key exchange and the first byte of a login: there is no policy object, no
known_hosts file and no agent that could let another host through.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import paramiko

from edgemgr.errors import SiteIdentityError, SiteLoginError, SiteUnreachableError
from edgemgr.links.connection import Connection
from edgemgr.links.handshake import shake_hands, shown_key
from edgemgr.links.host_keys import fingerprint, matches, types_for
from edgemgr.links.opened import opened
from edgemgr.model.secret import Secret
from edgemgr.model.target import Jump, Target


class HostKeyMismatchError(SiteIdentityError):
    """Another host key than the pinned one answered at a site's address."""

    code = "E-SITE-IDENTITY-MISMATCH"

    def __init__(self, message: str, *, hint: str, seen: str) -> None:
        super().__init__(message, hint=hint)
        self.seen = seen  #: public key line that answered


def connect(target: Target, *, timeout_s: float = 10.0, jump_key: Secret | None = None) -> Connection:
    """Log in to a site: with the password if the target has one, else with the key.

    A jump host is entered by key only: `jump_key`, or else the site's.

    Raises:
        HostKeyMismatchError: the site's key is not the pinned one; nothing was sent to it.
        SiteIdentityError: the jump host's key is not the pinned one (E-JUMP-IDENTITY-MISMATCH); nothing was sent to it.
        SiteUnreachableError: no connection, or it was lost.
        SiteLoginError: the right host does not let us in (E-LOGIN-KEY, E-LOGIN-PASSWORD, E-LOGIN-NONE, E-LOGIN-JUMP).
        SiteError: no algorithm in common.
    """
    return connect_as([target], timeout_s=timeout_s, jump_key=jump_key)[0]


def connect_as(
    targets: Sequence[Target], *, timeout_s: float = 10.0, jump_key: Secret | None = None
) -> tuple[Connection, Target]:
    """Log in over one connection with the first of these that the site accepts, and say which one that was.

    They differ in nothing but their key or password. Where only a fingerprint is pinned, the site has to prefer the
    key that it stands for.

    Raises:
        As `connect`; SiteLoginError for the last of them.
    """
    site = targets[0]
    jump = connect_jump(site.jump, jump_key or site.private_key, timeout_s=timeout_s) if site.jump else None
    transport: paramiko.Transport | None = None
    try:
        transport = _way_to(site, jump, timeout_s)
        _check_identity(site, shown_key(transport))
        accepted = _log_in_as(transport, targets)
    except BaseException:
        if transport is not None:
            transport.close()
        if jump is not None:
            jump.close()
        raise
    return Connection(transport, site.name, jump=jump), accepted


def _way_to(site: Target, jump: Connection | None, timeout_s: float) -> paramiko.Transport:
    key_types = types_for(site.host_key)
    transport = opened().take(site.address, site.port, key_types) if jump is None else None
    if transport is None:
        return shake_hands(site.address, site.port, jump=jump, key_types=key_types, timeout_s=timeout_s)
    transport.auth_timeout = timeout_s
    return transport


def connect_jump(jump: Jump, private_key: Secret | None, *, timeout_s: float = 10.0) -> Connection:
    """Log in to a jump host. A site's password is never shown to it.

    Raises:
        As `connect`.
    """
    name = f"jump host {jump.address}:{jump.port}"
    transport = shake_hands(jump.address, jump.port, jump=None, key_types=types_for(jump.host_key), timeout_s=timeout_s)
    try:
        _check_jump_identity(jump, name, shown_key(transport))
        _by_key(transport, jump.user, private_key, name, "E-LOGIN-JUMP")
    except BaseException:
        transport.close()
        raise
    return Connection(transport, name)


def _check_identity(target: Target, seen: str) -> None:
    if not matches(target.host_key, seen):
        raise mismatch(target.name, target.host_key, seen)


def _check_jump_identity(jump: Jump, name: str, seen: str) -> None:
    if not matches(jump.host_key, seen):
        raise SiteIdentityError(
            f"{name} shows host key {fingerprint(seen)}, pinned is {fingerprint(jump.host_key)}",
            hint="Find out why. If the jump host was replaced, give its new key to the sites behind it.",
            code="E-JUMP-IDENTITY-MISMATCH",
        )


def mismatch(name: str, pinned: str, seen: str) -> HostKeyMismatchError:
    """Make the error for a site that shows another key; `pinned` is a key line or a fingerprint."""
    expected = pinned if pinned.startswith("SHA256:") else fingerprint(pinned)
    return HostKeyMismatchError(
        f"site {name} shows host key {fingerprint(seen)}, pinned is {expected}; nothing was sent to it",
        hint=(
            f"Find out why before anything else. If the node was replaced: `edgemgr site trust {name} "
            f"--fingerprint {fingerprint(seen)} --reason …` after comparing it on the node itself."
        ),
        seen=seen,
    )


def _log_in_as(transport: paramiko.Transport, targets: Sequence[Target]) -> Target:
    *others, last = targets
    for target in others:
        try:
            _log_in(transport, target)
        except SiteLoginError:
            continue
        return target
    _log_in(transport, last)
    return last


def _log_in(transport: paramiko.Transport, target: Target) -> None:
    if target.password is not None:
        _by_password(transport, target)
    else:
        _by_key(transport, target.user, target.private_key, f"site {target.name}", "E-LOGIN-KEY")


def _by_key(transport: paramiko.Transport, user: str, private_key: Secret | None, name: str, code: str) -> None:
    if private_key is None:
        raise SiteLoginError(
            f"there is no key and no password for {name}",
            hint="Put the key of `edgemgr site key NAME` there, or `edgemgr site password NAME` for the first login.",
            code="E-LOGIN-NONE",
        )
    key = load_private_key(private_key, name)
    try:
        transport.auth_publickey(user, key)
    except paramiko.AuthenticationException as exc:
        _refuse_silence(transport, name, exc)
        raise SiteLoginError(
            f"{name} does not accept the key of this appliance for user {user}",
            hint="Put the key that `edgemgr site key NAME` prints into that user's authorized_keys, "
            "or give a password once: `edgemgr site password NAME`.",
            code=code,
        ) from exc
    except (paramiko.SSHException, OSError, EOFError) as exc:
        raise SiteUnreachableError(f"the connection to {name} was lost during the login") from exc
    _fully_in(transport, name, code)


def _by_password(transport: paramiko.Transport, target: Target) -> None:
    assert target.password is not None  # noqa: S101 - for the type checker
    try:
        transport.auth_password(target.user, target.password.reveal())
    except paramiko.AuthenticationException as exc:
        _refuse_silence(transport, f"site {target.name}", exc)
        raise SiteLoginError(
            f"site {target.name} does not accept the password of user {target.user}",
            hint=f"Enter the right one with `edgemgr site password {target.name}`. sshd may also forbid passwords, "
            "for root above all (PermitRootLogin, PasswordAuthentication).",
            code="E-LOGIN-PASSWORD",
        ) from exc
    except (paramiko.SSHException, OSError, EOFError) as exc:
        raise SiteUnreachableError(f"the connection to site {target.name} was lost during the login") from exc
    _fully_in(transport, f"site {target.name}", "E-LOGIN-PASSWORD")


def _refuse_silence(transport: paramiko.Transport, name: str, exc: paramiko.AuthenticationException) -> None:
    """Tell a login that nobody answered from one that was refused: paramiko gives both the same type.

    Read in paramiko 5, auth_handler.py, wait_for_response: a link that dies meanwhile, and one that stays silent.
    """
    if not transport.is_active() or "timeout" in str(exc).lower():
        raise SiteUnreachableError(f"the connection to {name} was lost during the login") from exc


def _fully_in(transport: paramiko.Transport, name: str, code: str) -> None:
    if not transport.is_authenticated():
        raise SiteLoginError(
            f"{name} asks for a second proof of identity after the first",
            hint="Let the user of edgemgr in with a key alone (AuthenticationMethods in its sshd_config).",
            code=code,
        )


def load_private_key(secret: Secret, name: str) -> paramiko.PKey:
    """Make a private key from its text.

    Raises:
        SiteLoginError: it has a passphrase or is no key (E-LOGIN-KEY-FORMAT).
    """
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(secret.reveal()))
        except paramiko.PasswordRequiredException as exc:
            raise SiteLoginError(
                f"the private key for {name} is protected by a passphrase",
                hint="Give one without (ssh-keygen -p), or a password for the first login.",
                code="E-LOGIN-KEY-FORMAT",
            ) from exc
        except (paramiko.SSHException, ValueError, IndexError, TypeError):
            continue
    raise SiteLoginError(
        f"the private key for {name} is no Ed25519, ECDSA or RSA key",
        hint="Give a private key file as ssh-keygen writes it.",
        code="E-LOGIN-KEY-FORMAT",
    )
