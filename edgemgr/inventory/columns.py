"""The columns of a CSV of sites, described once: import, export, edit, template, error texts and docs read this."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from edgemgr.inventory import fields, key_fields
from edgemgr.inventory.field_fault import FieldFault
from edgemgr.model import labels
from edgemgr.model.secret import SecretName
from edgemgr.model.site import DEFAULT_PORT, DEFAULT_USER

LABEL_PREFIX = "labels."
#: Filled in by us in a file of bad rows, and passed over when such a file is imported again.
ERROR_COLUMN = "error"


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _host_key_text(line: str | None, fingerprint: str | None) -> str:
    return line or fingerprint or ""


def _jump_text(user: str | None, address: str | None, port: int | None) -> str:
    if address is None:
        return ""
    return f"{user}@[{address}]:{port}" if ":" in address else f"{user}@{address}:{port}"


def _read_key_file(text: str) -> str:
    return key_fields.private_key(fields.plain_text(text), read=key_fields.read_key_file)


@dataclass(frozen=True)
class Column:
    """One column: how its cells are read, which attributes of a Site they set, and what people are told of it."""

    name: str
    help: str
    example: str
    read: Callable[[str], Any]  #: raises FieldFault; gives a tuple where there are several attributes
    attributes: tuple[str, ...] = ()  #: none for secrets and labels
    write: Callable[..., str] = _text  #: attributes → text of a cell
    default: Any = None  #: the value for an empty cell
    required: bool = False
    keep_if_empty: bool = False  #: an empty cell says nothing, instead of "no value"
    secret: SecretName | None = None
    label: str | None = None  #: key of the label

    def values(self, read: Any) -> Iterator[tuple[str, Any]]:
        """Attributes of Site with the values that a cell gives them; `read` is None for an empty cell."""
        if len(self.attributes) == 1:
            yield self.attributes[0], self.default if read is None else read
        elif self.attributes:
            yield from zip(self.attributes, read or (None,) * len(self.attributes), strict=True)


COLUMNS = (
    Column("name", "What the site is called; it never changes.", "store-0001", fields.name, ("name",), required=True),
    Column("address", "Host name or IP address for SSH.", "192.0.2.10", fields.address, ("address",), required=True),
    Column("port", f"Port of SSH; {DEFAULT_PORT} if empty.", "22", fields.port, ("port",), default=DEFAULT_PORT),
    Column("user", f"Login name; {DEFAULT_USER} if empty.", "edge", fields.user, ("user",), default=DEFAULT_USER),
    Column(
        "host_key",
        "The host's public key, or its SHA256 fingerprint. It is pinned: no other host is ever given a secret.",
        "SHA256:cml5knqWaxwtNcl25J10spvcfRcOeIZNWwC4+RRqqGA",
        key_fields.host_key,
        ("host_key", "host_key_fingerprint"),
        write=_host_key_text,
        keep_if_empty=True,
    ),
    Column(
        "password",
        "Password of the login, used once to install a key and then erased. Kept sealed, never exported.",
        "",
        fields.password,
        keep_if_empty=True,
        secret=SecretName.PASSWORD,
    ),
    Column(
        "key_file",
        "Absolute path, on the appliance, of a private key for the first login; read at import, kept sealed.",
        "",
        _read_key_file,
        keep_if_empty=True,
        secret=SecretName.FIRST_KEY,
    ),
    Column(
        "jump",
        "Host on the way, USER@HOST:PORT; needs jump_host_key.",
        "relay@198.51.100.1:22",
        fields.jump,
        ("jump_user", "jump_address", "jump_port"),
        write=_jump_text,
    ),
    Column(
        "jump_host_key",
        "Full public key of the jump host.",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGsHBDz0LvTsJcL6mkUkndck6bjMjXCz7ax4Vm/Ibmjl",
        key_fields.jump_host_key,
        ("jump_host_key",),
    ),
    Column("profile", "Name of a profile.", "store", fields.profile, ("profile",)),
    Column("arch", "Architecture that is expected: amd64, arm64 or arm.", "amd64", fields.arch, ("arch",)),
    Column("timezone", "Time zone, IANA name.", "Europe/Berlin", fields.timezone, ("timezone",)),
    Column("latitude", "Degrees north.", "52.52", fields.latitude, ("latitude",)),
    Column("longitude", "Degrees east.", "13.405", fields.longitude, ("longitude",)),
    Column("notes", "Free text, line breaks allowed.", "Router in the back office", fields.notes, ("notes",)),
)
BY_NAME = {column.name: column for column in COLUMNS}
REQUIRED = tuple(column.name for column in COLUMNS if column.required)


def _label_value(text: str) -> str:
    if fault := labels.value_fault(text):
        raise FieldFault("E-CSV-LABEL-VALUE", fault, "Write for example emea.")
    return text


def label_column(key: str) -> Column:
    """The column of one label. An empty cell means that the site has no such label.

    Raises:
        FieldFault: the key breaks the rules of labels.
    """
    if fault := labels.key_fault(key):
        raise FieldFault("E-CSV-LABEL-KEY", fault, f"Write for example {LABEL_PREFIX}region.")
    return Column(f"{LABEL_PREFIX}{key}", f"Value of the label {key}.", "emea", _label_value, label=key)


def find(header: str) -> Column:
    """The column of this heading.

    Raises:
        FieldFault: there is none, or the key of a label breaks the rules.
    """
    if header in BY_NAME:
        return BY_NAME[header]
    if header.startswith(LABEL_PREFIX):
        return label_column(header.removeprefix(LABEL_PREFIX))
    near = get_close_matches(header.lower().replace(" ", "_"), (*BY_NAME, "labels"), 1, 0.5)
    meant = f"Did you mean {near[0]}? " if near and near[0] != "labels" else ""
    as_label = "" if labels.key_fault(header) else f"A label's column is called {LABEL_PREFIX}{header}."
    raise FieldFault(
        "E-CSV-COLUMN-UNKNOWN",
        "there is no such column",
        f"{meant}{as_label}".strip() or f"Columns are {', '.join(BY_NAME)}, {LABEL_PREFIX}KEY.",
    )
