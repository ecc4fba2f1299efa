"""The one tree of errors: a stable code, whether a repeat can help, and what to do next.

A message says what happened to which thing; the hint says what the operator does about it. Every code is
explained in docs/errors.md, and a test compares the two. A programming mistake is a RuntimeError and no
part of this tree.
"""

from __future__ import annotations

from enum import StrEnum


class Retry(StrEnum):
    """Whether a repeat of the same request can succeed."""

    NEVER = "never"  #: the inputs must change first
    BUDGETED = "budgeted"  #: may pass the next time; costs one of a limited number of attempts
    FREE = "free"  #: costs only time, up to the deadline


class EdgemgrError(Exception):
    """Something that an operator can understand and act upon.

    Attributes:
        code: stable identifier such as `E-SITE-UNKNOWN`; never reused for another meaning.
        retry: whether a repeat can help.
        hint: what to do next, one sentence; may be empty.
        exit_status: what the command line returns for it.
    """

    code = "E-INTERNAL"
    retry = Retry.NEVER
    default_hint = ""
    exit_status = 1

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint
        if code is not None:
            self.code = code


class UsageError(EdgemgrError):
    """The request itself cannot be carried out as it was put."""

    code = "E-USAGE"
    exit_status = 2


class NotFoundError(UsageError):
    """A thing was named that does not exist."""

    code = "E-NOT-FOUND"
    exit_status = 3


class ConflictError(UsageError):
    """The request is sound, but something that exists or runs stands against it."""

    code = "E-CONFLICT"
    exit_status = 5


class InventoryError(UsageError):
    """Inventory data (a CSV file, a site's field, a label) is not acceptable."""

    code = "E-INVENTORY"


class SelectorError(UsageError):
    """A label selector or filter cannot be read."""

    code = "E-SELECTOR"


class ReleaseError(UsageError):
    """k3s release files are missing, damaged or do not fit."""

    code = "E-RELEASE"


class BundleError(UsageError):
    """A bundle cannot be made, read or trusted; nothing was changed on any site."""

    code = "E-BUNDLE"


class ConfigurationError(EdgemgrError):
    """The appliance itself is not set up as it must be."""

    code = "E-CONFIG"


class StoreError(EdgemgrError):
    """The database cannot be used: not migrated, locked for too long, damaged, disk full."""

    code = "E-STORE"


class VaultError(EdgemgrError):
    """A secret cannot be sealed or opened."""

    code = "E-VAULT"


class SiteError(EdgemgrError):
    """Something at a site or on the way to it."""

    code = "E-SITE"


class SiteUnreachableError(SiteError):
    """No connection could be made, or it was lost."""

    code = "E-SITE-UNREACHABLE"
    retry = Retry.FREE


class SiteIdentityError(SiteError):
    """The host that answered is not the one that was pinned, or none is pinned yet."""

    code = "E-SITE-IDENTITY"


class SiteLoginError(SiteError):
    """The host is the right one, but does not let us in."""

    code = "E-SITE-LOGIN"


class RunnerError(EdgemgrError):
    """ansible-runner could not be started or did not behave."""

    code = "E-RUNNER"
    retry = Retry.BUDGETED


class LeaseLostError(EdgemgrError):
    """Another worker owns this attempt now; stop at once and write nothing."""

    code = "E-LEASE-LOST"


class LabError(EdgemgrError):
    """A simulated site could not be made or handled."""

    code = "E-LAB"
