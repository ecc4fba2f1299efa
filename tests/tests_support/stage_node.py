"""Directories in the place of a node's, behind a loopback sshd; attempts of stages at it, and what they left."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgemgr.inventory.content_store import ContentStore
from edgemgr.inventory.stage_set import StageSet, compose, read_rows
from edgemgr.links.transfer_node import StorePlace
from edgemgr.model.attempt import AttemptResult
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.operation import OperationKind
from edgemgr.model.release import Arch
from edgemgr.model.secret import Secret
from edgemgr.model.target import Target
from edgemgr.model.transfer import Transfer
from edgemgr.operations.submit import submit
from edgemgr.queue.direct import carry_out
from edgemgr.queue.errand import Errand
from edgemgr.settings import Settings
from edgemgr.store import bundles
from edgemgr.store.database import Database
from edgemgr.vault.vault import Vault
from tests_support.throwaway_sshd import PASSWORD, ThrowawaySshd

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="starts an sshd with a password of its own: needs root")


class StageNode:
    """The node of the site `store-1`."""

    def __init__(self, database: Database, settings: Settings, sshd: ThrowawaySshd, root: Path, site: int) -> None:
        self.place = StorePlace(
            cache=str(root / "lib/cache/sha256"),
            incoming=str(root / "lib/incoming"),
            record=str(root / "lib/fence.json"),
            lock=str(root / "lock/edgemgr.lock"),
        )
        self.sshd = sshd
        self._attempt = 0
        self._database, self._settings, self._site = database, settings, site
        self.target = Target(
            site_id=site,
            name="store-1",
            address="127.0.0.1",
            port=sshd.port,
            user="root",
            host_key=sshd.host_keys[0],
            password=Secret(PASSWORD),
        )

    def stage(self, name: BundleName, **questions: Callable[[], bool]) -> AttemptResult:
        """Carry out one attempt; the questions are those of `Errand`."""
        return carry_out(self.errand("stage", {"bundle": str(name)}, **questions))

    def errand(self, kind: str, params: dict[str, str], **questions: Callable[[], bool]) -> Errand:
        self._attempt += 1
        operation = SimpleNamespace(kind=kind, site_id=self._site, params=params)
        claimed = SimpleNamespace(
            operation=operation, attempt=SimpleNamespace(id=self._attempt), site_name=self.target.name
        )
        questions = {"is_canceled": lambda: False, "gives_way": lambda: False, **questions}
        vault = Vault(bytes(32))
        return Errand(self._database, self._settings, claimed, self.target, vault, **questions)  # type: ignore[arg-type]

    @property
    def files(self) -> dict[str, Path]:
        """What lies in its store: digest → file."""
        return {path.name: path for path in Path(self.place.cache).iterdir()}


def set_of(database: Database, settings: Settings, name: BundleName) -> StageSet:
    with database.read() as session:
        rows = read_rows(session, bundles.get(session, name))
    return compose(rows, ContentStore(settings.release_dir), Arch.AMD64, site="store-1")


def progress(database: Database, site: int) -> Transfer:
    with database.read() as session:
        return session.get_one(Transfer, site)


def ask_for(database: Database, site: int, name: BundleName) -> None:
    with database.write() as session:
        submit(session, OperationKind.STAGE, {"bundle": str(name)}, [site], actor="anna")
