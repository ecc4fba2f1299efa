"""The chain of roots: each signed by enough keys of the one before and of itself, and no signature that is not valid.

TUF specification, 5.3 (update the root role). python-tuf counts valid signatures and ignores others; here a
signature that does not hold is a fault, because it shows that the bytes were changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tuf.api.metadata import Metadata, Root

from edgemgr.bundles import faults
from edgemgr.bundles.documents import is_key_id, read_document
from edgemgr.bundles.names import ROOT_NAME, root_member
from edgemgr.bundles.roots import Purpose, RootInfo

ROOT_FIELD = "edgemgr"
_RELEASE_ROLES = ("targets", "snapshot", "timestamp")


def read_root(data: bytes, member: str) -> Metadata[Root]:
    """Read one root and see that it is one of ours; its signatures are not verified here.

    Raises:
        BundleError: it is none (E-B012).
    """
    document = read_document(Root, data, member)
    root = document.signed
    extra = root.unrecognized_fields.get(ROOT_FIELD)
    sound = (
        set(root.unrecognized_fields) == {ROOT_FIELD}
        and isinstance(extra, dict)
        and set(extra) == {"name", "purpose"}
        and isinstance(extra["name"], str)
        and ROOT_NAME.fullmatch(extra["name"]) is not None
        and extra["purpose"] in [purpose.value for purpose in Purpose]
        and root.consistent_snapshot is False
        and all(is_key_id(key_id) for role in root.roles.values() for key_id in role.keyids)
    )
    if not sound:
        raise faults.metadata_unreadable(member, "it is no root of edgemgr")
    return document


def info_of(document: Metadata[Root]) -> RootInfo:
    """What there is to know about a root that `read_root` gave."""
    root, extra = document.signed, document.signed.unrecognized_fields[ROOT_FIELD]
    return RootInfo(
        name=extra["name"],
        purpose=Purpose(extra["purpose"]),
        version=root.version,
        fingerprint=fingerprint_of(document),
        key_ids=tuple(sorted(root.roles["root"].keyids)),
        release_key_ids=tuple(sorted({key for role in _RELEASE_ROLES for key in root.roles[role].keyids})),
        threshold=root.roles["root"].threshold,
        expires_at=root.expires,
    )


def fingerprint_of(document: Metadata[Root]) -> str:
    """`SHA256:` and the digest of the canonical signed part: signatures may come later without changing it."""
    return f"SHA256:{hashlib.sha256(document.signed_bytes).hexdigest()}"


def check_chain(chain: Sequence[Metadata[Root]], before: Metadata[Root] | None) -> None:
    """Check roots in ascending order.

    Args:
        chain: at least one root.
        before: the root before the first, where it is known.

    Raises:
        BundleError: signatures are missing or not valid (E-B020), versions are not what the members' names say, or
            name or purpose change on the way (E-B012).
    """
    for document in chain:
        _check_root(document, before)
        before = document


def _check_root(document: Metadata[Root], before: Metadata[Root] | None) -> None:
    root, member = document.signed, root_member(document.signed.version)
    judges = [document.signed] if before is None else [before.signed, document.signed]
    results = [judge.get_verification_result("root", document.signed_bytes, document.signatures) for judge in judges]
    for result in results:
        if not result:
            raise faults.unknown_signer(
                sorted(document.signatures),
                [info_of(before or document)],
                len(result.signed),
                result.threshold,
            )
    first_of_a_cut_chain = before is None and root.version > 1
    unproven = set(document.signatures).difference(*(result.signed for result in results))
    if unproven and not first_of_a_cut_chain:
        raise faults.bad_signature(member, min(unproven))
    if before is not None and before.signed.unrecognized_fields != root.unrecognized_fields:
        raise faults.metadata_unreadable(member, "its name or purpose is another one than that of the root before")
