"""What a second bundle changes on a site that has the first."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256

from edgemgr.bundles.content import Content, Target
from edgemgr.bundles.diff import Change, diff_contents
from edgemgr.bundles.roots import Purpose, RootInfo
from edgemgr.model.content import PLACES, ReleaseRecord, TargetCustom, TargetKind
from edgemgr.model.release import Arch

AT = datetime(2026, 11, 1, tzinfo=UTC)
ROOT = RootInfo("vendor", Purpose.RELEASE, 1, "SHA256:0", (), (), 2, AT)
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def target(name: str, seed: str, kind: TargetKind, size: int, **more: object) -> Target:
    custom = TargetCustom.model_validate({"kind": kind, "place": PLACES[kind], **more})
    return Target(name, sha256(seed.encode()).hexdigest(), size, custom)


def content(number: int, targets: Iterable[Target], archs: tuple[Arch, ...] = (Arch.AMD64,)) -> Content:
    by_name = {item.name: item for item in targets}
    release = ReleaseRecord(product="store", channel="stable", number=number, title="Store", archs=archs, created_at=AT)
    blobs = {item.digest: item.size_bytes for item in by_name.values()}
    return Content(release, by_name, blobs, ROOT, (), AT, expired=False)


def k3s(version: str, arch: Arch = Arch.AMD64) -> Target:
    name = f"k3s/{version}/{arch}/k3s"
    return target(name, name, TargetKind.K3S_BINARY, 70, arch=arch, k3s_version=version)


def image(ref: str, seed: str, arch: Arch = Arch.AMD64, number: int = 1) -> Target:
    more = {"arch": arch, "ref": ref, "media_type": MANIFEST}
    return target(f"images/extra/{arch}/{number}.json", seed, TargetKind.IMAGE, 1, **more)


def layer(seed: str, size: int, arch: Arch | None = Arch.AMD64) -> Target:
    digest = sha256(seed.encode()).hexdigest()
    return target(f"oci/{digest}", seed, TargetKind.IMAGE_BLOB, size, arch=arch, media_type="x", uncompressed_size=size)


def test_nothing_changes_between_a_bundle_and_itself() -> None:
    one = content(1, [k3s("v1.34.6+k3s1"), layer("a", 900)])
    found = diff_contents(one, one)
    assert found.changes == ()
    assert [(t.new_bytes, t.all_bytes, t.share) for t in found.transfers] == [(0, 970, 0.0)]


def test_new_tags_and_versions_are_changes_of_one_thing() -> None:
    old = content(1, [k3s("v1.33.5+k3s1"), image("example.com/a:1", "m1"), layer("a", 900)])
    new = content(2, [k3s("v1.34.6+k3s1"), image("example.com/a:2", "m2"), layer("a", 900), layer("b", 20)])
    found = diff_contents(old, new)
    assert found.changes == (
        Change("k3s-binary", "k3s", ("amd64",), "changed", "v1.33.5+k3s1", "v1.34.6+k3s1"),
        Change("image", "example.com/a", ("amd64",), "changed", "1", "2"),
    )
    assert [(t.arch, t.blobs, t.new_bytes, t.all_bytes) for t in found.transfers] == [("amd64", 3, 91, 991)]


def test_the_same_tag_with_other_content_is_told_by_its_digest() -> None:
    found = diff_contents(content(1, [image("a.b/c:1", "m1")]), content(2, [image("a.b/c:1", "m2")]))
    digests = [f"1 {sha256(seed).hexdigest()[:12]}" for seed in (b"m1", b"m2")]
    assert [(change.change, change.before, change.after) for change in found.changes] == [("changed", *digests)]


def test_what_is_the_same_for_two_architectures_is_one_row() -> None:
    archs = Arch.AMD64, Arch.ARM64
    old = content(1, [k3s("v1.33.5+k3s1", arch) for arch in archs], archs)
    new = content(2, [k3s("v1.34.6+k3s1", arch) for arch in archs], archs)
    assert [change.archs for change in diff_contents(old, new).changes] == [("amd64", "arm64")]


def test_what_stays_on_the_appliance_is_a_change_but_not_sent() -> None:
    wheel = target("wheels/a-1-py3-none-any.whl", "w", TargetKind.WHEEL, 500)
    chart = target("charts/a-1.tgz", "c", TargetKind.CHART, 40)
    found = diff_contents(content(1, []), content(2, [wheel, chart]))
    assert [(change.what, change.name, change.change) for change in found.changes] == [
        ("chart", "a-1.tgz", "added"),
        ("wheel", "a-1-py3-none-any.whl", "added"),
    ]
    assert [transfer.new_bytes for transfer in found.transfers] == [40]


def test_only_the_blobs_of_an_architecture_travel_to_it() -> None:
    archs = Arch.AMD64, Arch.ARM64
    new = content(2, [layer("a", 100), layer("b", 30, Arch.ARM64), layer("c", 7, None)], archs)
    assert [(t.arch, t.new_bytes) for t in diff_contents(content(1, []), new).transfers] == [
        ("amd64", 107),
        ("arm64", 37),
    ]
