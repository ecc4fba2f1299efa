"""The host on the way to a site: pinned like the site, entered with a key only."""

from __future__ import annotations

from collections.abc import Sequence

from edgemgr.errors import SiteIdentityError, SiteLoginError
from edgemgr.links.connection import Connection
from edgemgr.model.secret import Secret
from edgemgr.model.site import DEFAULT_PORT, DEFAULT_USER, Site
from edgemgr.model.target import Jump


def jump_of(site: Site) -> Jump | None:
    """Give the host on the way to a site; None where there is none.

    Raises:
        SiteIdentityError: it has no pinned key (E-JUMP-UNPINNED).
    """
    if site.jump_address is None:
        return None
    if site.jump_host_key is None:
        raise SiteIdentityError(
            f"the host key of the jump host {site.jump_address} of site {site.name} is not pinned",
            hint="Give the full public key of the jump host in the CSV or with `edgemgr site edit`.",
            code="E-JUMP-UNPINNED",
        )
    return Jump(
        address=site.jump_address,
        port=site.jump_port or DEFAULT_PORT,
        user=site.jump_user or DEFAULT_USER,
        host_key=site.jump_host_key,
    )


def enter_jump(jump: Jump, keys: Sequence[Secret], *, timeout_s: float) -> tuple[Connection, Secret]:
    """Log in with the first key that opens, and say which one that was.

    Raises:
        SiteIdentityError: it is not the pinned host (E-JUMP-IDENTITY-MISMATCH).
        SiteUnreachableError: it does not answer.
        SiteLoginError: none of the keys opens it (E-LOGIN-JUMP).
    """
    from edgemgr.links.ssh import connect_jump

    for key in keys:
        try:
            return connect_jump(jump, key, timeout_s=timeout_s), key
        except SiteLoginError:
            continue
    raise SiteLoginError(
        f"jump host {jump.address}:{jump.port} lets none of our keys in for user {jump.user}",
        hint="Put the key of `edgemgr site key NAME` into that user's authorized_keys on the jump host.",
        code="E-LOGIN-JUMP",
    )
