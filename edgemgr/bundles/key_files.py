"""Private keys on disk: PKCS #8 PEM, readable by the owner only, whole or not there."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from edgemgr.bundles import faults
from edgemgr.bundles.whole_file import write_whole
from edgemgr.errors import BundleError


def new_directory(directory: Path) -> None:
    """Make the directory of a set of keys; nobody else may look into it.

    Raises:
        BundleError: it holds something already (E-BUNDLE-KEYS), or cannot be made (E-BUNDLE-FILE).
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise faults.bad_keys(f"{directory} is not empty", "Name a new directory: keys are never overwritten.")
        directory.chmod(0o700)
        (directory / "private").mkdir(mode=0o700)
        (directory / "roots").mkdir(mode=0o700)
    except OSError as exc:
        raise faults.unusable_file(str(directory), exc.strerror or str(exc)) from exc


def write_key(path: Path, key: Ed25519PrivateKey, passphrase: bytes | None) -> None:
    """Write a private key, encrypted when there is a passphrase."""
    how: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    write_whole(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))


def read_key(path: Path, passphrase: bytes | None) -> Ed25519PrivateKey:
    """Read a private key.

    Raises:
        BundleError: the passphrase does not open it (E-BUNDLE-PASSPHRASE), it is no key (E-BUNDLE-KEYS), or the
            file cannot be read (E-BUNDLE-FILE).
    """
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise faults.unusable_file(str(path), exc.strerror or str(exc)) from exc
    encrypted = b"ENCRYPTED PRIVATE KEY" in data
    if encrypted and not passphrase:
        raise _wrong_passphrase(path, "has a passphrase, and none was given")
    try:
        key = load_pem_private_key(data, passphrase if encrypted else None)
    except ValueError as exc:
        if encrypted:
            raise _wrong_passphrase(path, "does not open with this passphrase") from exc
        raise faults.bad_keys(f"{path} is no private key", "Restore the file from its backup.") from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise faults.bad_keys(f"{path} is no Ed25519 key", "Restore the file from its backup.")
    return key


def _wrong_passphrase(path: Path, why: str) -> BundleError:
    return BundleError(
        f"{path} {why}", hint="Give the passphrase that the keys were made with.", code="E-BUNDLE-PASSPHRASE"
    )
