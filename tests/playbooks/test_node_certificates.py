"""When certificates end, out of real ones; and which datastore a node has."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import (
    layout,
    node_certificates,
    node_datastore,
    observation,
)
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from tests_support import k3s_certificates

LEAF_AT = datetime(2027, 3, 1, 12, 30, 15, tzinfo=UTC)
AUTHORITY_AT = datetime(2035, 3, 1, 12, 0, 0, tzinfo=UTC)


def data() -> Path:
    return Path(layout.DATA_DIR)


def der(ends_at: datetime) -> bytes:
    made = k3s_certificates.Authority("server-ca", ends_at).certificate
    return made.public_bytes(serialization.Encoding.DER)


@pytest.fixture
def node(node_root: Path) -> Path:
    k3s_certificates.place(data(), leaves_end_at=LEAF_AT, authorities_end_at=AUTHORITY_AT)
    return node_root


@pytest.mark.parametrize(
    "ends_at",
    [
        datetime(1995, 6, 1, tzinfo=UTC),
        LEAF_AT,
        datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2050, 1, 1, tzinfo=UTC),  # from here on written in another form (RFC 5280, 4.1.2.5)
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),  # no end, as the RFC writes it
    ],
)
def test_the_end_of_a_certificate_is_read_to_the_second(ends_at: datetime) -> None:
    assert node_certificates.ends_at(der(ends_at)) == ends_at.timestamp()


def test_a_certificate_that_openssl_made_is_read_as_openssl_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "made.crt"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(tmp_path / "key")]
    made = ["openssl", "req", "-x509", *key, "-subj", "/CN=x", "-days", "365", "-out", str(path), "-outform", "DER"]
    subprocess.run(made, check=True, capture_output=True, timeout=30)
    said = subprocess.run(
        ["openssl", "x509", "-inform", "DER", "-in", str(path), "-noout", "-enddate"],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    ).stdout
    ends_at = datetime.fromtimestamp(node_certificates.ends_at(path.read_bytes()), UTC)
    assert said.strip() == f"notAfter={ends_at:%b} {ends_at.day:2} {ends_at:%H:%M:%S %Y} GMT"


@given(st.binary(max_size=400))
def test_whatever_is_no_certificate_is_refused_and_nothing_worse(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the reader says in its own words what is odd
        node_certificates.ends_at(content)


def test_a_certificate_cut_off_anywhere_is_refused() -> None:
    whole = der(LEAF_AT)
    for length in range(len(whole)):
        with pytest.raises(ValueError):  # noqa: PT011 - the reader says in its own words what is odd
            node_certificates.ends_at(whole[:length])


def test_leaves_and_authorities_are_told_apart_by_name_and_a_chain_counts_as_its_first(node: Path) -> None:
    found = node_certificates.read()
    assert set(found.leaves) == {f"server/tls/{name}.crt" for name in k3s_certificates.LEAVES}
    assert set(found.authorities) == {f"server/tls/{name}.crt" for name in k3s_certificates.AUTHORITIES}
    assert set(found.leaves.values()) == {LEAF_AT.timestamp()}


def test_the_first_to_end_is_what_an_observation_tells(node: Path) -> None:
    soon = LEAF_AT - timedelta(days=200)
    early = AUTHORITY_AT - timedelta(days=300)
    authority = k3s_certificates.Authority("client-ca", early)
    (data() / "agent").mkdir()
    (data() / "agent/client-ca.crt").write_bytes(k3s_certificates.pem(authority.certificate))
    (data() / "agent/client-kubelet.crt").write_bytes(k3s_certificates.pem(authority.sign("system:node:x", soon)))
    told = observation._node(0.0)
    assert told["leaf_expires_at"] == f"{soon:%Y-%m-%dT%H:%M:%SZ}"
    assert told["ca_expires_at"] == f"{early:%Y-%m-%dT%H:%M:%SZ}"


def test_what_cannot_be_read_is_left_out_and_the_rest_is_told(node: Path) -> None:
    tls = data() / "server/tls"
    (tls / "client-admin.crt").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (tls / "client-ca.crt").write_text("")
    (tls / "odd.crt").mkdir()
    found = node_certificates.read()
    assert "server/tls/client-admin.crt" not in found.leaves
    assert len(found.leaves) == len(k3s_certificates.LEAVES) - 1
    assert len(found.authorities) == len(k3s_certificates.AUTHORITIES) - 1


def test_certificates_of_etcd_count_where_etcd_is_used(node: Path) -> None:
    (data() / "server/tls/etcd").mkdir()
    authority = k3s_certificates.Authority("etcd-server", AUTHORITY_AT)
    leaf = k3s_certificates.pem(authority.sign("etcd", LEAF_AT - timedelta(days=9)))
    (data() / "server/tls/etcd/server-client.crt").write_bytes(leaf)
    assert "server/tls/etcd/server-client.crt" not in node_certificates.read().leaves
    (data() / "server/db/etcd").mkdir(parents=True)
    assert "server/tls/etcd/server-client.crt" in node_certificates.read().leaves


def test_a_node_without_k3s_tells_nothing(node_root: Path) -> None:
    told = observation._node(0.0)
    for name in ("leaf_expires_at", "ca_expires_at", "datastore", "datastore_bytes"):
        assert told[name] is None, name


def test_the_kind_of_datastore_and_its_size_with_its_log(node_root: Path) -> None:
    database = data() / "server/db"
    database.mkdir(parents=True)
    (data() / "server/token").write_text("K10")
    assert (node_datastore.kind(), node_datastore.size_bytes()) == ("external", None)
    (database / "state.db").write_bytes(b"x" * 4096)
    (database / "state.db-wal").write_bytes(b"x" * 1000)
    assert (node_datastore.kind(), node_datastore.size_bytes()) == ("sqlite", 5096)
    (database / "etcd/member/snap").mkdir(parents=True)
    (database / "etcd/member/snap/db").write_bytes(b"x" * 300)
    (database / "etcd/member/wal").mkdir()
    (database / "etcd/member/wal/0.wal").write_bytes(b"x" * 64)
    assert (node_datastore.kind(), node_datastore.size_bytes()) == ("etcd", 364)
