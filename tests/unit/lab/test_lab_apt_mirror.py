"""Where the lab gets its packages from."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgemgr.errors import LabError
from edgemgr.lab.apt_mirror import Mirror, machine_mirror, machine_suite

DEB822 = """\
Types: deb deb-src
# a remark
URIs: http://one.example/debian
Suites: stable stable-updates
Components: main contrib
Signed-By: /usr/share/keyrings/one.gpg

Enabled: no
Types: deb
URIs: http://two.example/debian
Suites: old
Components: main
"""


def test_a_stanza_is_found_with_its_keyring(tmp_path: Path):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(DEB822)
    expected = Mirror("http://one.example/debian", "stable", "/usr/share/keyrings/one.gpg")
    assert machine_mirror("stable", tmp_path) == expected


def test_a_disabled_stanza_is_not_used(tmp_path: Path):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(DEB822)
    with pytest.raises(LabError, match="no source for old"):
        machine_mirror("old", tmp_path)


@pytest.mark.parametrize(
    ("line", "keyring"),
    [
        ("deb http://one.example/debian stable main", None),
        ("deb [arch=amd64 signed-by=/k.gpg] http://one.example/debian stable contrib main # remark", "/k.gpg"),
    ],
)
def test_a_line_is_found_with_and_without_options(tmp_path: Path, line: str, keyring: str | None):
    lines = ["# deb http://wrong.example/debian stable main", "deb-src http://wrong.example/debian stable main", line]
    (tmp_path / "sources.list").write_text("\n".join(lines))
    assert machine_mirror("stable", tmp_path) == Mirror("http://one.example/debian", "stable", keyring)


def test_files_that_apt_ignores_are_ignored(tmp_path: Path):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/old.list.save").write_text("deb http://one.example/debian stable main\n")
    with pytest.raises(LabError) as refused:
        machine_mirror("stable", tmp_path)
    assert refused.value.code == "E-LAB-MIRROR"


def test_a_keyring_written_into_the_file_is_left_to_apt(tmp_path: Path):
    (tmp_path / "sources.list.d").mkdir()
    inline = DEB822.replace("/usr/share/keyrings/one.gpg", "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n Zm9v")
    (tmp_path / "sources.list.d/debian.sources").write_text(inline)
    assert machine_mirror("stable", tmp_path).keyring is None


def test_the_suite_is_this_machines_code_name(tmp_path: Path):
    (tmp_path / "os-release").write_text('ID=debian\nVERSION_CODENAME="stable"\n')
    assert machine_suite(tmp_path / "os-release") == "stable"
