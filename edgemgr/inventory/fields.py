"""The rules of single fields: text from a cell or an option → a typed value, or a FieldFault.

Names, addresses and users are held to what can never become an option, a template or a command: OpenSSH has had
flaws with such values more than once (CVE-2023-51385).
"""

from __future__ import annotations

import ipaddress
import math
import re
import zoneinfo
from difflib import get_close_matches
from functools import lru_cache
from typing import NamedTuple

from edgemgr.inventory.field_fault import FieldFault
from edgemgr.model.release import Arch
from edgemgr.model.site import DEFAULT_PORT

NOTES_LIMIT = 2000
PASSWORD_LIMIT = 1024
HIGHEST_PORT = 65535

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)
_LAST_PART_IS_A_NUMBER = re.compile(r"(?:.*\.)?(?:\d+|0[xX][0-9A-Fa-f]*)", re.ASCII)
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.ASCII)
_JUMP = re.compile(r"(?P<user>[^@]+)@(?P<address>\[[^\]]+\]|[^:\[\]]+)(?::(?P<port>.*))?", re.DOTALL)
_TEMPLATE = re.compile(r"\{\{|\{%|\{#")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_BUT_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ARCH_NAMES = {"x86_64": "amd64", "x64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armhf": "arm"}


class JumpHost(NamedTuple):
    """A host on the way to a site, without its key."""

    user: str
    address: str
    port: int


def plain_text(text: str, *, lines: bool = False) -> str:
    """Refuse what could be taken for a template by Ansible, or acted upon by a terminal."""
    if found := _TEMPLATE.search(text):
        raise FieldFault("E-CSV-TEMPLATE", f"it contains {found[0]}, the beginning of a template", "Leave that out.")
    if found := (_CONTROL_BUT_LINES if lines else _CONTROL).search(text):
        raise FieldFault(
            "E-CSV-CONTROL", f"it contains the control character U+{ord(found[0]):04X}", "Write it without that."
        )
    return text


def name(text: str) -> str:
    """A site's (or group's, or profile's) name."""
    if _NAME.fullmatch(text):
        return text
    likely = re.sub(r"[^a-z0-9.-]+", "-", text.lower()).strip(".-")[:63].strip(".-")
    raise FieldFault(
        "E-CSV-NAME",
        "it is not 1 to 63 of a-z, 0-9, '-' and '.', with a letter or digit at both ends",
        f"Write for example {likely or 'store-0001'}.",
    )


def address(text: str) -> str:
    """A host name or an IP address, in the one form that makes duplicates show."""
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return _host_name(text)
    if ip.is_unspecified or ip.is_multicast or (ip.version == 6 and "%" in text):  # noqa: PLR2004 - IPv6
        raise FieldFault("E-CSV-ADDRESS", "no single host has this address", "Write the address of the site's host.")
    return str(ip)


def _host_name(text: str) -> str:
    if _HOST.fullmatch(text) is None or ".." in text:
        raise FieldFault(
            "E-CSV-ADDRESS",
            "it is neither a host name nor an IP address",
            "Write for example 192.0.2.10, 2001:db8::10 or store-1.example.com; the port has a column of its own.",
        )
    if _LAST_PART_IS_A_NUMBER.fullmatch(text):
        raise FieldFault(
            "E-CSV-ADDRESS",
            "it looks like an IPv4 address, but is none",
            "Write four numbers from 0 to 255 without leading zeros, for example 192.0.2.10.",
        )
    return text.lower()


def port(text: str) -> int:
    """A TCP port."""
    if text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= HIGHEST_PORT:  # noqa: PLR2004
        return int(text)
    raise FieldFault("E-CSV-PORT", f"it is no port from 1 to {HIGHEST_PORT}", f"Write for example {DEFAULT_PORT}.")


def user(text: str) -> str:
    """A login name."""
    if _USER.fullmatch(text):
        return text
    raise FieldFault(
        "E-CSV-USER",
        "it is no login name: 1 to 32 of a-z, 0-9, '_' and '-', beginning with a letter or '_'",
        "Write for example edge.",
    )


def jump(text: str) -> JumpHost:
    """A jump host, `user@host` or `user@host:port`."""
    match = _JUMP.fullmatch(text)
    if match is None:
        raise FieldFault(
            "E-CSV-JUMP", "it is not USER@HOST:PORT", "Write for example edge@198.51.100.1:22 or edge@[2001:db8::1]:22."
        )
    try:
        host = match["address"].removeprefix("[").removesuffix("]")
        return JumpHost(user(match["user"]), address(host), port(match["port"] or str(DEFAULT_PORT)))
    except FieldFault as fault:
        raise FieldFault("E-CSV-JUMP", f"in USER@HOST:PORT {fault.message}", fault.hint) from None


def password(text: str) -> str:
    """A password, taken as it stands."""
    if len(text) > PASSWORD_LIMIT or _CONTROL.search(text):
        raise FieldFault(
            "E-CSV-PASSWORD",
            f"it is longer than {PASSWORD_LIMIT} characters or contains a control character",
            "Set another password on the site.",
        )
    return text


def profile(text: str) -> str:
    """The name of a profile."""
    try:
        return name(text)
    except FieldFault as fault:
        raise FieldFault("E-CSV-PROFILE", fault.message, fault.hint) from None


def arch(text: str) -> str:
    """An architecture that k3s is published for."""
    if text in tuple(Arch):
        return text
    likely = _ARCH_NAMES.get(text.lower()) or next(iter(get_close_matches(text.lower(), tuple(Arch), 1)), None)
    raise FieldFault("E-CSV-ARCH", "k3s has no such architecture", f"Write {likely or 'amd64, arm64 or arm'}.")


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones()) - {"localtime", "posixrules", "Factory"}


def timezone(text: str) -> str:
    """A time zone of the IANA database."""
    if text in _zones():
        return text
    by_lower = {zone.lower(): zone for zone in _zones()}
    near = get_close_matches(text.lower(), by_lower, 1)
    raise FieldFault(
        "E-CSV-TIMEZONE",
        "it is no time zone of the IANA database",
        f"Write {by_lower[near[0]]}." if near else "Write for example Europe/Berlin.",
    )


def latitude(text: str) -> float:
    """Degrees north of the equator."""
    return _degrees(text, 90, "E-CSV-LATITUDE", "52.52")


def longitude(text: str) -> float:
    """Degrees east of Greenwich."""
    return _degrees(text, 180, "E-CSV-LONGITUDE", "13.405")


def _degrees(text: str, most: int, code: str, example: str) -> float:
    try:
        degrees = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        degrees = math.nan
    if -most <= degrees <= most:
        return degrees
    likely = text.replace(",", ".", 1) if re.fullmatch(r"-?\d{1,3},\d+", text, re.ASCII) else example
    raise FieldFault(code, f"it is no number of degrees from -{most} to {most}", f"Write for example {likely}.")


def notes(text: str) -> str:
    """Free text; line breaks are kept."""
    if len(text) > NOTES_LIMIT:
        raise FieldFault("E-CSV-NOTES", f"it has {len(text)} characters", f"Write {NOTES_LIMIT} at most.")
    return plain_text(text.replace("\r\n", "\n"), lines=True)
