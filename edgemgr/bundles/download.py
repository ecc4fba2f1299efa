"""Fetches the files of a k3s release and checks them against its published list of hashes. Only when somebody asks."""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edgemgr.errors import BundleError
from edgemgr.model.release import RULES, Arch, hash_list_name, image_archive_names, read_hash_list

#: Where k3s publishes its releases: below it VERSION/FILE, the plus sign as %2B (docs.k3s.io, air-gap install).
K3S_RELEASES = "https://github.com/k3s-io/k3s/releases/download"

_MAX_LIST_BYTES = 64 << 10
_MAX_FILE_BYTES = 4 << 30
_MAX_TRIES = 5  #: in a row that bring nothing
_MAX_REQUESTS = 1000
_TIMEOUT_S = 60.0
_BLOCK_BYTES = 256 << 10
_PARTIAL, _RANGE_NOT_SATISFIABLE = 206, 416

#: Called with a file's name, the bytes of it that are here, and its size (0 while that is not known).
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class _Wanted:
    url: str
    path: Path
    limit_bytes: int


def download_release(
    version: str,
    archs: Iterable[Arch],
    directory: Path,
    *,
    base_url: str = K3S_RELEASES,
    on_progress: Progress | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Bring what a release directory lacks: binary, images and list of hashes of every architecture.

    What is there with the right hash is not fetched again; a file that was cut off goes on where it ended.

    Args:
        version: as k3s tags it.
        archs: for which architectures.
        directory: made when it is not there.
        base_url: https, or http on this machine.
        on_progress: told of every block.
        pause: waits before another try, for so many seconds.

    Returns:
        The names of the files that were fetched, without the lists.

    Raises:
        BundleError: a file cannot be fetched, or is not what the list says (E-BUNDLE-DOWNLOAD).
    """
    _check_url(base_url)
    opener = urllib.request.build_opener(_CarefulRedirects)
    fetched = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for arch in archs:
            base = f"{base_url.rstrip('/')}/{urllib.parse.quote(version, safe='')}"
            name = hash_list_name(arch)
            fresh = directory / f".{name}.new"
            fresh.unlink(missing_ok=True)
            _fetch(opener, _Wanted(f"{base}/{name}", fresh, _MAX_LIST_BYTES), None, pause)
            hashes = read_hash_list(fresh.read_text("utf-8", "replace"))
            for wanted in (RULES[arch].binary, next((n for n in image_archive_names(arch) if n in hashes), "")):
                if wanted not in hashes:
                    raise _fault(f"{base}/{name} has no hash for the files of {arch}")
                target = _Wanted(f"{base}/{wanted}", directory / wanted, _MAX_FILE_BYTES)
                if _bring(opener, target, hashes[wanted], on_progress, pause):
                    fetched.append(wanted)
            fresh.replace(directory / name)
    except OSError as exc:
        raise _fault(
            f"{directory} cannot be written: {exc.strerror or exc}", "Give another directory with --cache."
        ) from exc
    return fetched


def _bring(
    opener: urllib.request.OpenerDirector,
    wanted: _Wanted,
    digest: str,
    on_progress: Progress | None,
    pause: Callable[[float], None],
) -> bool:
    """Fetch a file unless it is here; True when it was fetched."""
    if wanted.path.is_file() and _sha256(wanted.path) == digest:
        return False
    part = wanted.path.with_name(f".{wanted.path.name}.part")
    resumed = part.is_file()
    beside = _Wanted(wanted.url, part, wanted.limit_bytes)
    _fetch(opener, beside, on_progress, pause, name=wanted.path.name)
    if resumed and _sha256(part) != digest:  # the beginning was of something else
        part.unlink()
        _fetch(opener, beside, on_progress, pause, name=wanted.path.name)
    if (found := _sha256(part)) != digest:
        part.unlink()
        raise _fault(
            f"{wanted.url} does not have the hash that its list gives: it has {found}, it should have {digest}"
        )
    part.replace(wanted.path)
    return True


def _fetch(
    opener: urllib.request.OpenerDirector,
    wanted: _Wanted,
    on_progress: Progress | None,
    pause: Callable[[float], None],
    *,
    name: str = "",
) -> None:
    """Append to a file until it is whole."""
    tries = 0
    why: Exception | None = None
    for _ in range(_MAX_REQUESTS):
        before = wanted.path.stat().st_size if wanted.path.exists() else 0
        try:
            if _request(opener, wanted, before, on_progress, name):
                return
            why = None
        except urllib.error.HTTPError as exc:
            if exc.code == _RANGE_NOT_SATISFIABLE and before:
                return  # nothing is missing; the hash says whether that is true
            raise _fault(f"{wanted.url} cannot be fetched: {exc.code} {exc.reason}") from exc
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as exc:
            why = exc
        after = wanted.path.stat().st_size if wanted.path.exists() else 0
        tries = 0 if after > before else tries + 1
        if tries == _MAX_TRIES:
            break
        pause(float(2**tries))
    raise _fault(f"{wanted.url} cannot be fetched: {why or 'it ends too early'}") from why


def _request(
    opener: urllib.request.OpenerDirector, wanted: _Wanted, before: int, on_progress: Progress | None, name: str
) -> bool:
    """One request; True when the file is whole after it."""
    request = urllib.request.Request(wanted.url, headers={"Range": f"bytes={before}-"} if before else {})  # noqa: S310 — the scheme was looked at
    with opener.open(request, timeout=_TIMEOUT_S) as answer:
        here = before if answer.status == _PARTIAL else 0
        length = answer.headers.get("Content-Length", "")
        total = here + int(length) if length.isdigit() else 0
        if total > wanted.limit_bytes:
            raise _fault(f"{wanted.url} has {total} bytes; {wanted.limit_bytes} are the most")
        with wanted.path.open("ab" if here else "wb") as file:
            while block := answer.read1(_BLOCK_BYTES):
                here += len(block)
                _write(file, block, here, wanted)
                if on_progress and name:
                    on_progress(name, here, total)
    return not total or here == total


def _write(file: IO[bytes], block: bytes, here: int, wanted: _Wanted) -> None:
    if here > wanted.limit_bytes:
        raise _fault(f"{wanted.url} has more than {wanted.limit_bytes} bytes")
    file.write(block)


class _CarefulRedirects(urllib.request.HTTPRedirectHandler):
    """Follows to https only (release files lie on other hosts than their page), or on this machine."""

    def redirect_request(  # noqa: PLR0917 - as urllib calls it
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_url(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        return
    raise _fault(
        f"{url} is not fetched: it is neither https nor on this machine", "Give an address that begins with https://."
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fault(
    message: str, hint: str = "Try again: what is here already is kept. Or fetch the files by hand."
) -> BundleError:
    return BundleError(message, hint=hint, code="E-BUNDLE-DOWNLOAD")
