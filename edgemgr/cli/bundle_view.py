"""A bundle as people look at it: who signed it, for what, and what is in it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from edgemgr.cli.output import Column, Output, emit_one
from edgemgr.cli.size import size_text
from edgemgr.cli.table import clean, print_table
from edgemgr.model.content import ReleaseRecord, TargetCustom, TargetKind

if TYPE_CHECKING:
    from edgemgr.bundles.content import Content


class Item(Protocol):
    """One file of a bundle, made or read."""

    @property
    def digest(self) -> str:
        """SHA-256."""

    @property
    def size_bytes(self) -> int:
        """Its size."""

    @property
    def custom(self) -> TargetCustom:
        """What is said of it."""


@dataclass(frozen=True)
class ContentLine:
    """Things of one kind for one architecture."""

    what: str
    arch: str
    count: int
    size_bytes: int


@dataclass(frozen=True)
class BundleView:
    """Everything that `bundle show` says."""

    file: str
    size_bytes: int
    product: str
    channel: str
    number: int
    title: str
    root: str | None
    purpose: str | None
    root_version: int | None
    fingerprint: str | None
    signed_by: tuple[str, ...]
    checked: str  #: how far it was looked at: signatures, every byte, or nothing yet
    created_at: datetime
    expires_at: datetime
    expired: bool
    k3s_versions: tuple[str, ...]
    from_versions: tuple[str, ...]
    archs: tuple[str, ...]
    min_free_bytes: int
    min_edgemgr: str
    notes: str
    contents: tuple[ContentLine, ...]
    images: tuple[str, ...]


_NAMES = {
    TargetKind.IMAGE_BLOB: "layers and configurations",
    TargetKind.IMAGE: "images",
    TargetKind.CHART: "charts",
    TargetKind.MANIFEST: "manifests",
    TargetKind.PACK: "packs",
    TargetKind.PLAYBOOKS: "playbooks",
    TargetKind.WHEEL: "wheels",
    TargetKind.NOTES: "notes",
    TargetKind.SBOM: "bill of materials",
}

_FIELDS: tuple[Column[BundleView], ...] = (
    Column("file", lambda view: view.file),
    Column("size_bytes", lambda view: view.size_bytes),
    Column("product", lambda view: view.product),
    Column("channel", lambda view: view.channel),
    Column("number", lambda view: view.number),
    Column("title", lambda view: view.title),
    Column("root", lambda view: view.root),
    Column("purpose", lambda view: view.purpose),
    Column("root_version", lambda view: view.root_version),
    Column("fingerprint", lambda view: view.fingerprint),
    Column("signed_by", lambda view: " ".join(view.signed_by)),
    Column("checked", lambda view: view.checked),
    Column("created_at", lambda view: view.created_at),
    Column("expires_at", lambda view: view.expires_at),
    Column("expired", lambda view: view.expired),
    Column("k3s_versions", lambda view: " ".join(view.k3s_versions)),
    Column("from_versions", lambda view: " ".join(view.from_versions)),
    Column("archs", lambda view: " ".join(view.archs)),
    Column("min_free_bytes", lambda view: view.min_free_bytes),
    Column("min_edgemgr", lambda view: view.min_edgemgr),
)


def view_of(
    release: ReleaseRecord,
    items: Iterable[Item],
    *,
    file: str,
    size_bytes: int,
    expires_at: datetime,
    now: datetime,
    checked: str,
    content: Content | None = None,
) -> BundleView:
    """Gather what is to be shown; without `content` nothing is signed yet."""
    items = list(items)
    root = content.root if content else None
    return BundleView(
        file=file,
        size_bytes=size_bytes,
        product=release.product,
        channel=release.channel,
        number=release.number,
        title=release.title,
        root=root.name if root else None,
        purpose=root.purpose.value if root else None,
        root_version=root.version if root else None,
        fingerprint=root.fingerprint if root else None,
        signed_by=content.key_ids if content else (),
        checked=checked,
        created_at=release.created_at,
        expires_at=expires_at,
        expired=expires_at <= now,
        k3s_versions=release.k3s_versions,
        from_versions=release.from_versions,
        archs=tuple(arch.value for arch in release.archs),
        min_free_bytes=release.min_free_bytes,
        min_edgemgr=release.min_edgemgr,
        notes=release.notes,
        contents=tuple(content_lines(items)),
        images=tuple(sorted({f"{item.custom.ref} {item.custom.arch}" for item in items if item.custom.ref})),
    )


def content_lines(items: Iterable[Item]) -> list[ContentLine]:
    """Count things by kind and architecture; bytes that several names share count once a line."""
    order = list(TargetKind)
    found: dict[tuple[int, str, str], dict[str, int]] = {}
    counts: dict[tuple[int, str, str], int] = {}
    for item in items:
        kind, arch = item.custom.kind, item.custom.arch
        what = f"k3s {item.custom.k3s_version}" if kind is TargetKind.K3S_BINARY else _NAMES[kind]
        key = order.index(kind), what, arch.value if arch else "all"
        found.setdefault(key, {})[item.digest] = item.size_bytes
        counts[key] = counts.get(key, 0) + 1
    return [ContentLine(key[1], key[2], counts[key], sum(sizes.values())) for key, sizes in sorted(found.items())]


def print_view(view: BundleView, output: Output, *, now: datetime) -> None:
    """Print it: a screen for people, or the object for programs."""
    if output not in (Output.TABLE, Output.WIDE):
        emit_one(view, _FIELDS, output, kind="Bundle", name=lambda v: f"{v.product}/{v.channel}/{v.number}")
        return
    lines = _lines(view, now)
    width = max(len(title) for title, _ in lines) + 2
    write = sys.stdout.write
    write(clean(f"{view.product}/{view.channel}/{view.number}: {view.title}") + "\n\n")
    for title, text in lines:
        write(f"  {title:{width}}{clean(text)}".rstrip() + "\n")
    write("\n")
    rows = [[line.what, line.arch, str(line.count), size_text(line.size_bytes)] for line in view.contents]
    print_table(["content", "arch", "count", "size"], rows)
    if output is Output.WIDE and view.images:
        write("\n")
        print_table(["image", "arch"], [image.rsplit(" ", 1) for image in view.images])
    if view.notes:
        write("\n" + "".join(f"{clean(line)}\n" for line in view.notes.splitlines()))


def _lines(view: BundleView, now: datetime) -> list[tuple[str, str]]:
    if view.root is None:
        signed = [("signed by", "nobody yet")]
    else:
        purpose = "DEVELOPMENT, not for real sites" if view.purpose == "development" else view.purpose
        signed = [
            ("signed by", f"root '{view.root}' version {view.root_version} ({purpose})"),
            ("with key", ", ".join(f"{key[:16]}…" for key in view.signed_by)),
            ("fingerprint", view.fingerprint or ""),
        ]
    days = (view.expires_at - now).days
    until = f"{view.expires_at:%Y-%m-%d}" + (" EXPIRED" if view.expired else f" ({days} days from now)")
    return [
        *signed,
        ("checked", view.checked),
        ("made", f"{view.created_at:%Y-%m-%d %H:%M} UTC"),
        ("valid until", until),
        ("k3s", ", ".join(view.k3s_versions) or "none"),
        ("for sites on", ", ".join(view.from_versions) or "any version"),
        ("architectures", ", ".join(view.archs) or "any"),
        ("file", f"{view.file}, {size_text(view.size_bytes)}"),
        ("a site needs", f"{size_text(view.min_free_bytes)} free"),
        *([("needs edgemgr", f"{view.min_edgemgr} or later")] if view.min_edgemgr != "0" else []),
    ]
