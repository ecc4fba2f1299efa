"""What is wanted of a site beside what is stored: pure, and the same for import and edit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edgemgr.inventory.columns import BY_NAME, COLUMNS, LABEL_PREFIX, Column
from edgemgr.inventory.field_fault import FieldFault
from edgemgr.inventory.key_fields import HostKey
from edgemgr.model.secret import Secret, SecretName
from edgemgr.model.site import Trust
from edgemgr.model.site_change import FieldChange, NewSite, SiteChange, StoredSite

#: The values of a site of which nothing was said.
BLANK: dict[str, Any] = {
    **{attribute: column.default for column in COLUMNS for attribute in column.attributes},
    "trust": Trust.UNKNOWN.value,
}


@dataclass
class Wanted:
    """What a row or an edit says. Attributes and labels of which it says nothing are missing here."""

    values: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, str | None] = field(default_factory=dict)
    secrets: dict[SecretName, Secret] = field(default_factory=dict)
    host_key: HostKey | None = None

    def take(self, column: Column, read: Any) -> None:
        """Add what one cell says; `read` is None for an empty one."""
        if column.label is not None:
            self.labels[column.label] = read
        elif column.secret is not None:
            if read is not None:
                self.secrets[column.secret] = Secret(read)
        elif isinstance(read, HostKey):
            self.host_key = read
        elif read is not None or not column.keep_if_empty:
            self.values.update(column.values(read))


def contradictions(values: dict[str, Any]) -> list[tuple[str, FieldFault]]:
    """Find fields that do not fit together, by the column where they are best mended."""
    found = []
    if values["jump_address"] and not values["jump_host_key"]:
        fault = FieldFault(
            "E-CSV-JUMP-HOST-KEY", "a jump host needs its key", "Write its public key, from `ssh-keyscan HOST`."
        )
        found.append(("jump_host_key", fault))
    if values["jump_host_key"] and not values["jump_address"]:
        found.append(("jump", FieldFault("E-CSV-JUMP", "there is a key, but no jump host", "Write USER@HOST:PORT.")))
    for here, there in (("latitude", "longitude"), ("longitude", "latitude")):
        if values[here] is None and values[there] is not None:
            found.append((here, FieldFault("E-CSV-COORDINATES", f"there is only a {there}", "Write both or neither.")))
    return found


def pin(stored: StoredSite | None, key: HostKey) -> dict[str, Any]:
    """Give the values by which this host key becomes the pinned one; none if it is already.

    Raises:
        FieldFault: another key is pinned.
    """
    pinned = stored.values["host_key_fingerprint"] if stored else None
    if stored is None or pinned is None:
        return {"host_key": key.line, "host_key_fingerprint": key.fingerprint, "trust": Trust.PINNED.value}
    if pinned != key.fingerprint:
        raise FieldFault(
            "E-CSV-PIN-CHANGED",
            f"{pinned} is pinned for this site",
            f"If the host was replaced: `edgemgr site trust {stored.name} --fingerprint {key.fingerprint} --reason …`.",
        )
    return {"host_key": key.line} if key.line and not stored.values["host_key"] else {}


def new_site(wanted: Wanted) -> NewSite:
    """Make a site of what is wanted, which has at least a name and an address."""
    pinned = pin(None, wanted.host_key) if wanted.host_key else {}
    labels = {key: value for key, value in wanted.labels.items() if value is not None}
    return NewSite({**BLANK, **wanted.values, **pinned}, labels, wanted.secrets)


def difference(stored: StoredSite, wanted: Wanted, held: Callable[[SecretName], Secret | None]) -> SiteChange | None:
    """What must change for the site to be as wanted; None if it is already.

    Args:
        stored: the site as it is.
        wanted: what is said of it.
        held: opens a secret of the site.

    Raises:
        FieldFault: another host key is pinned.
    """
    values = {name: value for name, value in wanted.values.items() if value != stored.values[name]}
    if wanted.host_key:
        values |= pin(stored, wanted.host_key)
    labels = {key: value for key, value in wanted.labels.items() if value != stored.labels.get(key)}
    if "user" in values and stored.values["key_installed"]:
        values["key_installed"] = False  # our key was put into the home of the other user
    is_open = stored.values["key_installed"] and values.get("key_installed", True)
    # Once our own key opens the site, what was for the first login is erased and no longer wanted.
    secrets = {} if is_open else {name: new for name, new in wanted.secrets.items() if held(name) != new}
    if not (values or labels or secrets):
        return None
    return SiteChange(stored.id, stored.name, _shown(stored, values, labels, secrets), values, labels, secrets)


def _shown(
    stored: StoredSite, values: dict[str, Any], labels: dict[str, str | None], secrets: dict[SecretName, Secret]
) -> tuple[FieldChange, ...]:
    shown = []
    for column in COLUMNS:
        if any(attribute in values for attribute in column.attributes):
            old = column.write(*(stored.values[attribute] for attribute in column.attributes))
            new = column.write(*(values.get(name, stored.values[name]) for name in column.attributes))
            shown.append(FieldChange(column.name, old, new))
        elif column.secret in secrets:
            shown.append(FieldChange(column.name, "", "***"))
    shown += [
        FieldChange(f"{LABEL_PREFIX}{key}", stored.labels.get(key, ""), value or "")
        for key, value in sorted(labels.items())
    ]
    return tuple(shown)


def text_of(column: str, values: dict[str, Any]) -> str:
    """Write the cell of a column for these values of a site."""
    known = BY_NAME[column]
    return known.write(*(values[attribute] for attribute in known.attributes))
