"""Where this machine gets its Debian packages from, as its own apt is told (sources.list(5), both formats)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgemgr.errors import LabError

APT_DIR = Path("/etc/apt")
OS_RELEASE = Path("/etc/os-release")


@dataclass(frozen=True)
class Mirror:
    """One place with packages for one suite; `keyring` is the key file that signs it, when apt is told one."""

    url: str
    suite: str
    keyring: str | None = None


def machine_suite(os_release: Path = OS_RELEASE) -> str:
    """Return the code name of the distribution that runs here, such as `bookworm`.

    Raises:
        LabError: E-LAB-MIRROR, this is no distribution that debootstrap knows how to make.
    """
    for line in os_release.read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip().strip('"')
    raise LabError(
        f"{os_release} names no VERSION_CODENAME",
        hint="The lab can be made on Debian and Ubuntu.",
        code="E-LAB-MIRROR",
    )


def machine_mirror(suite: str, apt_dir: Path = APT_DIR) -> Mirror:
    """Return the first source of binary packages for exactly this suite.

    Raises:
        LabError: E-LAB-MIRROR, apt has no such source.
    """
    for mirror in _sources(apt_dir):
        if mirror.suite == suite and mirror.url.startswith(("http://", "https://", "file:")):
            return mirror
    raise LabError(
        f"apt on this machine has no source for {suite}",
        hint=f"Add the main section of {suite} to {apt_dir}/sources.list.",
        code="E-LAB-MIRROR",
    )


def _sources(apt_dir: Path) -> Iterator[Mirror]:
    parts = sorted((apt_dir / "sources.list.d").glob("*"))
    for path in [apt_dir / "sources.list", *parts]:
        if path.suffix == ".list" and path.is_file():
            yield from _one_line_sources(path.read_text())
        elif path.suffix == ".sources" and path.is_file():
            yield from _deb822_sources(path.read_text())


def _one_line_sources(text: str) -> Iterator[Mirror]:
    """`deb [options] url suite component…`, one a line."""
    for line in text.splitlines():
        kind, _, rest = line.partition("#")[0].strip().partition(" ")
        options, rest = _split_options(rest.strip())
        words = rest.split()
        if kind == "deb" and len(words) > 2 and "main" in words[2:]:  # noqa: PLR2004 - url, suite, one component
            yield Mirror(words[0], words[1], _keyring(options.get("signed-by", "")))


def _split_options(rest: str) -> tuple[dict[str, str], str]:
    if not rest.startswith("["):
        return {}, rest
    inside, _, after = rest[1:].partition("]")
    return dict(option.partition("=")[::2] for option in inside.split()), after


def _deb822_sources(text: str) -> Iterator[Mirror]:
    """Stanzas of `Field: words`, parted by blank lines; a line that begins with a blank goes on."""
    for stanza in text.replace("\r", "").split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():
                fields[name] = f"{fields.get(name, '')}\n{line.strip()}"
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        usable = "deb" in fields.get("types", "").split() and "main" in fields.get("components", "").split()
        if not usable or fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        for url in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Mirror(url, suite, _keyring(fields.get("signed-by", "")))


def _keyring(signed_by: str) -> str | None:
    """Only a file can be handed to debootstrap; fingerprints and inline keys are apt's own business."""
    return signed_by if signed_by.startswith("/") and "\n" not in signed_by else None
