"""When the cluster's certificates end, read from the files that k3s keeps on the node.

Read from the files and not from the API, so that it is known also when the API is down, which it is when they have
ended. Python's library reads no certificates: the two dates are taken out of the DER by hand (RFC 5280, part 4.1).
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import os
import re
from typing import NamedTuple

from ansible_collections.edgemgr.edge.plugins.module_utils import layout

#: Below k3s' data directory (docs.k3s.io/cli/certificate). etcd's are made for every server, and used with etcd alone.
DIRECTORIES = ("server/tls", "server/tls/kube-controller-manager", "server/tls/kube-scheduler", "agent")
ETCD_DIRECTORY = "server/tls/etcd"
MOST_BYTES = 1 << 20

_PEM = re.compile(b"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_AUTHORITY = re.compile(r"-ca(?:\.nochain)?\.crt")
_SEQUENCE, _VERSION, _UTC_TIME, _TIME = 0x30, 0xA0, 0x17, 0x18
_LENGTH_BYTES = 4
_CENTURY = 50  # RFC 5280, 4.1.2.5.1: two digits below it are of this century


class Certificates(NamedTuple):
    """File below the data directory → when it ends, in seconds since 1970. What cannot be read is left out."""

    leaves: dict[str, float]  # renewed by k3s when it starts
    authorities: dict[str, float]  # for ten years, renewed by nobody
    digests: dict[str, str]  # of the leaves' files: two that were made within a second end at the same moment


def read() -> Certificates:
    """Look at all of them."""
    found = Certificates({}, {}, {})
    directories = [*DIRECTORIES, *([ETCD_DIRECTORY] if os.path.isdir(layout.DATA_DIR + "/server/db/etcd") else [])]
    for directory in directories:
        for name in _names(layout.DATA_DIR + "/" + directory):
            content = _content(layout.DATA_DIR + "/" + directory + "/" + name)
            ends = _ends(content)
            if not ends:
                continue
            if _AUTHORITY.search(name):
                found.authorities[directory + "/" + name] = min(ends)
            else:  # the authorities behind it, which may follow in the same file, have files of their own
                found.leaves[directory + "/" + name] = ends[0]
                found.digests[directory + "/" + name] = hashlib.sha256(content).hexdigest()
    return found


def first_end(ends: dict[str, float]) -> float | None:
    """The one that ends first; None when there is none."""
    return min(ends.values()) if ends else None


def ends_at(der: bytes) -> float:
    """When a certificate ends, in seconds since 1970.

    Raises:
        ValueError: it is no certificate.
    """
    try:
        at = _inside(der, _inside(der, 0))  # Certificate, TBSCertificate
        if der[at] == _VERSION:
            at = _behind(der, at)
        for _ in ("serial number", "signature", "issuer"):
            at = _behind(der, at)
        return _moment(der, _behind(der, _inside(der, at)))  # Validity: behind its first date
    except IndexError:
        raise ValueError("the certificate is cut off") from None


def _names(directory: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if name.endswith(".crt"))
    except OSError:
        return []


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as handle:
            return handle.read(MOST_BYTES)
    except OSError:
        return b""


def _ends(content: bytes) -> list[float]:
    try:
        return [ends_at(base64.b64decode(text)) for text in _PEM.findall(content)]
    except ValueError:
        return []


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag, first byte of the content, and the byte behind it."""
    tag, length, start = der[at], der[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= _LENGTH_BYTES:
            raise ValueError("a length is not in DER")
        length, start = int.from_bytes(der[start : start + count], "big"), start + count
    if start + length > len(der):
        raise ValueError("the certificate is cut off")
    return tag, start, start + length


def _inside(der: bytes, at: int) -> int:
    tag, start, _end = _element(der, at)
    if tag != _SEQUENCE:
        raise ValueError("it is no certificate")
    return start


def _behind(der: bytes, at: int) -> int:
    return _element(der, at)[2]


def _moment(der: bytes, at: int) -> float:
    tag, start, end = _element(der, at)
    text = der[start:end].decode("ascii")
    if tag == _UTC_TIME:
        text = ("20" if int(text[:2]) < _CENTURY else "19") + text
    elif tag != _TIME:
        raise ValueError("it has no end")
    return dt.datetime.strptime(text + "+0000", "%Y%m%d%H%M%SZ%z").timestamp()
