"""Why a backup could not be started on this appliance, or did not start."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgemgr.errors import EdgemgrError, Retry

_MIB = 1 << 20
_CHECK_ONLY = "Or check alone: `edgemgr backup rehearse --check-only`."


class RehearsalError(EdgemgrError):
    """A backup was not proven to start.

    Attributes:
        was_started: whether k3s was started on it; else nothing is known of the backup.
        log: the last lines of k3s, without secrets.
    """

    code = "E-REHEARSE"
    was_started = False
    log: tuple[str, ...] = ()


def no_namespaces(why: str) -> RehearsalError:
    """This machine lets us have no namespaces."""
    return RehearsalError(
        f"this machine allows no namespaces in which k3s could be started: {why}",
        hint="Let it: run edgemgr as root, or see `sysctl user.max_user_namespaces` and, on Ubuntu,"
        f" `sysctl kernel.apparmor_restrict_unprivileged_userns`. {_CHECK_ONLY}",
        code="E-REHEARSE-NAMESPACES",
    )


def no_program(names: Iterable[str]) -> RehearsalError:
    """A program of this machine is missing."""
    return RehearsalError(
        f"to start a backup this machine needs {', '.join(names)}",
        hint=f"Install util-linux, iproute2 and coreutils. {_CHECK_ONLY}",
        code="E-REHEARSE-PROGRAM",
    )


def no_arch(machine: str) -> RehearsalError:
    """k3s is not published for this machine."""
    return RehearsalError(
        f"k3s does not run on this machine ({machine})",
        hint=f"Rehearse on one that is amd64, arm64 or armhf. {_CHECK_ONLY}",
        code="E-REHEARSE-ARCH",
    )


def busy() -> RehearsalError:
    """Somebody else rehearses."""
    error = RehearsalError(
        "another rehearsal runs on this appliance",
        hint=f"Wait for its end: they go one at a time. {_CHECK_ONLY}",
        code="E-REHEARSE-BUSY",
    )
    error.retry = Retry.BUDGETED
    error.exit_status = 5
    return error


def unusable(exc: OSError) -> RehearsalError:
    """The disk refused."""
    return RehearsalError(
        f"nothing can be laid out for a rehearsal: {exc.strerror or exc}",
        hint="Look at the appliance's disk (df, dmesg), and at who owns state_dir and runtime_dir.",
        code="E-REHEARSE-IO",
    )


def no_release(version: str, arch: str, others: Sequence[str]) -> RehearsalError:
    """The very version is not here."""
    there = f", only for {' and '.join(others)}" if others else ""
    return RehearsalError(
        f"k3s {version} for {arch}, which this machine could start, is not on this appliance{there}",
        hint="Add the release's files with `edgemgr release add DIR`, or a bundle that holds them.",
        code="E-REHEARSE-RELEASE",
    )


def no_room(need_bytes: int, free_bytes: int, what: str) -> RehearsalError:
    """It does not fit."""
    return RehearsalError(
        f"{need_bytes // _MIB} MiB are needed {what}, {free_bytes // _MIB} MiB are free",
        hint="Free some, or set runtime_dir to a larger file system that only edgemgr can read.",
        code="E-REHEARSE-ROOM",
    )


def strange_file(name: str, why: str) -> RehearsalError:
    """The backup holds something that nobody should lay out."""
    return RehearsalError(
        f"the backup holds a file named {name[:80]!r}, which {why}",
        hint="No k3s writes such a file: find out who did at the site, and take a new backup.",
        code="E-REHEARSE-FILE",
    )


def broken(why: str) -> RehearsalError:
    """The namespaces could not be made as they must be."""
    return RehearsalError(
        f"k3s could not be started in namespaces of its own: {why}",
        hint=f"See what `edgemgr doctor` says of rehearsals. {_CHECK_ONLY}",
        code="E-REHEARSE-SETUP",
    )


def did_not_start(code: str, why: str, log: tuple[str, ...]) -> RehearsalError:
    """k3s was started on the backup, and did not do what a restored one must."""
    error = RehearsalError(
        why,
        hint="Choose another backup of this site for a restore, and take a new one; `-o json` shows more of k3s' log.",
        code=code,
    )
    error.was_started, error.log = True, log
    return error
