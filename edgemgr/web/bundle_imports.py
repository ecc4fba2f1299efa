"""Uploaded bundles are imported one after the other by a thread of the console's process."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from edgemgr.app import App
from edgemgr.errors import ConflictError, EdgemgrError
from edgemgr.inventory.bundle_import import Importer
from edgemgr.inventory.bundle_upload import Uploads, UploadState, Verdict

logger = logging.getLogger(__name__)

#: Who events say it was: the console has no login yet.
ACTOR = "console"
#: How often it is tried again while a command imports or removes a bundle, seconds.
_TRY_AGAIN_S = 1.0


class _StoppedError(Exception):
    """The process ends; the import goes on when it is back."""


@dataclass(frozen=True)
class Step:
    """What an import does at this moment."""

    what: str
    done: int
    total: int  #: 0: not known


class BundleImports:
    """The uploads that are whole, their order and their progress."""

    def __init__(self, appliance: App) -> None:
        self._appliance = appliance
        self._uploads = Uploads(appliance.settings)
        self._wanted: list[str] = []
        self._steps: dict[str, Step] = {}
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, upload_id: str) -> None:
        """Import an upload that is whole, when its turn comes; once, however often it is asked for."""
        with self._changed:
            if upload_id in self._wanted or upload_id in self._steps:
                return
            self._wanted.append(upload_id)
            self._steps[upload_id] = Step("waiting", 0, 0)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="bundle-imports", daemon=True)
                self._thread.start()
            self._changed.notify()

    def add_whole(self) -> None:
        """Go on with uploads that were whole when the process ended."""
        for upload in self._uploads.all():
            if upload.state is UploadState.RECEIVED:
                self.add(upload.id)

    def step(self, upload_id: str) -> Step | None:
        """What the import of an upload does now; None when none is under way or asked for."""
        return self._steps.get(upload_id)

    def stop(self) -> None:
        """Break off; an import that is cut short goes on the next time."""
        self._stop.set()
        with self._changed:
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._stop.is_set())
                if self._stop.is_set():
                    return
                upload_id = self._wanted.pop(0)
            try:
                verdict = self._import(upload_id)
                if verdict is not None:
                    self._uploads.end(upload_id, verdict)
            except EdgemgrError as exc:
                logger.warning("upload %s: %s", upload_id, exc.message)
            except _StoppedError:
                return
            except Exception:
                logger.exception("the import of upload %s failed in an unforeseen way", upload_id)
            finally:
                self._steps.pop(upload_id, None)

    def _import(self, upload_id: str) -> Verdict | None:
        upload = self._uploads.get(upload_id)
        if upload.state is not UploadState.RECEIVED:
            return None

        def told(what: str, done: int, total: int) -> None:
            if self._stop.is_set():
                raise _StoppedError
            self._steps[upload_id] = Step(what, done, total)

        importer = Importer(self._appliance.database, self._appliance.settings, ACTOR, on_progress=told)
        while True:
            try:
                imported = importer.take_own(self._uploads.path(upload_id), upload.name)
            except ConflictError:
                if self._stop.wait(_TRY_AGAIN_S):
                    raise _StoppedError from None
            except EdgemgrError as exc:
                return Verdict(state=UploadState.REFUSED, message=exc.message, code=exc.code, hint=exc.hint)
            else:
                done = "was imported" if imported.fresh else "is already imported"
                return Verdict(state=UploadState.IMPORTED, message=f"{imported.bundle.name} {done}")
