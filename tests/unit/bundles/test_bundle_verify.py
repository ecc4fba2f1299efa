"""Trust in a bundle: every case has its code and its sentence, and looking changes nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests_support.bundle_files import (
    EXPIRES_AT,
    K3S,
    MADE_AT,
    NOW,
    make_bundle,
    make_keys,
    payload,
    plain,
    put_together,
    record,
    small_payload,
    take_apart,
    trusting,
    write,
)

from edgemgr.bundles.content import Content
from edgemgr.bundles.faults import missing_arch, wrong_start
from edgemgr.bundles.keys import load_signer, rotate_key
from edgemgr.bundles.names import CAPS
from edgemgr.bundles.read import read_head
from edgemgr.bundles.source import open_source
from edgemgr.bundles.space import check_space
from edgemgr.bundles.trust import TrustStore
from edgemgr.bundles.verify import verify_bundle, verify_metadata
from edgemgr.errors import BundleError
from edgemgr.model.content import TargetKind

LATER = EXPIRES_AT + timedelta(days=42)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    make_keys(tmp_path / "keys")
    return tmp_path / "keys"


@pytest.fixture
def trust(tmp_path: Path, keys: Path) -> TrustStore:
    return trusting(tmp_path / "trust", keys)


def look(
    bundle: Path, trust: TrustStore, now: datetime = NOW, *, commit: bool = False, expired: bool = False
) -> Content:
    with open_source(bundle) as source:
        return verify_metadata(read_head(source), trust, now=now, commit=commit, accept_expired=expired)


def refusal(bundle: Path, trust: TrustStore, now: datetime = NOW, *, expired: bool = False) -> BundleError:
    with pytest.raises(BundleError) as caught:
        look(bundle, trust, now, expired=expired)
    return caught.value


def files(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_a_good_bundle_says_what_it_holds(tmp_path: Path, keys: Path, trust: TrustStore) -> None:
    steps: list[tuple[int, int]] = []
    bundle = make_bundle(tmp_path, keys, number=7)
    content = verify_bundle(bundle, trust, now=NOW, on_progress=lambda done, total: steps.append((done, total)))
    assert content.release == record(7)
    assert content.targets[f"k3s/{K3S}/amd64/k3s"].custom.kind is TargetKind.K3S_BINARY
    assert {t.digest: t.size_bytes for t in content.targets.values()} == content.blobs
    assert list(content.blobs) == sorted(content.blobs)
    assert (content.root.name, content.root.version) == ("vendor", 1)
    assert content.key_ids == content.root.release_key_ids
    assert (content.expires_at, content.expired) == (EXPIRES_AT, False)
    size = bundle.stat().st_size
    assert steps[-1] == (size, size)
    assert steps == sorted(steps)


def test_a_bundle_without_payload_carries_roots_only(tmp_path: Path, keys: Path, trust: TrustStore) -> None:
    write(tmp_path / "roots.emb", [], keys, record())
    assert verify_bundle(tmp_path / "roots.emb", trust, now=NOW).blobs == {}


def test_looking_changes_no_trust_and_import_does(tmp_path: Path, keys: Path, trust: TrustStore) -> None:
    five, seven = (make_bundle(tmp_path, keys, number=n, name=f"{n}.emb") for n in (5, 7))
    before = files(tmp_path / "trust")
    look(seven, trust)
    verify_bundle(seven, trust, now=NOW)
    assert files(tmp_path / "trust") == before
    look(five, trust, commit=True)
    assert "vendor/products/retail/stable/timestamp.json" in files(tmp_path / "trust")
    assert look(seven, trust).release.number == 7


def test_an_older_bundle_is_refused_and_no_choice_helps(tmp_path: Path, keys: Path, trust: TrustStore) -> None:
    twelve, fifteen = (make_bundle(tmp_path, keys, number=n, name=f"{n}.emb") for n in (12, 15))
    look(fifteen, trust, commit=True)
    fault = refusal(twelve, trust)
    assert fault.code == "E-B040"
    assert fault.message == "Bundle 12 is older than 15, already trusted on 2026-11-01. Refused."
    assert "higher number" in fault.hint
    assert refusal(twelve, trust, LATER, expired=True).code == "E-B040"
    assert look(fifteen, trust, commit=True).release.number == 15


def test_products_and_channels_count_each_for_itself(tmp_path: Path, keys: Path, trust: TrustStore) -> None:
    look(make_bundle(tmp_path, keys, number=15, name="15.emb"), trust, commit=True)
    for change in ({"channel": "1.34"}, {"product": "kiosk"}):
        look(make_bundle(tmp_path, keys, number=3, name="other.emb", **change), trust, commit=True)


def test_two_bundles_of_one_number_are_not_both_taken(tmp_path: Path, keys: Path, trust: TrustStore) -> None:
    look(make_bundle(tmp_path, keys, number=5), trust, commit=True)
    other = make_bundle(tmp_path, keys, number=5, name="other.emb", title="Another one")
    fault = refusal(other, trust)
    assert fault.code == "E-B040"
    assert fault.message == "Bundle 5 is not the bundle 5 that was trusted before. Refused."


def test_a_number_may_not_go_back_after_a_change_of_keys(tmp_path: Path, keys: Path, trust: TrustStore) -> None:
    look(make_bundle(tmp_path, keys, number=15), trust, commit=True)
    rotate_key(keys, "release", passphrase=None, now=MADE_AT)
    assert refusal(make_bundle(tmp_path, keys, number=12), trust).code == "E-B040"
    assert look(make_bundle(tmp_path, keys, number=16), trust).release.number == 16


def test_an_unknown_signer_is_refused(tmp_path: Path, keys: Path, trust: TrustStore) -> None:
    make_keys(tmp_path / "forged")
    bundle = make_bundle(tmp_path, tmp_path / "forged")
    fault = refusal(bundle, trust)
    assert fault.code == "E-B020"
    assert fault.message.startswith("Root 1 of 'vendor' in this bundle is not the root 1 that this appliance trusts.")
    # The same with the genuine root in front: only the release key is another one.
    members = take_apart(bundle.read_bytes())
    members[1] = take_apart(make_bundle(tmp_path, keys, name="genuine.emb").read_bytes())[1]
    (tmp_path / "mixed.emb").write_bytes(put_together(members))
    fault = refusal(tmp_path / "mixed.emb", trust)
    forged, genuine = (load_signer(d, None).root.release_key_ids[0][:8] for d in (tmp_path / "forged", keys))
    assert fault.code == "E-B020"
    assert fault.message == (
        f"Signed by key {forged}…; this appliance trusts root 'vendor' (keys {genuine}…)."
        " 0 of 1 needed signatures are valid."
    )


def test_a_bundle_is_refused_where_no_root_was_pinned(tmp_path: Path, keys: Path) -> None:
    fault = refusal(make_bundle(tmp_path, keys), TrustStore(tmp_path / "empty"))
    assert fault.code == "E-B020"
    assert "this appliance trusts no root" in fault.message
    assert "trust add" in fault.hint


@pytest.mark.parametrize("which", ["release", "root-2"])
def test_after_rotation_the_chain_in_the_file_leads_on_from_root_1(
    tmp_path: Path, keys: Path, trust: TrustStore, which: str
) -> None:
    rotate_key(keys, which, passphrase=None, now=MADE_AT)
    rotate_key(keys, "root-1", passphrase=None, now=MADE_AT)
    bundle = make_bundle(tmp_path, keys)
    assert look(bundle, trust).root.version == 3
    assert [root.version for root in trust.roots()] == [1]
    assert look(bundle, trust, commit=True).root == trust.roots()[0]
    assert [root.version for root in trust.roots()] == [3]
    look(bundle, trust)


def test_a_release_key_that_was_replaced_signs_no_more(tmp_path: Path, keys: Path, trust: TrustStore) -> None:
    old = make_bundle(tmp_path, keys, number=1, name="old.emb")
    stolen = make_bundle(tmp_path, keys, number=9, name="stolen.emb")
    look(old, trust, commit=True)
    rotate_key(keys, "release", passphrase=None, now=MADE_AT)
    look(make_bundle(tmp_path, keys, number=2), trust, commit=True)
    assert refusal(stolen, trust).code == "E-B020"


def test_missing_roots_are_named(tmp_path: Path, keys: Path, trust: TrustStore) -> None:
    for _ in range(3):
        rotate_key(keys, "root-3", passphrase=None, now=MADE_AT)
    members = take_apart(make_bundle(tmp_path, keys).read_bytes())
    cut = tmp_path / "cut.emb"
    cut.write_bytes(put_together([members[0], *members[4:]]))
    fault = refusal(cut, trust)
    assert fault.code == "E-B021"
    assert fault.message == "The bundle starts from root 4; this appliance has root 1."
    assert fault.hint == "Import a root update that contains 2 and 3: `edgemgr bundle trust update FILE`."
    cut.write_bytes(put_together([*members[:2], *members[3:]]))
    fault = refusal(cut, trust)
    assert fault.code == "E-B021"
    assert fault.message == "The chain of roots in the bundle goes from root 1 to root 3."
    cut.write_bytes(put_together([members[0], *members[2:]]))
    assert look(cut, trust).root.version == 4


def test_development_keys_are_refused_beside_a_release_root(tmp_path: Path, keys: Path, trust: TrustStore) -> None:
    make_keys(tmp_path / "dev", name="vendor-dev", purpose="development")
    bundle = make_bundle(tmp_path, tmp_path / "dev")
    fault = refusal(bundle, trust)
    assert fault.code == "E-B022"
    assert fault.message == "Signed with the DEVELOPMENT root. This appliance accepts release bundles only."
    laboratory = trusting(tmp_path / "laboratory", tmp_path / "dev")
    assert look(bundle, laboratory).root.purpose == "development"
    root = load_signer(keys, None)
    laboratory.add_root(root.roots[0], fingerprint=root.root.fingerprint, now=NOW)
    assert refusal(bundle, laboratory).code == "E-B022"


def test_an_expired_bundle_is_taken_only_on_purpose(tmp_path: Path, keys: Path, trust: TrustStore) -> None:
    bundle = make_bundle(tmp_path, keys)
    fault = refusal(bundle, trust, LATER)
    assert fault.code == "E-B030"
    assert fault.message == "This bundle was valid until 2028-04-22; the appliance clock says 2028-06-03."
    assert fault.hint.startswith("Check the clock, or obtain a fresh bundle.")
    content = look(bundle, trust, LATER, commit=True, expired=True)
    assert content.expired
    assert not look(bundle, trust, NOW, expired=True).expired


def test_an_expired_root_is_named_as_such(tmp_path: Path, keys: Path, trust: TrustStore) -> None:
    bundle = make_bundle(tmp_path, keys, expires_at=MADE_AT + timedelta(days=4000))
    fault = refusal(bundle, trust, MADE_AT + timedelta(days=3000))
    assert fault.code == "E-B030"
    assert fault.message.startswith("This root was valid until 2031-10-21")


def test_accepting_expiry_forgives_nothing_else(tmp_path: Path, keys: Path, trust: TrustStore) -> None:
    members = take_apart(make_bundle(tmp_path, keys).read_bytes())
    data = members[4].data.replace(b"Retail", b"Rental")
    (tmp_path / "bad.emb").write_bytes(put_together([*members[:4], plain("tuf/targets.json", data), *members[5:]]))
    assert refusal(tmp_path / "bad.emb", trust, LATER, expired=True).code == "E-B012"


def test_a_clock_before_the_signing_is_named(tmp_path: Path, keys: Path, trust: TrustStore) -> None:
    bundle = make_bundle(tmp_path, keys)
    fault = refusal(bundle, trust, datetime(1970, 1, 1, tzinfo=UTC))
    assert fault.code == "E-B031"
    assert fault.message == (
        "The appliance clock (1970-01-01) is earlier than this bundle's signing time (2026-10-22)."
    )
    assert fault.hint == "Set the clock first."
    look(bundle, trust, MADE_AT - timedelta(hours=14))  # a wrong time zone


def test_metadata_of_two_bundles_does_not_mix(tmp_path: Path, keys: Path, trust: TrustStore) -> None:
    a, b = (take_apart(make_bundle(tmp_path, keys, number=5, title=t).read_bytes()) for t in ("A", "B"))
    for position, name in ((3, "snapshot"), (4, "targets")):
        mixed = [*a[:position], b[position], *a[position + 1 :]]
        (tmp_path / "mixed.emb").write_bytes(put_together(mixed))
        fault = refusal(tmp_path / "mixed.emb", trust)
        assert fault.code == "E-B012", name
        assert "cannot be read" in fault.message
        assert "Treat this file as damaged" in fault.message


def test_a_swapped_signed_document_is_refused_also_when_the_number_is_known(
    tmp_path: Path, keys: Path, trust: TrustStore
) -> None:
    a, b = (take_apart(make_bundle(tmp_path, keys, number=5, title=t).read_bytes()) for t in ("A", "B"))
    (tmp_path / "a.emb").write_bytes(put_together(a))
    look(tmp_path / "a.emb", trust, commit=True)
    (tmp_path / "mixed.emb").write_bytes(put_together([*a[:4], b[4], *a[5:]]))
    assert refusal(tmp_path / "mixed.emb", trust).code == "E-B012"


def test_a_bundle_for_a_later_edgemgr_says_so(tmp_path: Path, keys: Path, trust: TrustStore) -> None:
    fault = refusal(make_bundle(tmp_path, keys, min_edgemgr="99.4"), trust)
    assert fault.code == "E-B002"
    assert fault.message == "This bundle needs edgemgr 99.4 or later; this appliance is 0.1.0."


def test_signed_targets_that_break_the_rules_are_refused(
    tmp_path: Path, keys: Path, trust: TrustStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A maker's program may be old or taken over: the reader asks the same questions again."""
    monkeypatch.setattr("edgemgr.bundles.write.target_fault", lambda target: "")
    for name in ("manifests/../../etc/cron.d/x.yaml", "/etc/passwd", "charts/shop.yaml", "manifests/shop.sh", "a"):
        item = payload(tmp_path / "p", name, b"x", TargetKind.MANIFEST)
        write(tmp_path / "bad.emb", [item], keys, record())
        fault = refusal(tmp_path / "bad.emb", trust)
        assert fault.code == "E-B070"
        assert fault.message.startswith(f"Member '{name}' is not allowed: the name is no name")


def test_too_little_room_is_said_before_anything_is_written(tmp_path: Path) -> None:
    check_space(tmp_path, 1024)
    with pytest.raises(BundleError) as caught:
        check_space(tmp_path, 7 << 30, quota_bytes=10 << 30, used_bytes=5 << 30)
    assert caught.value.code == "E-B060"
    assert caught.value.message == f"Needs 7.0 GiB; 5.0 GiB free on {tmp_path}. Nothing was imported."
    with pytest.raises(BundleError) as caught:
        check_space(tmp_path, CAPS.bundle + 1)
    assert caught.value.code == "E-B060"


def test_every_signature_on_a_document_must_hold(tmp_path: Path, keys: Path, trust: TrustStore) -> None:
    """python-tuf is content with 2 of 3 signatures of a root; a third that is wrong still shows a changed byte."""
    members = take_apart(make_bundle(tmp_path, keys).read_bytes())
    root = json.loads(members[1].data)
    root["signatures"][2]["sig"] = "0" * 128
    data = json.dumps(root, sort_keys=True, separators=(",", ":")).encode()
    (tmp_path / "bad.emb").write_bytes(put_together([members[0], plain("tuf/1.root.json", data), *members[2:]]))
    fault = refusal(tmp_path / "bad.emb", trust)
    assert fault.code == "E-B020"
    assert "is not valid" in fault.message


def test_the_writer_and_the_reader_agree_on_the_small_payload(tmp_path: Path, keys: Path, trust: TrustStore) -> None:
    content = look(make_bundle(tmp_path, keys), trust)
    assert set(content.targets) == {item.name for item in small_payload(tmp_path / "again")}


def test_sites_that_a_bundle_does_not_suit_are_named() -> None:
    fault = missing_arch("arm64", ["store-0017", "store-0018", "store-0019", "store-0020"], 120, ["amd64"])
    assert fault.code == "E-B050"
    assert fault.message == (
        "4 of 120 selected sites are arm64 (store-0017, store-0018, store-0019, …); this bundle holds amd64 only."
    )
    fault = wrong_start("store-0042", "v1.31.4+k3s1", ["v1.33", "v1.34"])
    assert fault.code == "E-B051"
    assert fault.message == "store-0042 runs v1.31.4+k3s1; this bundle upgrades from v1.33.x or v1.34.x."
