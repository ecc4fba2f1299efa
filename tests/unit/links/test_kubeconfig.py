from __future__ import annotations

import base64
import copy
from typing import Any

import pytest
import yaml

from edgemgr.errors import SiteError
from edgemgr.links.kubeconfig import parse


def _pem(what: str) -> str:
    return base64.b64encode(f"-----BEGIN {what}-----\nAAAA\n-----END {what}-----\n".encode()).decode()


GOOD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [
        {
            "name": "default",
            "cluster": {"server": "https://127.0.0.1:6443", "certificate-authority-data": _pem("CERTIFICATE")},
        }
    ],
    "users": [
        {
            "name": "default",
            "user": {"client-certificate-data": _pem("CERTIFICATE"), "client-key-data": _pem("EC PRIVATE KEY")},
        }
    ],
    "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
    "current-context": "default",
    "preferences": {},
}


def test_the_kubeconfig_of_k3s_is_read_and_written_for_another_port() -> None:
    found = parse(yaml.safe_dump(GOOD), "store")
    assert (found.host, found.port) == ("127.0.0.1", 6443)
    again = yaml.safe_load(found.render("store", 40000).reveal())
    assert again["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:40000"
    assert again["users"][0]["user"] == GOOD["users"][0]["user"]
    assert again["current-context"] == "store"
    assert "PRIVATE" not in repr(found)


def _changed(path: list[Any], value: Any) -> str:
    document = copy.deepcopy(GOOD)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return yaml.safe_dump(document)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "a: b: c",
        "!!python/object/apply:os.system ['id']",
        _changed(["users", 0, "user", "exec"], {"command": "id"}),
        _changed(["users", 0, "user", "auth-provider"], {"name": "x"}),
        _changed(["users", 0, "user", "tokenFile"], "/etc/shadow"),
        _changed(["users", 0, "user", "client-key-data"], "!!!"),
        _changed(["users", 0, "user", "client-key-data"], base64.b64encode(b"/etc/shadow").decode()),
        _changed(["users", 0, "user"], {"client-certificate": "/etc/shadow", "client-key": "/etc/shadow"}),
        _changed(["clusters", 0, "cluster", "insecure-skip-tls-verify"], True),
        _changed(["clusters", 0, "cluster", "proxy-url"], "http://192.0.2.1"),
        _changed(["clusters", 0, "cluster", "server"], "http://127.0.0.1:6443"),
        _changed(["clusters", 0, "cluster", "server"], "https://example.org:6443"),
        _changed(["clusters", 0, "cluster", "server"], "https://127.0.0.1:99999"),
        _changed(["clusters", 0, "cluster", "server"], "https://user@127.0.0.1:6443"),
        _changed(["clusters", 0, "cluster", "server"], "https://127.0.0.1:6443/other"),
        _changed(["clusters"], GOOD["clusters"] * 2),
        _changed(["users"], "default"),
    ],
)
def test_anything_else_in_a_kubeconfig_is_refused(text: str) -> None:
    with pytest.raises(SiteError) as caught:
        parse(text, "store")
    assert caught.value.code == "E-KUBECONFIG-REFUSED"
