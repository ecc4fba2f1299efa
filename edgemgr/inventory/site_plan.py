"""SitePlan: what a sheet would do to the inventory, row by row; and the faults that only the inventory shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from edgemgr.inventory.compare import BLANK, Wanted, contradictions, difference, new_site, text_of
from edgemgr.inventory.field_fault import FieldFault
from edgemgr.inventory.import_report import Faults
from edgemgr.inventory.sheet import INVALID, Row, Sheet
from edgemgr.model.site_change import NewSite, SiteChange, StoredSite
from edgemgr.store import secrets, stored_sites
from edgemgr.store.database import Session
from edgemgr.store.secrets import Sealer

CHUNK = 500


class Endpoint(NamedTuple):
    """Where a site is reached. Private addresses repeat behind different jump hosts."""

    address: str
    port: int
    jump_address: str | None
    jump_port: int | None


@dataclass
class SitePlan:
    """What is to be done for rows without a fault."""

    creates: list[Row] = field(default_factory=list)
    changes: list[tuple[int, SiteChange]] = field(default_factory=list)  #: with the line
    unchanged: list[int] = field(default_factory=list)  #: lines

    def without(self, lines: set[int]) -> SitePlan:
        """Leave out the rows on these lines."""
        return SitePlan(
            [row for row in self.creates if row.line not in lines],
            [(line, change) for line, change in self.changes if line not in lines],
            [line for line in self.unchanged if line not in lines],
        )


@dataclass(frozen=True)
class _Claim:
    """A row that wants an endpoint which another site of the inventory has now."""

    line: int
    name: str | None
    address: str


class Planner:
    """Compares one sheet with the inventory, as one session sees it."""

    def __init__(self, session: Session, vault: Sealer, sheet: Sheet, faults: Faults) -> None:
        self._session = session
        self.vault = vault
        self._sheet = sheet
        self._faults = faults
        self._name_at = sheet.index_of("name")
        self._line_of_endpoint: dict[Endpoint, int] = {}
        self._claims: dict[str, list[_Claim]] = {}  # by the name of the site that has the endpoint
        self._line_of_name: dict[str, int] = {}
        self._plan = SitePlan()

    def plan(self, progress: Callable[[int], None]) -> SitePlan:
        """Make the plan; rows with faults are in it no more.

        Args:
            progress: is told the number of rows that have been compared.
        """
        rows = self._sheet.rows
        for start in range(0, len(rows), CHUNK):
            self._compare(rows[start : start + CHUNK])
            progress(min(start + CHUNK, len(rows)))
        self._settle_claims()
        return self._plan.without(self._faults.lines)

    def wanted(self, row: Row) -> Wanted:
        """Read what a row says, without the cells that were refused."""
        wanted = Wanted()
        for place, value in zip(self._sheet.places, row.values, strict=True):
            if value is not INVALID:
                wanted.take(place.column, value)
        return wanted

    def new_site(self, row: Row) -> NewSite:
        """Make the site that a row creates."""
        return new_site(self.wanted(row))

    def _compare(self, rows: list[Row]) -> None:
        wishes = [(row, self.wanted(row)) for row in rows]
        names = [wanted.values["name"] for _, wanted in wishes if "name" in wanted.values]
        stored = stored_sites.by_name(self._session, names)
        keys = {wanted.host_key.fingerprint for _, wanted in wishes if wanted.host_key}
        key_holders = stored_sites.with_host_keys(self._session, keys)
        endpoints = {}
        for row, wanted in wishes:
            site = stored.get(wanted.values.get("name", ""))
            self._plan_row(row, wanted, site)
            self._refuse_taken_key(row, wanted, key_holders)
            endpoint = self._endpoint(row, {**(site.values if site else BLANK), **wanted.values})
            if endpoint is not None:
                endpoints[endpoint] = (row.line, wanted.values.get("name"))
        self._note_claims(endpoints)

    def _plan_row(self, row: Row, wanted: Wanted, site: StoredSite | None) -> None:
        effective = {**(site.values if site else BLANK), **wanted.values}
        for column, fault in contradictions(effective):
            if not self._is_refused(row, column, *_RELATED[column]):
                self._refuse(row, fault, column, text_of(column, effective))
        if self._name_at is None or row.values[self._name_at] is INVALID:
            return
        self._line_of_name[wanted.values["name"]] = row.line
        if site is None:
            self._plan.creates.append(row)
            return
        held = partial(secrets.get, self._session, self.vault, site.id)
        try:
            change = difference(site, wanted, held)
        except FieldFault as fault:
            self._refuse(row, fault, "host_key", wanted.host_key.fingerprint if wanted.host_key else "")
            return
        if change is None:
            self._plan.unchanged.append(row.line)
        else:
            self._plan.changes.append((row.line, change))

    def _refuse_taken_key(self, row: Row, wanted: Wanted, holders: dict[str, str]) -> None:
        if wanted.host_key is None:
            return
        holder = holders.get(wanted.host_key.fingerprint)
        if holder is not None and holder != wanted.values.get("name"):
            fault = FieldFault(
                "E-CSV-KEY-TAKEN",
                f"site {holder} has this host key",
                "Two hosts never share a key: collect it again, or make a new one on a cloned host.",
            )
            self._refuse(row, fault, "host_key", wanted.host_key.fingerprint)

    def _endpoint(self, row: Row, effective: dict[str, Any]) -> Endpoint | None:
        """Tell where the site will be reached, and refuse the second row of the file that says the same."""
        if "address" not in effective or effective["address"] is None or self._is_refused(row, "port", "jump"):
            return None
        endpoint = Endpoint(*(effective[name] for name in Endpoint._fields))
        first = self._line_of_endpoint.setdefault(endpoint, row.line)
        if first != row.line:
            fault = FieldFault(
                "E-CSV-ADDRESS-TWICE",
                f"line {first} has this address and port already",
                "Correct one of them; sites behind different jump hosts may share an address.",
            )
            self._refuse(row, fault, "address", endpoint.address)
            return None
        return endpoint

    def _note_claims(self, endpoints: dict[Endpoint, tuple[int, str | None]]) -> None:
        addresses = {endpoint.address for endpoint in endpoints}
        for name, address, port, jump_address, jump_port in stored_sites.at_addresses(self._session, addresses):
            line, own_name = endpoints.get(Endpoint(address, port, jump_address, jump_port), (0, name))
            if name != own_name:
                self._claims.setdefault(name, []).append(_Claim(line, own_name, address))

    def _settle_claims(self) -> None:
        """Refuse rows that want the endpoint of a site which keeps it.

        A site that the same file moves elsewhere gives its endpoint up, unless its own row is refused; so every
        refusal may bring another.
        """
        rows = {row.line: row for row in self._sheet.rows} if self._claims else {}
        moved = {name for name, line in self._line_of_name.items() if line not in self._faults.lines}
        staying = [name for name in self._claims if name not in moved]
        while staying:
            holder = staying.pop()
            fault = FieldFault(
                "E-CSV-ADDRESS-TAKEN", f"site {holder} has this address and port", "Correct one of the two."
            )
            for claim in self._claims.pop(holder, ()):
                self._refuse(rows[claim.line], fault, "address", claim.address)
                if claim.name is not None:
                    staying.append(claim.name)

    def _is_refused(self, row: Row, *names: str) -> bool:
        indexes = (self._sheet.index_of(name) for name in names)
        return any(index is not None and row.values[index] is INVALID for index in indexes)

    def _refuse(self, row: Row, fault: FieldFault, column: str, value: str) -> None:
        index = self._sheet.index_of(column)
        position = None if index is None else self._sheet.places[index].index + 1
        self._faults.add(row.line, fault, column=column, position=position, value=value)


#: A contradiction is not told where one of the fields was refused already.
_RELATED = {
    "jump": ("jump_host_key",),
    "jump_host_key": ("jump",),
    "latitude": ("longitude",),
    "longitude": ("latitude",),
}
