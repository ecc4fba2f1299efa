from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests_support.throwaway_sshd import make_key

from edgemgr.links.host_keys import KEY_TYPES, fingerprint, is_fingerprint, key_line, matches, types_for


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_fingerprint_is_the_one_that_ssh_keygen_prints(tmp_path: Path, kind: str) -> None:
    line = make_key(tmp_path / "key", kind)
    printed = subprocess.run(
        ["ssh-keygen", "-lf", str(tmp_path / "key.pub")], check=True, capture_output=True, text=True, timeout=30
    ).stdout
    assert fingerprint(line) == printed.split()[1]
    assert is_fingerprint(fingerprint(line))
    assert matches(fingerprint(line), line)
    assert matches(line + " a comment", line)
    assert types_for(line)[0] in (line.split()[0], "rsa-sha2-512")
    assert set(types_for(line)) == set(KEY_TYPES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 !!!!",
        "ssh-ed25519 AAAA",
        "ssh-dss AAAAB3NzaC1kc3MAAACB",
        "rsa-sha2-512 AAAAB3NzaC1yc2EAAAADAQAB",
        "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIGj0z0wq2gQ0bq0oDk2sHqYI1ZbUu0yR0m0bq9k0m0bq",
        "-oProxyCommand=id AAAA",
    ],
)
def test_what_is_no_host_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="key"):
        key_line(text)


@pytest.mark.parametrize("text", ["SHA256:", "SHA256:" + "A" * 42, "SHA256:" + "A" * 43 + "\n", "MD5:aa:bb"])
def test_what_is_no_fingerprint_is_not_taken_for_one(text: str) -> None:
    assert not is_fingerprint(text)
