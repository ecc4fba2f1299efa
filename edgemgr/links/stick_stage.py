"""The program on a stick: brings a site without a link what a work order holds for it, and writes a receipt.

It is not imported on a node: links/stick_script.py makes one file of it and of its parts, which a person runs there as
root. That person is asked to carry, to start it, and at the first time to type a code that came by another way than
the stick; nothing is left to be judged. What is done is decided by the signed order and by the node's own host key.
Python 3.8 or newer, standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from edgemgr.links import stick_copy, stick_keys
from edgemgr.links.node_fence import RefusedError
from edgemgr.links.node_files import make_directory, sync_directory

ORDER_FILE = "workorder.signed"
BLOBS_DIRECTORY = "blobs/sha256"
RECEIPTS_DIRECTORY = "receipts"
RECEIPT_ENDING = ".receipt"
ORDER_FORMAT, RECEIPT_FORMAT, VERSION = "edgemgr-workorder", "edgemgr-receipt", 1
MAX_ORDER_BYTES = 32 * 1024 * 1024
#: Of module_utils/layout.py in the collection, below the root of the file tree.
STATE, CACHE, RECORD, LOCK = "var/lib/edgemgr", "cache/sha256", "fence.json", "run/lock/edgemgr.lock"
#: Which bundles' files are kept when a later transfer tidies up, as links/node_archive.py writes it; beside the store.
SETS = "staged.json"
HOST_KEYS = "etc/ssh"
#: Public key lines of the appliance; once it is there nothing is asked and no other key counts.
PINNED_KEYS = "appliance-keys.pub"
#: Which order was begun here last: one that was made before it is not carried out any more.
NEWEST_ORDER = "newest-order.json"
FENCE_WAIT_S = 60.0
ARCHS = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv8l": "arm"}
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
EXIT_REFUSED = 1


def stage(stick: Path, root: Path, typed: str | None) -> Path:
    """Do the whole work; returns where the receipt lies.

    Raises:
        RefusedError: and nothing that was on the node before is changed.
        OSError: the node's disk refuses.
    """
    state = root / STATE
    cache = state / CACHE
    payload, signature = read_order(stick)
    keys, is_pinned = appliance_key(state / PINNED_KEYS, signature, typed)
    stick_keys.verify(payload, signature, keys)
    order = understood(payload)
    site, host_key = entry_of(order, root / HOST_KEYS)
    say(f"order {order['number']} of {order['created_at'][:10]}, bundle {order['bundle']}, for site {site['name']}")
    make_directory(state, 0o700)
    with stick_copy.node_locked(root / LOCK, root / STATE / RECORD, FENCE_WAIT_S):
        refuse_older(state / NEWEST_ORDER, order)
        if not is_pinned:
            write_whole(state / PINNED_KEYS, "".join(f"{line}\n" for line in keys).encode())
    blobs = blobs_of(order, site["arch"], stick)
    begun_at = time.strftime(TIME_FORMAT, time.gmtime())
    make_directory(cache, 0o700)
    copied = bring_all(cache, blobs, root, order["reserve_bytes"])
    with stick_copy.node_locked(root / LOCK, root / STATE / RECORD, FENCE_WAIT_S):
        note_set(cache.parent / SETS, order["bundle"], [blob.digest for blob in blobs])
    receipt = {
        "format": RECEIPT_FORMAT,
        "version": VERSION,
        "order": order["number"],
        "order_digest": hashlib.sha256(payload).hexdigest(),
        "site": site["name"],
        "host_key": site["host_key"],
        "arch": site["arch"],
        "blobs": sorted(blob.digest for blob in blobs),
        "copied_bytes": copied,
        "begun_at": begun_at,
        "finished_at": time.strftime(TIME_FORMAT, time.gmtime()),
    }
    line = json.dumps(receipt, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    name = f"order-{order['number']}-{site['name']}{RECEIPT_ENDING}"
    return keep_receipt(line + stick_keys.sign(line, host_key), name, stick, state)


def read_order(stick: Path) -> tuple[bytes, bytes]:
    """The order and its signature as they lie on the stick.

    Raises:
        RefusedError: E-STICK-ORDER.
    """
    try:
        with stick_copy.open_plain(stick / ORDER_FILE) as handle:
            return stick_keys.split_signed(handle.read(MAX_ORDER_BYTES))
    except (OSError, ValueError) as exc:
        raise bad_order(str(exc)) from None


def appliance_key(pinned: Path, signature: bytes, typed: str | None) -> tuple[list[str], bool]:
    """The keys that may have signed: those that this node knows, or else the one whose code a person typed.

    Raises:
        RefusedError: E-STICK-CODE, E-STICK-ORDER.
    """
    if pinned.is_file():
        return pinned.read_text(encoding="ascii", errors="replace").splitlines(), True
    try:
        blob = stick_keys.signer_of(signature)
        line = stick_keys.line_of(blob)
    except ValueError as exc:
        raise bad_order(str(exc)) from None
    if typed is None and sys.stdin.isatty():
        sys.stderr.write("This node knows no appliance yet. Type the code that you were told, not one from the stick: ")
        sys.stderr.flush()
        typed = sys.stdin.readline()
    if typed is None or not stick_keys.is_code(typed, blob):
        raise RefusedError(
            "E-STICK-CODE",
            "the code of the appliance was not given" if typed is None else "this stick is not of that appliance",
            "Ask whoever sent it for the code, by telephone or on paper; it has five groups of four letters.",
        )
    return [line], False


def understood(payload: bytes) -> dict[str, Any]:
    """What a signed order says.

    Raises:
        RefusedError: E-STICK-ORDER, E-STICK-EXPIRED.
    """
    try:
        order: dict[str, Any] = json.loads(payload)
        known = (order["format"], order["version"]) == (ORDER_FORMAT, VERSION)
    except (ValueError, KeyError, TypeError) as exc:
        raise bad_order(str(exc)) from None
    if not known:
        raise bad_order("it is of a format that this script does not know")
    now = time.strftime(TIME_FORMAT, time.gmtime())
    if now > order["expires_at"]:
        raise RefusedError(
            "E-STICK-EXPIRED",
            f"this order was valid until {order['expires_at']}; the node's clock says {now}",
            "See that the clock is right (date); otherwise ask for a new stick.",
        )
    return order


def entry_of(order: dict[str, Any], directory: Path) -> tuple[dict[str, Any], Path]:
    """What the order says of this very node, told by its host keys, and the key that is known of it.

    Raises:
        RefusedError: E-STICK-SITE, E-STICK-ARCH, E-STICK-SSH.
    """
    own = stick_keys.host_keys(directory)
    found = [(site, own[site["host_key"]]) for site in order["sites"] if site["host_key"] in own]
    if len(found) != 1:
        known = ", ".join(sorted(own)) or "it has no host key"
        raise RefusedError(
            "E-STICK-SITE",
            f"order {order['number']} is not for this node ({known}); nothing was copied",
            "Is this the right stick for this site? If so, the appliance knows another host key of it: tell them.",
        )
    site, path = found[0]
    arch = ARCHS.get(platform.machine(), platform.machine())
    if arch != site["arch"]:
        raise RefusedError(
            "E-STICK-ARCH",
            f"order {order['number']} holds {site['arch']} for site {site['name']}; this node is {arch}",
            "Tell whoever sent it: the appliance has a wrong architecture for this site.",
        )
    return site, path


def refuse_older(record: Path, order: dict[str, Any]) -> None:
    """Refuse an order that was made before the last one here: an old stick must not bring back what it held.

    Orders are compared by the appliance's clock: after it was restored from a backup, numbers may come again.

    Raises:
        RefusedError: E-STICK-OLDER.
    """
    mine = [order["created_at"], order["number"]]
    try:
        newest = json.loads(record.read_bytes())
        is_older = mine < [newest["created_at"], newest["number"]]
    except FileNotFoundError:
        is_older, newest = False, None
    except (ValueError, KeyError, TypeError):
        raise RefusedError(
            "E-STICK-OLDER",
            f"{record} cannot be read, so that nobody knows which order was the last one here",
            "Remove that file if you are sure that this is the newest stick.",
        ) from None
    if is_older:
        raise RefusedError(
            "E-STICK-OLDER",
            f"order {order['number']} of {order['created_at'][:10]} is older than order {newest['number']} of"
            f" {newest['created_at'][:10]}, the last one here; nothing was copied",
            "Take the newest stick, or ask for a new order.",
        )
    write_whole(record, json.dumps({"created_at": mine[0], "number": mine[1]}).encode() + b"\n")


def blobs_of(order: dict[str, Any], arch: str, stick: Path) -> list[stick_copy.Blob]:
    """The files that this node gets."""
    directory, piece_bytes = stick / BLOBS_DIRECTORY, order["piece_bytes"]
    found = []
    for digest in order["content"][arch]:
        size = order["blobs"][digest]
        found.append(stick_copy.Blob(digest, size, stick_copy.pieces_of(directory, digest, size, piece_bytes)))
    return found


def bring_all(cache: Path, blobs: list[stick_copy.Blob], root: Path, reserve: int) -> int:
    """Copy what is missing, each file under the lock; returns how many bytes were copied.

    Raises:
        RefusedError: E-STICK-DAMAGED once all others are there; E-STAGE-ROOM, E-FENCE-BUSY, E-FENCE-DAMAGED.
    """
    stick_copy.refuse_without_room(cache, stick_copy.missing_bytes(cache, blobs), reserve)
    copied = 0
    damaged = []
    for number, blob in enumerate(blobs, 1):
        title = f"{number} of {len(blobs)}, sha256:{blob.digest[:12]}, {blob.size_bytes / stick_copy.MIB:.1f} MiB"
        with stick_copy.node_locked(root / LOCK, root / STATE / RECORD, FENCE_WAIT_S):
            try:
                bytes_copied = stick_copy.bring(cache, blob, Progress(title, blob.size_bytes))
            except stick_copy.DamagedError as exc:
                damaged.append(blob)
                say(f"{title}: {exc}")
                continue
        copied += bytes_copied
        say(f"{title}: {'copied' if bytes_copied else 'was there'}")
    if damaged:
        names = ", ".join(f"sha256:{blob.digest[:12]}" for blob in damaged[:3])
        raise RefusedError(
            "E-STICK-DAMAGED",
            f"{len(damaged)} of {len(blobs)} files on this stick are damaged or missing: {names}",
            "Try it once more in another port; then ask for a new stick. What is in place is not copied again.",
        )
    return copied


def note_set(record: Path, bundle: str, digests: list[str]) -> None:
    """Note which files this bundle has brought, before the one that came last; a record of unknown form stays."""
    before = []
    try:
        before = [each for each in json.loads(record.read_bytes())["sets"] if each["bundle"] != bundle]
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError):
        return
    sets = [{"bundle": bundle, "digests": sorted(digests)}, *before[:1]]
    write_whole(record, json.dumps({"sets": sets}).encode() + b"\n")


def keep_receipt(data: bytes, name: str, stick: Path, state: Path) -> Path:
    """Write the receipt on the node, where it stays, and on the stick if it can be written."""
    own = state / RECEIPTS_DIRECTORY
    make_directory(own, 0o700)
    write_whole(own / name, data)
    try:
        give_back(data, name, stick)
    except OSError as exc:
        say(f"the stick cannot be written ({exc.strerror}): send back {own / name} by another way")
        return own / name
    return stick / RECEIPTS_DIRECTORY / name


def give_back(data: bytes, name: str, stick: Path) -> None:
    """Put the receipt onto the stick, and nowhere else that a link on it may lead to, now or in a moment.

    Raises:
        OSError: the stick cannot be written, or holds a link where the receipt belongs.
    """
    with contextlib.suppress(FileExistsError):
        (stick / RECEIPTS_DIRECTORY).mkdir()
    directory = os.open(stick / RECEIPTS_DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        new = name + ".new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new, dir_fd=directory)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(new, flags, 0o644, dir_fd=directory), "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        os.rename(new, name, src_dir_fd=directory, dst_dir_fd=directory)
        with contextlib.suppress(OSError):  # not every file system of a stick can
            os.fsync(directory)
    finally:
        os.close(directory)


def write_whole(path: Path, data: bytes) -> None:
    """Put a file there, whole or not at all."""
    descriptor, new = tempfile.mkstemp(prefix=".edgemgr-", dir=str(path.parent))
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        Path(new).replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            Path(new).unlink()
        raise
    with contextlib.suppress(OSError):  # not every file system of a stick can
        sync_directory(path.parent)


class Progress:
    """How far a large file is, for somebody who looks on."""

    def __init__(self, title: str, size_bytes: int) -> None:
        self.title, self.size_bytes, self.told = title, size_bytes, 0

    def __call__(self, done: int) -> None:
        """Tell every tenth of a file beyond 64 MiB."""
        tenth = done * 10 // max(1, self.size_bytes)
        if self.size_bytes > 64 * stick_copy.MIB and tenth > self.told:
            self.told = tenth
            say(f"{self.title}: {tenth * 10} %")


def refuse_without_root() -> None:
    """Only root may write to the store, and read the host keys."""
    if os.geteuid() != 0:
        raise RefusedError("E-STICK-ROOT", "this needs root", "Run it again: sudo sh stage.sh")


def bad_order(why: str) -> RefusedError:
    """The order cannot be used."""
    return RefusedError("E-STICK-ORDER", f"the order on this stick cannot be read: {why}", "Ask for a new stick.")


def say(text: str) -> None:
    """Tell the person."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def main() -> None:
    """Read the arguments, work, and say how it ended."""
    parser = argparse.ArgumentParser(prog="stage.sh", description="Bring this site what a work order holds for it.")
    parser.add_argument("--code", metavar="CODE", help="the appliance's code, as you were told it; else it is asked")
    parser.add_argument("--stick", type=Path, metavar="DIR", help="where the work order lies; else beside this script")
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="the node's file tree, if not /")
    given = parser.parse_args()
    try:
        refuse_without_root()
        receipt = stage(given.stick or Path(sys.argv[0]).resolve().parent, given.root, given.code)
    except RefusedError as refused:
        say(f"error: {refused.error['message']}\nhint: {refused.error['hint']}\ncode: {refused.error['code']}")
        sys.exit(EXIT_REFUSED)
    except OSError as exc:
        say(f"error: the node refused: {exc}\nhint: Look at its disk (df, dmesg), then run this again; it goes on.")
        say("code: E-NODE-IO")
        sys.exit(EXIT_REFUSED)
    say(f"done; carry the stick back with the receipt {receipt}")
    sys.stdout.write(f"{receipt}\n")
