"""The appliance's own key: made once, sealed by the vault; it signs what is carried to sites by hand."""

from __future__ import annotations

from dataclasses import dataclass

from edgemgr.links.access_key import make_key_pair
from edgemgr.links.ssh_signature import public_blob
from edgemgr.links.stick_keys import code_of, fingerprint_of
from edgemgr.model.secret import Secret
from edgemgr.model.work_order import ORDER_KEY
from edgemgr.store import appliance_keys
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault


@dataclass(frozen=True)
class OrderKey:
    """The public half, in the three forms that people and nodes compare."""

    public: str  #: `ssh-ed25519 BASE64 COMMENT`
    fingerprint: str  #: `SHA256:…`
    code: str  #: five groups of four letters, to be read out and typed


def order_key(database: Database, vault: Vault) -> OrderKey:
    """The key that signs work orders; made now if there is none.

    Raises:
        VaultError: the vault cannot be used.
    """
    public = _public(database)
    if public is None:
        pair = make_key_pair("edgemgr-appliance")
        with database.write() as session:
            appliance_keys.put(session, vault, ORDER_KEY, public=pair.public, private=pair.private)
        public = _public(database)
    if public is None:
        raise RuntimeError("the key that was just made is not there")
    blob = public_blob(public)
    return OrderKey(public, fingerprint_of(blob), code_of(blob))


def order_private_half(database: Database, vault: Vault) -> Secret:
    """What signs.

    Raises:
        VaultError: it cannot be opened.
    """
    order_key(database, vault)
    with database.read() as session:
        key = appliance_keys.find(session, ORDER_KEY)
    if key is None:
        raise RuntimeError("the key that was just made is not there")
    return appliance_keys.private_half(vault, key)


def _public(database: Database) -> str | None:
    with database.read() as session:
        key = appliance_keys.find(session, ORDER_KEY)
        return None if key is None else key.public_key
