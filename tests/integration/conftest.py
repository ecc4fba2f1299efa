"""Nodes with the stand-in for k3s: one for each test, and one that tests share that only look; a shop of bundles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import client, config
from tests_support.bundle_intake import refused, shop, take  # noqa: F401 - fixtures of the tests of bundles
from tests_support.standin_node import NEW, OLD, Node, make_node

from edgemgr.lab.release_files import write_standin_release


@pytest.fixture(scope="session")
def releases(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("releases")
    for version in (OLD, NEW):
        write_standin_release(directory / version, version, images_mib=1)
    return directory


@pytest.fixture
def node(tmp_path, releases) -> Iterator[Node]:
    yield from make_node(tmp_path / "site", releases)


@pytest.fixture(scope="module")
def running(tmp_path_factory, releases) -> Iterator[Node]:
    """A node that is Ready; for tests that only look, or keep to a namespace of their own."""
    for node in make_node(tmp_path_factory.mktemp("running") / "site", releases):
        node.start()
        node.wait(node.is_ready, "Ready")
        node.wait_for_pods("kube-system", 6)
        yield node


@pytest.fixture
def api(running: Node) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(str(running.root / "etc/rancher/k3s/k3s.yaml")) as api:
        yield api
