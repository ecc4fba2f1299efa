"""K3sVersion: the version of a k3s release, and the order of versions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

from edgemgr.errors import ReleaseError

# k3s tags its releases vMAJOR.MINOR.PATCH[-rcN]+k3sN; where a plus sign is not allowed (image tags, some file
# systems) the project itself writes a hyphen instead (docs.k3s.io, automated upgrades).
_VERSION = re.compile(r"v(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?:-rc(\d{1,4}))?[+-]k3s(\d{1,4})", re.ASCII)


@total_ordering
@dataclass(frozen=True)
class K3sVersion:
    """A version such as `v1.33.5+k3s1`; compared by number, a release candidate before its final release."""

    major: int
    minor: int
    patch: int
    revision: int  #: the N of `+k3sN`: the same Kubernetes, built again
    candidate: int | None = None  #: the N of `-rcN`, or None for a final release

    @classmethod
    def parse(cls, text: str) -> K3sVersion:
        """Read a version as k3s prints it, or with a hyphen for the plus sign as in image tags.

        Raises:
            ReleaseError: the text is no k3s version (E-RELEASE-VERSION).
        """
        match = _VERSION.fullmatch(text.strip())
        if match is None:
            raise ReleaseError(
                f"{text!r} is not a version of k3s",
                hint="Write it as k3s prints it, for example v1.33.5+k3s1.",
                code="E-RELEASE-VERSION",
            )
        return cls._from(match)

    @classmethod
    def find(cls, text: str) -> K3sVersion | None:
        """The first k3s version inside a longer text, such as a directory's name or a program's output."""
        match = re.search(rf"(?<![0-9A-Za-z.]){_VERSION.pattern}(?![0-9A-Za-z])", text, re.ASCII)
        return cls._from(match) if match else None

    @classmethod
    def _from(cls, match: re.Match[str]) -> K3sVersion:
        major, minor, patch, candidate, revision = match.groups()
        return cls(int(major), int(minor), int(patch), int(revision), int(candidate) if candidate else None)

    def __str__(self) -> str:
        candidate = "" if self.candidate is None else f"-rc{self.candidate}"
        return f"v{self.major}.{self.minor}.{self.patch}{candidate}+k3s{self.revision}"

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, K3sVersion):
            return NotImplemented
        return self._rank() < other._rank()

    def _rank(self) -> tuple[int, int, int, bool, int, int]:
        final = self.candidate is None
        return self.major, self.minor, self.patch, final, self.candidate or 0, self.revision
