"""An appliance that writes work orders, sites that no link leads to, and what came back from them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from edgemgr.inventory.bundle_import import Importer
from edgemgr.inventory.receipt import Outcome, import_receipt
from edgemgr.inventory.workorder import OrderWriter
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.event import Reason
from edgemgr.model.site import Site, Trust
from edgemgr.settings import Settings
from edgemgr.store import events, work_orders
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault
from tests_support.bundle_shop import BundleShop
from tests_support.stick_node import StickNode

NAME = BundleName("retail", "stable", 1)


class Company:
    """An appliance with a bundle, and sites that no link leads to."""

    def __init__(self, database: Database, settings: Settings, directory: Path) -> None:
        self.database, self.settings, self.directory = database, settings, directory
        settings.state_dir.mkdir(mode=0o700, exist_ok=True)
        self.vault = Vault(bytes(32))
        self.shop = BundleShop.open(directory / "shop")
        self.shop.trusted_in(settings.trust_dir)
        self.nodes: dict[str, StickNode] = {}
        self.orders = 0

    def imports(self, path: Path) -> None:
        Importer(self.database, self.settings, "anna").take(path)

    def node(self, name: str, *, arch: str | None = "amd64", kind: str = "ed25519") -> StickNode:
        node = self.nodes[name] = StickNode(self.directory / name, kind)
        with self.database.write() as session:
            site = Site(name=name, address="192.0.2.1", arch=arch)
            site.host_key_fingerprint, site.trust = node.fingerprint, Trust.PINNED.value
            session.add(site)
        return node

    def change(self, name: str, **fields: object) -> None:
        with self.database.write() as session:
            site = next(site for site in self.sites(session) if site.name == name)
            for field, value in fields.items():
                setattr(site, field, value)

    def sites(self, session) -> list[Site]:
        return [site for site, _ in work_orders.sites_with_arch(session, range(1, 100))]

    def order(self, *names: str, directory: Path | None = None, **more) -> SimpleNamespace:
        self.orders += 1
        directory = directory or self.directory / f"stick-{self.orders}"
        with self.database.read() as session:
            ids = [site.id or 0 for site in self.sites(session) if not names or site.name in names]
        return self.write(NAME, directory, ids, **more)

    def write(self, name: BundleName, directory: Path, ids: list[int] | None = None, **more) -> SimpleNamespace:
        if ids is None:
            with self.database.read() as session:
                ids = [site.id or 0 for site in self.sites(session)]
        writer = OrderWriter(self.database, self.vault, self.settings, "anna", **more)
        return SimpleNamespace(**{**writer.write(name, ids, directory).__dict__, "directory": directory})

    def takes(self, path: Path) -> Outcome:
        outcome = import_receipt(self.database, path, actor="ben")
        assert outcome.error is None, outcome.error
        return outcome

    def refuses(self, path: Path) -> str:
        """The code of the refusal. It is recorded, and no site is thought to have anything by it."""
        before, recorded = self.received(), len(self.happened(Reason.RECEIPT_REFUSED))
        outcome = import_receipt(self.database, path, actor="ben")
        assert outcome.error is not None
        assert self.received() == before
        newest, *older = self.happened(Reason.RECEIPT_REFUSED)
        assert (len(older), newest.actor, newest.type) == (recorded, "ben", "warning")
        assert outcome.error.code in newest.message
        return outcome.error.code

    def received(self) -> list[tuple[int, str]]:
        with self.database.read() as session:
            return [(line.order, line.site) for line in work_orders.lines(session) if line.state == "staged"]

    def happened(self, reason: Reason) -> list:
        with self.database.read() as session:
            return [event for event in events.history(session) if event.reason == reason.value]


def files_of(directory: Path) -> dict[str, int]:
    return {
        str(path.relative_to(directory)): path.stat().st_size for path in sorted(directory.rglob("*")) if path.is_file()
    }
