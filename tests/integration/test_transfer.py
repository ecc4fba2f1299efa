"""Carrying blobs to a node's content store: a real sshd, real files, and links that are cut."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests_support.cutting_relay import CuttingRelay
from tests_support.throwaway_sshd import PASSWORD, ThrowawaySshd, running_sshd

from edgemgr.errors import Retry, SiteError, SiteUnreachableError
from edgemgr.links.connection import Connection
from edgemgr.links.sftp_writer import NotStoredError, SftpWriter
from edgemgr.links.ssh import connect
from edgemgr.links.throttle import Bucket, Throttle
from edgemgr.links.transfer import Sent, Stop, send_blobs
from edgemgr.links.transfer_node import NodeBusyError, NodeStore, Reserve, StorePlace
from edgemgr.links.transfer_plan import BLOCK_BYTES, CHUNK_BYTES, Blob, chunks_of
from edgemgr.model.secret import Secret
from edgemgr.model.target import Target

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="starts an sshd with a password of its own: needs root")

MIB = 1024 * 1024
NO_RESERVE = Reserve(free_bytes=0, inodes=0)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThrowawaySshd]:
    with running_sshd(tmp_path_factory.mktemp("node"), config="Subsystem sftp internal-sftp\n") as running:
        yield running


@pytest.fixture
def place(tmp_path: Path) -> StorePlace:
    root = tmp_path / "node"
    return StorePlace(
        cache=str(root / "lib/cache/sha256"),
        incoming=str(root / "lib/incoming"),
        record=str(root / "lib/fence.json"),
        lock=str(root / "lock/edgemgr.lock"),
    )


def _login(sshd: ThrowawaySshd, port: int | None = None) -> Connection:
    return connect(
        Target(
            site_id=1,
            name="store-1",
            address="127.0.0.1",
            port=port or sshd.port,
            user="root",
            host_key=sshd.host_keys[0],
            password=Secret(PASSWORD),
        )
    )


def _blob(directory: Path, name: str, size_bytes: int) -> Blob:
    directory.mkdir(exist_ok=True)
    content = random.Random(name).randbytes(size_bytes)  # noqa: S311 - any bytes will do
    path = directory / name
    path.write_bytes(content)
    return Blob(hashlib.sha256(content).hexdigest(), size_bytes, path)


def _stored(place: StorePlace) -> dict[str, Path]:
    return {path.name: path for path in Path(place.cache).iterdir()}


def _parts(place: StorePlace) -> list[Path]:
    return sorted(Path(place.incoming).glob("*/*.part"))


def _is_right(place: StorePlace, blob: Blob) -> bool:
    return hashlib.sha256((Path(place.cache) / blob.digest).read_bytes()).hexdigest() == blob.digest


def test_blobs_come_whole_under_their_digests_and_a_second_time_nothing_travels(
    sshd: ThrowawaySshd, place: StorePlace, tmp_path: Path
) -> None:
    sizes = {"empty": 0, "one": 1, "border": CHUNK_BYTES, "large": 3 * CHUNK_BYTES + 12345}
    blobs = [_blob(tmp_path / "here", name, size) for name, size in sizes.items()]
    shown: list[Sent] = []
    with _login(sshd) as connection:
        twice = [*blobs, *blobs]  # layers that images share
        sent = send_blobs(connection, twice, attempt=7, on_progress=shown.append, place=place, reserve=NO_RESERVE)
        assert sent.stop is None
        assert sent.sent_bytes == sent.total_bytes == sum(sizes.values())
        assert set(sent.completed) == {blob.digest for blob in blobs}
        again = send_blobs(connection, blobs, attempt=7, place=place, reserve=NO_RESERVE)
    assert (again.sent_bytes, again.held_bytes, again.completed) == (0, sum(sizes.values()), ())
    assert set(_stored(place)) == {blob.digest for blob in blobs}
    assert all(_is_right(place, blob) for blob in blobs)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in _stored(place).values())
    assert list(Path(place.incoming).iterdir()) == []
    assert shown[-1] == sent
    assert [each.sent_bytes for each in shown] == sorted(each.sent_bytes for each in shown)
    assert json.loads(Path(place.record).read_text()) == {"attempt": 7}


def test_after_twenty_cuts_at_random_bytes_there_is_one_right_file_and_little_was_sent_twice(
    sshd: ThrowawaySshd, place: StorePlace, tmp_path: Path
) -> None:
    blob = _blob(tmp_path / "here", "images", 48 * MIB + 4711)
    dice = random.Random(20)  # noqa: S311 - repeatable
    spent = cuts = 0
    with CuttingRelay(sshd.port) as relay:
        for attempt in range(1, 100):
            relay.cut_after = dice.randrange(8000, 4 * MIB) if cuts < 20 else None
            last: list[Sent] = []
            try:
                with _login(sshd, relay.port) as connection:
                    send_blobs(
                        connection, [blob], attempt=attempt, on_progress=last.append, place=place, reserve=NO_RESERVE
                    )
            except SiteUnreachableError:
                cuts += 1
            else:
                break
            finally:
                spent += last[-1].sent_bytes if last else 0
    assert cuts == 20
    assert _is_right(place, blob)
    assert list(_stored(place)) == [blob.digest]
    assert _parts(place) == []
    assert spent - blob.size_bytes <= 20 * 2 * MIB  # the promise is 4 MiB for each
    assert spent >= blob.size_bytes


def test_of_a_damaged_partial_file_only_what_follows_the_damage_travels_again(
    sshd: ThrowawaySshd, place: StorePlace, tmp_path: Path
) -> None:
    blob = _blob(tmp_path / "here", "images", 5 * CHUNK_BYTES)
    with _login(sshd) as connection:
        _stop_after(connection, blob, place, chunks=4)
        (part,) = _parts(place)
        assert part.stat().st_size == 4 * CHUNK_BYTES
        with part.open("r+b") as handle:  # a bit of the third chunk, within a block
            handle.seek(2 * CHUNK_BYTES + 300 * 1024)
            byte = handle.read(1)
            handle.seek(-1, os.SEEK_CUR)
            handle.write(bytes([byte[0] ^ 1]))
        sent = send_blobs(connection, [blob], attempt=2, place=place, reserve=NO_RESERVE)
    assert sent.held_bytes == 2 * CHUNK_BYTES + 300 * 1024 // BLOCK_BYTES * BLOCK_BYTES
    assert sent.sent_bytes == blob.size_bytes - sent.held_bytes
    assert _is_right(place, blob)


def _stop_after(connection: Connection, blob: Blob, place: StorePlace, *, chunks: int, attempt: int = 1) -> Sent:
    left = [True] * (chunks * CHUNK_BYTES // BLOCK_BYTES + 1)  # asked once before the beginning
    return send_blobs(
        connection, [blob], attempt=attempt, is_open=lambda: bool(left) and left.pop(), place=place, reserve=NO_RESERVE
    )


def test_a_window_that_closes_stops_at_the_next_block_and_the_rest_comes_later(
    sshd: ThrowawaySshd, place: StorePlace, tmp_path: Path
) -> None:
    blob = _blob(tmp_path / "here", "images", 3 * CHUNK_BYTES)
    with _login(sshd) as connection:
        first = _stop_after(connection, blob, place, chunks=2)
        assert (first.stop, first.sent_bytes) == (Stop.WINDOW, 2 * CHUNK_BYTES)
        closed = send_blobs(connection, [blob], attempt=1, is_open=lambda: False, place=place, reserve=NO_RESERVE)
        assert (closed.stop, closed.sent_bytes) == (Stop.WINDOW, 0)
        rest = send_blobs(connection, [blob], attempt=1, place=place, reserve=NO_RESERVE)
    assert (rest.stop, rest.sent_bytes) == (None, CHUNK_BYTES)
    assert _is_right(place, blob)


def test_a_canceled_transfer_ends_between_two_writes(sshd: ThrowawaySshd, place: StorePlace, tmp_path: Path) -> None:
    blob = _blob(tmp_path / "here", "images", 3 * CHUNK_BYTES)
    asked = iter(range(10_000))
    with _login(sshd) as connection:
        sent = send_blobs(
            connection, [blob], attempt=1, is_canceled=lambda: next(asked) > 50, place=place, reserve=NO_RESERVE
        )
    assert sent.stop is Stop.CANCELED
    assert 0 < sent.sent_bytes < CHUNK_BYTES
    assert _parts(place)[0].stat().st_size == sent.sent_bytes


def test_a_throttle_holds_the_rate(sshd: ThrowawaySshd, place: StorePlace, tmp_path: Path) -> None:
    blob = _blob(tmp_path / "here", "images", 2 * MIB)
    throttle = Throttle([Bucket(), Bucket(2 * MIB, burst_bytes=64 * 1024)])
    with _login(sshd) as connection:
        began = time.monotonic()
        sent = send_blobs(connection, [blob], attempt=1, throttle=throttle, place=place, reserve=NO_RESERVE)
    assert time.monotonic() - began >= 0.95
    assert sent.elapsed_s >= 0.95


def test_an_older_attempt_is_refused_and_what_it_still_writes_is_ended(
    sshd: ThrowawaySshd, place: StorePlace, tmp_path: Path
) -> None:
    blob = _blob(tmp_path / "here", "images", 3 * CHUNK_BYTES)
    slow = Throttle([Bucket(4 * MIB, burst_bytes=64 * 1024)])
    failures: list[SiteError] = []

    def older() -> None:
        with _login(sshd) as connection:
            try:
                send_blobs(connection, [blob], attempt=4, throttle=slow, place=place, reserve=NO_RESERVE)
            except SiteError as exc:
                failures.append(exc)

    thread = threading.Thread(target=older)
    thread.start()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not (_parts(place) and _parts(place)[0].stat().st_size > MIB):
        time.sleep(0.02)
    with _login(sshd) as connection:
        sent = send_blobs(connection, [blob], attempt=5, place=place, reserve=NO_RESERVE)
    thread.join(10)
    assert not thread.is_alive()
    assert isinstance(failures[0], SiteUnreachableError)
    assert sent.held_bytes > 0  # what the older one had brought was not lost
    assert _is_right(place, blob)
    with _login(sshd) as connection, pytest.raises(SiteError) as caught:
        send_blobs(connection, [blob], attempt=4, place=place, reserve=NO_RESERVE)
    assert (caught.value.code, caught.value.retry) == ("E-FENCE-STALE", Retry.NEVER)


def test_a_node_at_which_another_attempt_works_is_left_alone(
    sshd: ThrowawaySshd, place: StorePlace, tmp_path: Path
) -> None:
    blob = _blob(tmp_path / "here", "images", 1)
    lock = Path(place.lock)
    lock.parent.mkdir(parents=True)
    lock.touch(0o600)
    with _login(sshd) as connection, lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(NodeBusyError) as caught:
            NodeStore(connection, attempt=1, place=place, fence_wait_s=0.3).open([blob], NO_RESERVE)
    assert (caught.value.code, caught.value.retry) == ("E-FENCE-BUSY", Retry.BUDGETED)


def test_files_that_do_not_fit_are_refused_before_a_byte_travels(
    sshd: ThrowawaySshd, place: StorePlace, tmp_path: Path
) -> None:
    blob = _blob(tmp_path / "here", "images", 2 * MIB)
    shown: list[Sent] = []
    for reserve in (Reserve(free_bytes=2**60, inodes=0), Reserve(free_bytes=0, inodes=2**60)):
        with _login(sshd) as connection, pytest.raises(SiteError) as caught:
            send_blobs(connection, [blob], attempt=1, on_progress=shown.append, place=place, reserve=reserve)
        assert caught.value.code == "E-STAGE-ROOM"
        assert "nothing was sent" in caught.value.message
        assert "store-1" in caught.value.message
    assert {each.sent_bytes for each in shown} == {0}
    assert _stored(place) == {}


def test_a_link_that_falls_silent_is_noticed(sshd: ThrowawaySshd, place: StorePlace, tmp_path: Path) -> None:
    blob = _blob(tmp_path / "here", "images", 16 * MIB)
    with CuttingRelay(sshd.port) as relay:
        relay.silent_after = 3 * MIB
        with _login(sshd, relay.port) as connection, pytest.raises(SiteUnreachableError) as caught:
            send_blobs(connection, [blob], attempt=1, stall_s=1.0, place=place, reserve=NO_RESERVE)
    assert caught.value.code == "E-SITE-STALLED"
    assert caught.value.retry is Retry.FREE


def test_a_file_of_the_appliance_that_has_changed_is_never_sent(
    sshd: ThrowawaySshd, place: StorePlace, tmp_path: Path
) -> None:
    blob = _blob(tmp_path / "here", "images", 3 * CHUNK_BYTES)
    signed = replace(blob, chunks=chunks_of(blob))
    with blob.path.open("r+b") as handle:
        handle.seek(CHUNK_BYTES)
        handle.write(b"damage")
    shown: list[Sent] = []
    for each in (signed, blob):
        with _login(sshd) as connection, pytest.raises(SiteError) as caught:
            send_blobs(connection, [each], attempt=1, on_progress=shown.append, place=place, reserve=NO_RESERVE)
        assert caught.value.code == "E-ARTIFACT-SOURCE"
    assert max(each.sent_bytes for each in shown) == CHUNK_BYTES
    assert _stored(place) == {}


def test_a_whole_file_with_another_hash_gets_no_name(sshd: ThrowawaySshd, place: StorePlace, tmp_path: Path) -> None:
    blob = _blob(tmp_path / "here", "images", 2 * MIB)
    false = replace(blob, digest=hashlib.sha256(b"another").hexdigest(), chunks=chunks_of(blob))
    with _login(sshd) as connection, pytest.raises(SiteError) as caught:
        send_blobs(connection, [false], attempt=1, place=place, reserve=NO_RESERVE)
    assert (caught.value.code, caught.value.retry) == ("E-ARTIFACT-HASH", Retry.BUDGETED)
    assert _stored(place) == {}
    assert _parts(place) == []


def test_a_prune_leaves_what_is_to_be_kept_and_what_is_in_place(
    sshd: ThrowawaySshd, place: StorePlace, tmp_path: Path
) -> None:
    kept, in_place, old = (_blob(tmp_path / "here", name, 5000) for name in ("kept", "in place", "old"))
    begun = _blob(tmp_path / "here", "begun", 3 * CHUNK_BYTES)
    with _login(sshd) as connection:
        send_blobs(connection, [kept, in_place, old], attempt=1, place=place, reserve=NO_RESERVE)
        _stop_after(connection, begun, place, chunks=1)
        os.link(Path(place.cache) / in_place.digest, tmp_path / "k3s")
        pruned = NodeStore(connection, attempt=2, place=place).prune([kept.digest, "0" * 64])
    assert set(pruned.names) == {old.digest, begun.digest + ".part"}
    assert pruned.freed_bytes >= CHUNK_BYTES
    assert set(_stored(place)) == {kept.digest, in_place.digest}
    assert _parts(place) == []


def test_a_partial_file_of_the_older_road_is_gone_on_with(
    sshd: ThrowawaySshd, place: StorePlace, tmp_path: Path
) -> None:
    blob = _blob(tmp_path / "here", "images", 2 * CHUNK_BYTES)
    Path(place.cache).mkdir(parents=True, mode=0o700)
    (Path(place.cache) / f"{blob.digest}.part").write_bytes(blob.path.read_bytes()[: CHUNK_BYTES + 10])
    with _login(sshd) as connection:
        sent = send_blobs(connection, [blob], attempt=1, place=place, reserve=NO_RESERVE)
    assert sent.sent_bytes == CHUNK_BYTES
    assert list(_stored(place)) == [blob.digest]
    assert _is_right(place, blob)


@pytest.mark.parametrize("trap", ["symlink", "hard link", "pipe", "directory"])
def test_a_trap_in_the_place_of_a_partial_file_is_put_away(
    sshd: ThrowawaySshd, place: StorePlace, tmp_path: Path, trap: str
) -> None:
    blob = _blob(tmp_path / "here", "images", 100_000)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    older = Path(place.incoming) / "1.0"
    older.mkdir(parents=True)
    part = older / f"{blob.digest}.part"
    if trap == "symlink":
        part.symlink_to(victim)
    elif trap == "hard link":
        os.link(victim, part)
    elif trap == "pipe":
        os.mkfifo(part)
    else:
        part.mkdir()
    with _login(sshd) as connection:
        send_blobs(connection, [blob], attempt=2, place=place, reserve=NO_RESERVE)
    assert victim.read_text() == "mine"
    assert _is_right(place, blob)


def test_an_sshd_without_sftp_is_named(tmp_path: Path, place: StorePlace) -> None:
    blob = _blob(tmp_path / "here", "images", 100)
    with running_sshd(tmp_path / "bare") as bare, _login(bare) as connection, pytest.raises(SiteError) as caught:
        send_blobs(connection, [blob], attempt=1, place=place, reserve=NO_RESERVE)
    assert caught.value.code == "E-STAGE-SFTP"


def test_bytes_that_the_node_cannot_store_are_a_fault_that_may_pass(sshd: ThrowawaySshd, tmp_path: Path) -> None:
    with _login(sshd) as connection:
        with SftpWriter(connection, stall_s=5) as writer, pytest.raises(NotStoredError) as gone:
            writer.open(str(tmp_path / "gone.part"))
        with SftpWriter(connection, stall_s=5) as writer:
            handle = writer.open("/dev/full")
            writer.write(handle, 0, b"x" * 1000)
            with pytest.raises(NotStoredError) as full:
                writer.flush()
    for caught in (gone, full):
        assert (caught.value.code, caught.value.retry) == ("E-ARTIFACT-SEND", Retry.BUDGETED)
    assert "No such file" in gone.value.message


def test_the_kernel_holds_back_little_that_was_not_sent(sshd: ThrowawaySshd, place: StorePlace, tmp_path: Path) -> None:
    with _login(sshd) as connection:
        send_blobs(connection, [_blob(tmp_path / "here", "x", 10)], attempt=1, place=place, reserve=NO_RESERVE)
        below = connection.transport.sock
        assert below.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 128 * 1024
