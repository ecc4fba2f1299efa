"""Signed documents: read once, in one form only, after size, depth and number of values were limited.

python-tuf accepts any JSON that means the same. Here the bytes must be those that python-tuf itself would write, and
nothing may stand outside the signed part: otherwise a flipped bit between the values would go unnoticed.
"""

from __future__ import annotations

import re
from typing import TypeVar

from securesystemslib.signer import Signature
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from edgemgr.bundles import faults
from edgemgr.bundles.names import CAPS

Document = TypeVar("Document", Root, Timestamp, Snapshot, Targets)

_MAX_VALUES = 500_000  # 20 000 targets have 15 values each; more only costs memory
# Strings are skipped whole and without backtracking, also one that never ends.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|([\[{])|([\]}])|(,)', re.DOTALL)
_SIGNATURE = re.compile(r"[0-9a-f]{128}", re.ASCII)  # Ed25519, in lower case: upper case would be a second form
_KEY_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)
_FORM = JSONSerializer(compact=True)


def read_document(kind: type[Document], data: bytes, member: str) -> Metadata[Document]:
    """Read a metadata document. Its signatures are not verified here.

    Raises:
        BundleError: it is none, or not in the one form (E-B012).
    """
    fault = _shape_fault(data)
    if fault:
        raise faults.metadata_unreadable(member, fault)
    try:
        document = Metadata[Document].from_bytes(data)
        same = document.to_bytes(_FORM) == data
        document.signed_bytes  # noqa: B018 — fails here for text that has no UTF-8 form
    except RepositoryError as exc:
        raise faults.metadata_unreadable(member) from exc
    if document.signed.type != kind.type:
        raise faults.metadata_unreadable(member, "it is a document of another kind")
    loose = any(not _is_signature(signature) for signature in document.signatures.values())
    if not same or loose or document.unrecognized_fields:
        raise faults.metadata_unreadable(member, "it is not in canonical form")
    return document


def write_document(document: Metadata[Document]) -> bytes:
    """The one form of a document."""
    return document.to_bytes(_FORM)


def is_key_id(value: object) -> bool:
    """Whether something is the name of a key as python-tuf makes it: 64 hexadecimal digits."""
    return isinstance(value, str) and _KEY_ID.fullmatch(value) is not None


def _is_signature(signature: Signature) -> bool:
    """python-tuf takes any value for both, also none at all."""
    value = signature.signature
    return (
        is_key_id(signature.keyid)
        and isinstance(value, str)
        and _SIGNATURE.fullmatch(value) is not None
        and not signature.unrecognized_fields
    )


def _shape_fault(data: bytes) -> str:
    depth = values = 0
    for match in _TOKEN.finditer(data):
        if match[1]:
            depth += 1
        elif match[2]:
            depth -= 1
        values += match.lastindex is not None
        if depth > CAPS.json_depth:
            return f"it is nested deeper than {CAPS.json_depth} levels"
        if values > _MAX_VALUES:
            return f"it has more than {_MAX_VALUES} values"
    return ""
