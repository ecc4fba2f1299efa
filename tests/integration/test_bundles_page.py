"""docs/bundles.md and docs/bundle-format.md, followed command by command with the installed program."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests_support.appliance import PROGRAM
from tests_support.chart_archive import chart
from tests_support.image_archives import Picture, docker_files, layer_bytes, tar, write_files
from tests_support.page_steps import Step, matches, page_files, page_steps

from edgemgr.lab.release_files import write_standin_release

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs/bundles.md"
FORMAT_PAGE = ROOT / "docs/bundle-format.md"
FINGERPRINT = re.compile(r"SHA256:[0-9a-f]{64}")
CODE = re.compile(r"`(E-[A-Z0-9-]+)`")


class Reader:
    """Somebody who follows the page: maker, carrier and appliance in one directory, with their media below it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.fingerprint = ""  #: told last; what an administrator types
        self.first_fingerprint = ""
        self.media = directory / "media"
        (self.media / "stick").mkdir(parents=True)
        (self.media / "safe").mkdir()
        (directory / "passphrase").write_text("correct horse battery staple\n")
        (directory / "bundle.yaml").write_text(page_files(PAGE, "yaml")[0])
        for version in ("v1.34.6+k3s1", "v1.34.7+k3s1"):
            write_standin_release(directory / "releases" / version, version, arches=("amd64", "arm64"), images_mib=2)
        till = Picture(("registry.example.com/shop/till:9.1",), (layer_bytes("till", 900_000),))
        write_files(
            directory,
            {
                "images/till.tar": tar(docker_files([till])),
                "charts/till-4.2.0.tgz": chart("till", "4.2.0"),
                "manifests/namespaces.yaml": b"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: till\n",
                "notes/november.md": b"# November\n",
            },
        )

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run one line in a shell. Filled in: the media, the fingerprint that was told, parts of a test's size."""
        command = command.replace("/media/", f"{self.media}/").replace("3900M", "5M")
        command = command.replace("SHA256:…", self.fingerprint)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.directory,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("EDGEMGR_")},
                "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
                "EDGEMGR_STATE_DIR": str(self.directory / "state"),
                "EDGEMGR_RUNTIME_DIR": str(self.directory / "run"),
                "EDGEMGR_CONFIG": str(self.directory / "config.toml"),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        if told := FINGERPRINT.findall(done.stdout):
            self.fingerprint = told[-1]
            self.first_fingerprint = self.first_fingerprint or told[0]
        return done

    def follow(self, step: Step) -> str:
        """Do what a step says, see what the page shows, and return what was printed."""
        done = self.run(step.command)
        output = done.stdout.replace(f"{self.media}/", "/media/")
        assert (done.returncode != 0) == step.fails, f"$ {step.command}\n{output}"
        shown = "\n".join(step.shown)
        assert not step.shown or matches(step.shown, output), f"$ {step.command}\n{output}\nthe page shows\n{shown}"
        return output

    def damage_the_stick(self) -> None:
        part = self.media / "stick/retail-12.emb.002"
        content = bytearray(part.read_bytes())
        content[len(content) // 2] ^= 1
        part.write_bytes(content)

    def has_sites(self) -> None:
        rows = "".join(f"store-000{n},192.0.2.{n},{arch},emea\n" for n, arch in ((1, "amd64"), (2, "arm64")))
        (self.directory / "sites.csv").write_text(f"name,address,arch,labels.region\n{rows}")
        assert self.run("edgemgr site import sites.csv").returncode == 0

    def bring_an_old_bundle(self) -> None:
        text = (self.directory / "bundle.yaml").read_text().replace("number: 12", "number: 14")
        (self.directory / "bundle-14.yaml").write_text(text)
        made = self.run(
            "edgemgr bundle create -f bundle-14.yaml -o retail-14.emb --created-at 800d"
            " --sign-with keys --passphrase-file passphrase"
        )
        assert "EXPIRED" in made.stdout, made.stdout


#: What happens to people before a section of the page, without a command of theirs.
FATE: dict[str, Callable[[Reader], None]] = {
    "## Send it ahead": Reader.has_sites,
    "### When a part is damaged": Reader.damage_the_stick,
    "## When a bundle has expired": Reader.bring_an_old_bundle,
}


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


@pytest.mark.slow
def test_the_page_can_be_followed_from_the_first_key_to_the_last_rotation(reader: Reader) -> None:
    fate, steps = dict(FATE), page_steps(PAGE)
    assert len(steps) > 30
    for step in steps:
        if befalls := fate.pop(step.heading, None):
            befalls(reader)
        reader.follow(step)
    assert not fate, "the page has no section of that name any more"


@pytest.mark.slow
def test_what_the_page_of_the_format_does_with_ordinary_tools_works(reader: Reader) -> None:
    for step in page_steps(PAGE):  # as far as it makes the bundle that is looked at
        reader.follow(step)
        if (reader.directory / "retail-12.emb").exists():
            break
    steps = page_steps(FORMAT_PAGE)
    printed = {step.command: reader.follow(step) for step in steps}
    assert len(steps) > 5
    (sums,) = (output for command, output in printed.items() if command.endswith("| sha256sum"))
    assert f"SHA256:{sums.split()[0]}" == reader.first_fingerprint


@pytest.mark.parametrize("page", [PAGE, FORMAT_PAGE], ids=lambda page: page.name)
def test_every_code_on_the_pages_is_explained_among_the_errors(page: Path) -> None:
    explained = set(re.findall(r"^\| `(E-[A-Z0-9-]+)`", (ROOT / "docs/errors.md").read_text(), re.MULTILINE))
    named = set(CODE.findall(page.read_text()))
    assert len(named) > 3
    assert named <= explained


def test_what_the_page_leaves_open_is_open_and_nothing_else() -> None:
    assert matches(["made  … UTC", "…", "end"], "made  2026 UTC   \na\nb\nend\n")
    assert matches(["…", "end"], "end\n")
    assert not matches(["made  … UTC"], "made  2026 UTC\nmore\n")
    assert not matches(["a.c"], "abc\n")
