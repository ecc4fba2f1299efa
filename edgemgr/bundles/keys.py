"""Signing keys: three root keys of which two must sign, and one release key that signs bundles.

A directory holds `private/NAME-KEYID.pem` (PKCS #8, mode 0600) and `roots/N.root.json`, the whole chain. The root
keys are for a safe; only the release key is needed to make bundles. Any one root key may be away at a rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, Key, SSlibKey
from tuf.api.metadata import Metadata, Root

from edgemgr.bundles import faults
from edgemgr.bundles.chain import ROOT_FIELD, check_chain, info_of, read_root
from edgemgr.bundles.documents import write_document
from edgemgr.bundles.key_files import new_directory, read_key, write_key
from edgemgr.bundles.names import CAPS, ROOT_NAME, root_member
from edgemgr.bundles.roots import Purpose, RootInfo
from edgemgr.bundles.whole_file import write_whole

RELEASE_KEY = "release"
ROOT_KEYS = ("root-1", "root-2", "root-3")
ROOT_THRESHOLD = 2
ROOT_LIFE = timedelta(days=5 * 365)
#: The version of the TUF specification that is written, fixed so that a newer library gives the same bytes.
SPEC_VERSION = "1.0.31"

_RELEASE_ROLES = ("targets", "snapshot", "timestamp")
#: The field of a key, inside the signed root, that keeps its name.
_NAME_FIELD = "edgemgr-name"


@dataclass(frozen=True)
class ReleaseSigner:
    """Signs bundles: the release key, and the chain of roots that says whose key it is."""

    root: RootInfo  #: the newest
    roots: tuple[bytes, ...]  #: root 1, 2, … as they go into the bundle
    signer: CryptoSigner


def init_keys(directory: Path, *, name: str, purpose: str, passphrase: bytes | None, now: datetime) -> RootInfo:
    """Make four keys and root 1.

    Args:
        directory: must not exist, or be empty.
        name: of the line of roots, such as `vendor`; a-z, 0-9 and hyphens.
        purpose: `release` or `development`.
        passphrase: encrypts the private keys; None leaves them as they are.
        now: the root is valid for five years from here.

    Raises:
        BundleError: there are keys already (E-BUNDLE-KEYS), name or purpose are none (E-BUNDLE-INPUT), or the
            directory cannot be written (E-BUNDLE-FILE).
    """
    if ROOT_NAME.fullmatch(name) is None:
        raise faults.bad_input(f"the name {name!r}", "write 1 to 32 of a-z, 0-9 and hyphen")
    if purpose not in {known.value for known in Purpose}:
        raise faults.bad_input(f"the purpose {purpose!r}", "write release or development")
    new_directory(directory)
    signers = {key: _new_key(directory, key, passphrase) for key in (*ROOT_KEYS, RELEASE_KEY)}
    root = Root(
        version=1,
        spec_version=SPEC_VERSION,
        expires=now + ROOT_LIFE,
        consistent_snapshot=False,
        unrecognized_fields={ROOT_FIELD: {"name": name, "purpose": purpose}},
    )
    for key in ROOT_KEYS:
        root.add_key(signers[key].public_key, "root")
    root.roles["root"].threshold = ROOT_THRESHOLD
    for role in _RELEASE_ROLES:
        root.add_key(signers[RELEASE_KEY].public_key, role)
    return _sign_and_keep(directory, root, [signers[key] for key in ROOT_KEYS])


def rotate_key(directory: Path, which: str, *, passphrase: bytes | None, now: datetime) -> RootInfo:
    """Replace one key by a new one and make the next root, signed by the keys of the old root and of the new.

    Args:
        directory: what `init_keys` made.
        which: `release`, `root-1`, `root-2` or `root-3`. The private key that is replaced is deleted.
        passphrase: that of the keys; the new one gets the same.
        now: the next root is valid for five years from here.

    Raises:
        BundleError: fewer than two root keys are there, or the directory or the name is no such (E-BUNDLE-KEYS);
            the passphrase is another one (E-BUNDLE-PASSPHRASE).
    """
    chain = _read_chain(directory)
    old = chain[-1].signed
    if which not in (*ROOT_KEYS, RELEASE_KEY):
        raise faults.bad_keys(f"there is no key {which!r}", f"It is one of {', '.join((*ROOT_KEYS, RELEASE_KEY))}.")
    if len(chain) == CAPS.root_chain:
        raise faults.bad_keys(
            f"the chain has {len(chain)} roots, and no reader takes more",
            "Begin a new line of roots with `bundle keys init`, and have its root trusted everywhere.",
        )
    present = [signer for key_id in old.roles["root"].keyids if (signer := _find(directory, old, key_id, passphrase))]
    if len(present) < ROOT_THRESHOLD:
        raise faults.bad_keys(
            f"{len(present)} of {ROOT_THRESHOLD} root keys that are needed are in {directory}",
            "Copy their files back into its directory `private`.",
        )
    roles = _RELEASE_ROLES if which == RELEASE_KEY else ("root",)
    replaced = next(old.keys[key_id] for key_id in old.roles[roles[0]].keyids if _name_of(old.keys[key_id]) == which)
    new = _new_key(directory, which, passphrase)
    root = Root.from_dict(old.to_dict())
    root.version, root.expires = old.version + 1, now + ROOT_LIFE
    for role in roles:
        root.revoke_key(replaced.keyid, role)
        root.add_key(new.public_key, role)
    info = _sign_and_keep(directory, root, present if which == RELEASE_KEY else [*present, new])
    _key_file(directory, which, replaced.keyid).unlink(missing_ok=True)
    return info


def export_root(directory: Path) -> bytes:
    """The newest root, for `bundle trust add` on appliances. It is public.

    Raises:
        BundleError: the directory holds no keys (E-BUNDLE-KEYS).
    """
    return write_document(_read_chain(directory)[-1])


def export_chain(directory: Path) -> bytes:
    """All roots, a line each, for `bundle trust update` on appliances. They are public.

    Raises:
        BundleError: the directory holds no keys (E-BUNDLE-KEYS).
    """
    return b"".join(write_document(root) + b"\n" for root in _read_chain(directory))


def load_signer(directory: Path, passphrase: bytes | None) -> ReleaseSigner:
    """Open the release key; the root keys need not be there.

    Raises:
        BundleError: the directory has no release key (E-BUNDLE-KEYS), or the passphrase is another one
            (E-BUNDLE-PASSPHRASE).
    """
    chain = _read_chain(directory)
    newest = chain[-1].signed
    signer = _find(directory, newest, newest.roles["targets"].keyids[0], passphrase)
    if signer is None:
        raise faults.bad_keys(
            f"the release key of root {newest.version} is not in {directory}",
            "Copy its file back into its directory `private`, or rotate it.",
        )
    return ReleaseSigner(info_of(chain[-1]), tuple(write_document(root) for root in chain), signer)


def _new_key(directory: Path, name: str, passphrase: bytes | None) -> CryptoSigner:
    private = Ed25519PrivateKey.generate()
    public = SSlibKey.from_crypto(private.public_key())
    public.unrecognized_fields[_NAME_FIELD] = name
    write_key(_key_file(directory, name, public.keyid), private, passphrase)
    return CryptoSigner(private, public)


def _find(directory: Path, root: Root, key_id: str, passphrase: bytes | None) -> CryptoSigner | None:
    public = root.keys[key_id]
    path = _key_file(directory, _name_of(public), key_id)
    if not path.exists() or not isinstance(public, SSlibKey):
        return None
    private = read_key(path, passphrase)
    if SSlibKey.from_crypto(private.public_key()).keyval != public.keyval:
        raise faults.bad_keys(f"{path} holds another key than its name says", "Restore the file from its backup.")
    return CryptoSigner(private, public)


def _sign_and_keep(directory: Path, root: Root, signers: Sequence[CryptoSigner]) -> RootInfo:
    document: Metadata[Root] = Metadata(root)
    for signer in signers:
        document.sign(signer, append=True)
    write_whole(_root_file(directory, root.version), write_document(document))
    return info_of(document)


def _read_chain(directory: Path) -> list[Metadata[Root]]:
    chain: list[Metadata[Root]] = []
    while (path := _root_file(directory, len(chain) + 1)).exists() and len(chain) < CAPS.root_chain:
        chain.append(read_root(path.read_bytes()[: CAPS.root + 1], root_member(len(chain) + 1)))
    if not chain:
        raise faults.bad_keys(f"{directory} holds no signing keys", "Make them with `edgemgr bundle keys init`.")
    check_chain(chain, None)
    return chain


def _name_of(key: Key) -> str:
    return str(key.unrecognized_fields.get(_NAME_FIELD, ""))


def _key_file(directory: Path, name: str, key_id: str) -> Path:
    return directory / "private" / f"{name}-{key_id[:16]}.pem"


def _root_file(directory: Path, version: int) -> Path:
    return directory / "roots" / f"{version}.root.json"
