"""`edgemgr doctor`: is this appliance fit for work? Each finding says what to do about it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgemgr import __version__
from edgemgr.cli.output import Column, Output, OutputOption, emit
from edgemgr.errors import EdgemgrError
from edgemgr.settings import Settings, config_file, load_settings, program_environment

if TYPE_CHECKING:
    from edgemgr.model.worker import Worker
    from edgemgr.store.queue_status import QueueStatus

#: Below this much free space new work is likely to fail, bytes.
LOW_SPACE_BYTES = 2 << 30
PROGRAM_TIMEOUT_S = 20


@dataclass(frozen=True)
class Finding:
    """One check."""

    check: str
    verdict: str  #: ok, warn or bad
    detail: str
    advice: str = ""


_COLUMNS: tuple[Column[Finding], ...] = (
    Column("check", lambda finding: finding.check),
    Column("verdict", lambda finding: finding.verdict),
    Column("detail", lambda finding: finding.detail),
    Column("what to do", lambda finding: finding.advice),
)


def register(app: typer.Typer) -> None:
    """Add `doctor` to the command line."""
    app.command("doctor")(doctor)


def doctor(output: OutputOption = Output.TABLE) -> None:
    """Check whether this appliance is fit for work. Exit status 1 if something is bad.

    It looks at versions, database, key of the secrets, workers, programs, playbooks, namespaces for rehearsals and
    free space.
    """
    findings = list(_findings())
    emit(findings, _COLUMNS, output, kind="FindingList", name=lambda finding: finding.check)
    if any(finding.verdict == "bad" for finding in findings):
        raise typer.Exit(1)


def _findings() -> Iterator[Finding]:
    yield Finding("edgemgr", "ok", __version__)
    yield _sqlite()
    settings = load_settings()
    yield Finding("configuration", "ok", str(config_file()) if config_file().exists() else "defaults and environment")
    if settings.renew_window is not None:
        yield _renewals(settings.renew_window)
    yield from _state(settings)
    yield _program("ansible", "ansible-playbook", "--version")
    yield _program("ssh", "ssh", "-V")
    yield _playbooks()
    yield _rehearsals()
    yield from _space(settings)


def _sqlite() -> Finding:
    from edgemgr.store.database import SAFE_SQLITE, sqlite_version

    version, safe = sqlite_version()
    if safe:
        return Finding("sqlite", "ok", f"{version} (pysqlite3)")
    wanted = ".".join(map(str, SAFE_SQLITE))
    return Finding(
        "sqlite", "bad", f"{version} can corrupt a WAL database", f"Install pysqlite3 with SQLite ≥ {wanted}."
    )


def _renewals(hours: str) -> Finding:
    from edgemgr.model.window import Window

    try:
        Window.parse(hours, None)
    except EdgemgrError as exc:
        return Finding("renewals", "bad", f"renew_window: {exc.message}; no certificate is renewed by itself", exc.hint)
    return Finding("renewals", "ok", f"k3s is restarted for certificates that are due: {hours or 'at any time'}")


def _state(settings: Settings) -> Iterator[Finding]:
    from edgemgr.app import open_app
    from edgemgr.model.timestamp import utc_now
    from edgemgr.queue.identity import living
    from edgemgr.store import schema, workers
    from edgemgr.store.queue_status import queue_status

    try:
        with open_app(settings) as app:
            revision = schema.current_revision(app.database)
            yield Finding("database", "ok", f"{app.database.url.render_as_string()}, schema {revision}")
            with app.database.read() as session:
                now = workers.server_time(session) or utc_now()
                alive = living(session)
                status = queue_status(session, max_running=settings.max_running, now=now)
            yield Finding("key of the secrets", "ok", f"id {app.vault.key_id}")
    except EdgemgrError as exc:
        yield Finding("state", "bad", exc.message, exc.hint)
        return
    yield from _workers(alive, status, settings.lease_s, now)
    yield _clock(alive)


def _workers(alive: Sequence[Worker], status: QueueStatus, lease_s: float, now: datetime) -> Iterator[Finding]:
    if not alive:
        waiting = status.running + status.queued
        verdict = "warn" if waiting else "ok"
        yield Finding("workers", verdict, f"none runs; {waiting} operation(s) open", "Start `edgemgr serve`.")
    running = {load.worker_id: load.running for load in status.workers}
    for worker in alive:
        silent_s = max(0.0, (now - worker.heartbeat_at).total_seconds())
        zones = f"zones {worker.zones}" if worker.zones else "every zone"
        detail = f"beat {worker.beats} {silent_s:.0f} s ago, {zones}, {running.get(worker.id, 0)} attempts"
        if silent_s < lease_s:
            yield Finding(f"worker {worker.id}", "ok", detail)
        else:
            yield Finding(f"worker {worker.id}", "warn", detail, "Silent: if another one lives, it takes over.")
    for group in status.waiting:
        if group.reason == "zone" and alive:
            detail = f"no worker serves zone {group.subject}, where {group.sites} site(s) wait"
            yield Finding(
                "zones", "warn", detail, f"Start `edgemgr worker --zone {group.subject}` where they are near."
            )


def _clock(alive: Sequence[Worker]) -> Finding:
    jumps = max((worker.clock_jumps for worker in alive), default=0)
    if not jumps:
        return Finding("clock", "ok", "the time of day has not jumped since the workers started")
    detail = f"the time of day jumped {jumps} time(s) since a worker started"
    return Finding("clock", "warn", detail, "See that this machine's clock is kept by NTP: deadlines go by it.")


def _program(check: str, *command: str) -> Finding:
    environment = program_environment()
    if shutil.which(command[0], path=environment["PATH"]) is None:
        return Finding(check, "bad", f"{command[0]} is not installed", f"Install {command[0]}.")
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PROGRAM_TIMEOUT_S, env=environment, check=False
    )
    said = (done.stdout or done.stderr).strip().splitlines()
    return Finding(check, "ok" if done.returncode == 0 else "bad", said[0] if said else "says nothing")


def _playbooks() -> Finding:
    from edgemgr.runner.content import playbook_dir

    try:
        return Finding("playbooks", "ok", str(playbook_dir()))
    except EdgemgrError as exc:
        return Finding("playbooks", "bad", exc.message, exc.hint)


def _rehearsals() -> Finding:
    from edgemgr.inventory.rehearsal_space import find_namespaces

    try:
        options = find_namespaces()
    except EdgemgrError as exc:
        return Finding("rehearsals", "warn", exc.message, exc.hint)
    owner = "of a user namespace" if "--user" in options else "of root"
    return Finding("rehearsals", "ok", f"backups can be started here, in namespaces {owner}")


def _space(settings: Settings) -> Iterator[Finding]:
    for check, path in (("disk", settings.state_dir), ("runtime directory", settings.runtime_dir)):
        existing = next(parent for parent in (path, *path.parents) if parent.exists())
        free = shutil.disk_usage(existing).free
        low = check == "disk" and free < LOW_SPACE_BYTES
        writable = os.access(existing, os.W_OK)
        advice = "Free space." if low else "" if writable else f"Let this user write {path}."
        yield Finding(
            check, "bad" if not writable else "warn" if low else "ok", f"{free >> 20} MiB free in {Path(path)}", advice
        )
