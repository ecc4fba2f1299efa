from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgemgr.errors import SiteLoginError
from edgemgr.links.access_key import jump_options, make_key_pair
from edgemgr.links.ssh import load_private_key
from edgemgr.model.secret import Secret


def test_a_key_pair_is_one_that_openssh_reads(tmp_path: Path) -> None:
    pair = make_key_pair("edgemgr-site-7")
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(pair.private.reveal())
    read = subprocess.run(["ssh-keygen", "-yf", str(path)], check=True, capture_output=True, text=True, timeout=30)
    assert read.stdout.split()[:2] == pair.public.split()[:2]
    assert pair.public.endswith(" edgemgr-site-7")
    assert "PRIVATE" not in repr(pair)


def test_two_pairs_differ() -> None:
    assert make_key_pair("a").public != make_key_pair("a").public


def test_a_jump_host_opens_one_address_only() -> None:
    assert jump_options("10.0.0.7", 22) == 'restrict,port-forwarding,permitopen="10.0.0.7:22"'
    assert jump_options("fd00::7", 2222) == 'restrict,port-forwarding,permitopen="[fd00::7]:2222"'


def test_a_key_with_a_passphrase_says_so(tmp_path: Path) -> None:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "abcdef", "-f", str(path)], check=True, timeout=30)
    with pytest.raises(SiteLoginError, match="passphrase") as caught:
        load_private_key(Secret(path.read_text()), "store")
    assert caught.value.code == "E-LOGIN-KEY-FORMAT"


@pytest.mark.parametrize("text", ["", "hello", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END"])
def test_what_is_no_private_key_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(SiteLoginError) as caught:
        load_private_key(Secret(text), "store")
    assert caught.value.code == "E-LOGIN-KEY-FORMAT"
    assert text == "" or text not in caught.value.message
