"""TrustStore: the roots that this appliance trusts, and the newest bundle of each product and channel.

    DIRECTORY/ROOT/root.json            the newest trusted root
    DIRECTORY/ROOT/fingerprint          of the root that was pinned by hand, as it was given
    DIRECTORY/ROOT/history/N.root.json  every root since then
    DIRECTORY/ROOT/products/PRODUCT/CHANNEL/{timestamp,snapshot,targets,trusted}.json

No root is trusted unless somebody pinned it by its fingerprint.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from tuf.api.metadata import Metadata, Root

from edgemgr.bundles import faults
from edgemgr.bundles.chain import check_chain, info_of, read_root
from edgemgr.bundles.documents import write_document
from edgemgr.bundles.names import CAPS
from edgemgr.bundles.roots import Purpose, RootInfo
from edgemgr.bundles.whole_file import write_whole
from edgemgr.errors import BundleError
from edgemgr.model.content import ReleaseRecord

#: The documents whose versions may never go back.
STATE_FILES = ("timestamp.json", "snapshot.json", "targets.json")


class Trusted(BaseModel):
    """Which bundle of a product and channel was the last to be trusted, and when."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    number: int
    trusted_at: datetime


class TrustStore:
    """Trust, kept in files. Only `add_root`, `update_root` and `remember` change anything."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def roots(self) -> list[RootInfo]:
        """The newest version of every trusted root, by name.

        Raises:
            BundleError: the files are damaged (E-B012) or cannot be read (E-BUNDLE-FILE).
        """
        found = sorted(self._directory.glob("*/root.json"))
        return [info_of(root) for path in found if (root := self.newest(path.parent.name))]

    def add_root(self, data: bytes, *, fingerprint: str, now: datetime) -> RootInfo:
        """Trust a root whose fingerprint came by another way than the root itself.

        Trusting the same root once more changes nothing.

        Raises:
            BundleError: `data` is no root (E-B012) or does not have enough valid signatures (E-B020), the
                fingerprint is another one (E-BUNDLE-FINGERPRINT), it has expired (E-B030), a development root beside
                a release root (E-B022), or another root has the name already (E-BUNDLE-ROOT).
        """
        if len(data) > CAPS.root:
            raise faults.metadata_unreadable("root.json", "it is too long")
        document = read_root(data, "root.json")
        info = info_of(document)
        if _plain(fingerprint) != _plain(info.fingerprint):
            raise BundleError(
                f"The fingerprint of this root is {info.fingerprint}, not {fingerprint}.",
                hint="Do not trust it. Ask its owner for the fingerprint by a way that nobody else can write to.",
                code="E-BUNDLE-FINGERPRINT",
            )
        check_chain([document], None)
        if info.expires_at <= now:
            raise faults.expired("root", info.expires_at, now)
        with self.locked():
            self._check_beside(info)
            if self.newest(info.name) is None:
                self._keep_root(document)
                write_whole(self._directory / info.name / "fingerprint", f"{info.fingerprint}\n".encode())
        return info

    def update_root(self, data: bytes, *, now: datetime) -> tuple[RootInfo, bool]:
        """Follow the line of a trusted root; returns the newest of it, and whether that is new here.

        Nobody has to compare anything: every root is signed by enough keys of the one before.

        Args:
            data: what `export-root` prints: roots in ascending order, a line each.
            now: the appliance's time.

        Raises:
            BundleError: no roots (E-B012), of no trusted line or not signed by it (E-B020), roots are missing
                (E-B021), development keys beside a release root (E-B022), or the newest has expired (E-B030).
        """
        lines = data.splitlines()
        if not 0 < len(lines) <= CAPS.root_chain or max(map(len, lines)) > CAPS.root:
            raise faults.metadata_unreadable("root.json", "it is no list of roots")
        chain = [read_root(line, "root.json") for line in lines]
        for before, after in pairwise(chain):
            if after.signed.version != before.signed.version + 1:
                raise faults.chain_gap(before.signed.version, after.signed.version)
        with self.locked():
            trusted = self.joined(chain, sorted(chain[-1].signatures))
            if chain[-1].signed.version <= trusted.signed.version:
                return info_of(trusted), False
            info = info_of(chain[-1])
            if info.expires_at <= now:
                raise faults.expired("root", info.expires_at, now)
            for document in chain:
                if document.signed.version > trusted.signed.version:
                    self._keep_root(document)
        return info, True

    def joined(self, chain: Sequence[Metadata[Root]], signers: Sequence[str]) -> Metadata[Root]:
        """The trusted root that a chain joins, after every root of the chain was checked.

        Args:
            chain: ascending, without a gap.
            signers: who is named when the chain is of a line that nobody trusts here.

        Raises:
            BundleError: E-B012, E-B020, E-B021, E-B022.
        """
        line, known = info_of(chain[-1]), self.roots()
        if line.purpose is Purpose.DEVELOPMENT and any(root.purpose is Purpose.RELEASE for root in known):
            raise faults.development_root()
        trusted = self.newest(line.name)
        if trusted is None:
            raise faults.unknown_signer(signers, known, 0, 1)
        first = chain[0].signed.version
        if first > trusted.signed.version + 1:
            raise faults.root_gap(first, trusted.signed.version)
        check_chain(chain, self.root(line.name, first - 1))
        for document in chain:
            seen = self.root(line.name, document.signed.version)
            if seen is not None and seen.signed_bytes != document.signed_bytes:
                raise faults.other_root(line.name, document.signed.version)
        return trusted

    def newest(self, name: str) -> Metadata[Root] | None:
        """The newest trusted root of that name; None when none was pinned."""
        return self._read_root(self._directory / name / "root.json")

    def root(self, name: str, version: int) -> Metadata[Root] | None:
        """One version of a trusted root; None for one before the pinned one and for one that was never seen."""
        return self._read_root(self._directory / name / "history" / f"{version}.root.json")

    def trusted(self, root_name: str, release: ReleaseRecord) -> Trusted | None:
        """The last trusted bundle of the product and channel; None when there was none."""
        path = self.state_dir(root_name, release) / "trusted.json"
        try:
            return Trusted.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as exc:
            raise faults.unusable_file(str(path), "what was trusted before cannot be read") from exc

    def state_dir(self, root_name: str, release: ReleaseRecord) -> Path:
        """Where the newest metadata of a product and channel lies; it may not exist."""
        return self._directory / root_name / "products" / release.product / release.channel

    def remember(
        self, roots: Sequence[Metadata[Root]], state: dict[str, bytes], release: ReleaseRecord, now: datetime
    ) -> None:
        """Keep new roots, and a verified bundle as the newest of its product and channel. Call it `locked`.

        Args:
            roots: the chain of the bundle, verified; at least one root.
            state: the bytes of every one of `STATE_FILES`.
            release: the bundle's record.
            now: remembered as the day on which the number was first trusted.
        """
        name = info_of(roots[0]).name
        newest = self.newest(name)
        for document in roots:
            if newest is not None and document.signed.version > newest.signed.version:
                self._keep_root(document)
        before = self.trusted(name, release)
        directory = self.state_dir(name, release)
        _make(directory)
        # The number first: from then on nothing older is taken, whatever happens to the rest.
        if before is None or before.number != release.number:
            record = Trusted(number=release.number, trusted_at=now)
            write_whole(directory / "trusted.json", record.model_dump_json().encode())
        for file in STATE_FILES:
            write_whole(directory / file, state[file])

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes trust meanwhile."""
        _make(self._directory)
        try:
            descriptor = os.open(self._directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise faults.unusable_file(str(self._directory), exc.strerror or str(exc)) from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _check_beside(self, info: RootInfo) -> None:
        for other in self.roots():
            if info.purpose is Purpose.DEVELOPMENT and other.purpose is Purpose.RELEASE:
                raise faults.development_root()
            known = self.root(info.name, info.version) if other.name == info.name else None
            if other.name == info.name and (known is None or info_of(known).fingerprint != info.fingerprint):
                raise BundleError(
                    f"Another root '{info.name}' is trusted: version {other.version}, {other.fingerprint}.",
                    hint="New versions of a trusted root come with bundles by themselves; a new line needs a new name.",
                    code="E-BUNDLE-ROOT",
                )

    def _keep_root(self, document: Metadata[Root]) -> None:
        directory, data = self._directory / info_of(document).name, write_document(document)
        _make(directory / "history")
        write_whole(directory / "history" / f"{document.signed.version}.root.json", data)
        write_whole(directory / "root.json", data)

    def _read_root(self, path: Path) -> Metadata[Root] | None:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise faults.unusable_file(str(path), exc.strerror or str(exc)) from exc
        return read_root(data, path.name)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise faults.unusable_file(str(directory), exc.strerror or str(exc)) from exc


def _plain(fingerprint: str) -> str:
    """People copy fingerprints with spaces, colons and in capitals."""
    return "".join(fingerprint.split()).lower().removeprefix("sha256:").replace(":", "")
