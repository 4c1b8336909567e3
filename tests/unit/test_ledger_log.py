"""The log: durable, whole after a kill, one writer at a time, and readable by anybody meanwhile."""

import hashlib
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disks import SmallDisk
from ledgers import clock, make_ledger, payload, payloads

from noctuary.errors import (
    EnvironmentRefused,
    LabInUse,
    LedgerBroken,
    NoSpace,
    NotFound,
    UsageError,
)
from noctuary.ledger import database
from noctuary.ledger.log import Ledger
from noctuary.ledger.merkle import leaf_hash, verify_consistency, verify_inclusion
from noctuary.ledger.notes import read_note
from noctuary.ledger.verify import verify_ledger


def start(work: Callable[..., None], *arguments: Any) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    return process


# Appending


def test_what_is_appended_is_there_in_order(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger", now=clock) as ledger:
        assert ledger.size == 1
        assert ledger.statement(0)["predicateType"] == "urn:noctuary:ledger:1"
        assert ledger.append(payloads(1, 4)) == (1, 2, 3)
        assert ledger.append([payload(4)]) == (4,)
    with Ledger.read(tmp_path / "ledger") as ledger:
        assert ledger.size == 5
        assert ledger.statement(3)["predicate"]["number"] == 3
        assert ledger.last_time == ledger.statement(4)["predicate"]["time"]
        assert ledger.find(hashlib.sha256(payload(2)).hexdigest()) == 2
        assert ledger.find("0" * 64) is None


def test_nothing_is_appended_twice(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger", now=clock) as ledger:
        ledger.append(payloads(1, 4))
        head = ledger.head()
        assert ledger.append(payloads(2, 4)) == (2, 3)
        assert ledger.append([]) == ()
        assert ledger.head() == head
        assert ledger.append([payload(3), payload(4), payload(4)]) == (3, 4, 4)
        assert ledger.size == 5


def test_what_would_not_verify_is_refused_whole(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger", now=clock) as ledger:
        ledger.append(payloads(5, 8))
        for bad in (b"{}", payload(9, kind="ledger"), payload(9, kind="key")):
            with pytest.raises(ValueError, match="statement"):
                ledger.append([payload(8), bad])
        with pytest.raises(LedgerBroken, match=r"01:00:06\S* after one of \S*01:00:08"):
            ledger.append([payload(8), payload(9, seconds=6)])
        assert ledger.size == 4
        assert ledger.append([payload(8), payload(9, seconds=8)]) == (4, 5)


def test_every_entry_proves_itself_under_every_later_head(tmp_path: Path) -> None:
    with Ledger.read(make_ledger(tmp_path / "ledger", batches=5, each=3)) as ledger:
        for index in range(ledger.size):
            leaf = leaf_hash(ledger.envelope(index).encode())
            for size in range(index + 1, ledger.size + 1):
                proof = ledger.inclusion_proof(index, size)
                assert verify_inclusion(index, size, leaf, proof, ledger.root(size))
        for old in range(ledger.size + 1):
            proof = ledger.consistency_proof(old)
            assert verify_consistency(old, ledger.size, ledger.root(old), ledger.root(), proof)


def test_the_first_head_with_an_entry_is_that_of_its_commit(tmp_path: Path) -> None:
    with Ledger.read(make_ledger(tmp_path / "ledger", batches=3, each=4)) as ledger:
        sizes = [read_note(ledger.head_containing(i)).checkpoint.size for i in range(ledger.size)]
        assert sizes == [1, *[5] * 4, *[9] * 4, *[13] * 4]
        for size in (1, 5, 9, 13):
            head = read_note(ledger.head_containing(size - 1)).checkpoint
            assert (head.origin, head.root) == (ledger.origin, ledger.root(size))


@pytest.mark.parametrize(
    "ask",
    [
        lambda ledger: ledger.envelope(13),
        lambda ledger: ledger.statement(-1),
        lambda ledger: ledger.head_containing(13),
        lambda ledger: ledger.root(14),
        lambda ledger: ledger.inclusion_proof(13),
        lambda ledger: ledger.inclusion_proof(5, 5),
        lambda ledger: ledger.consistency_proof(14),
    ],
)
def test_what_is_beyond_the_end_is_not_found(tmp_path: Path, ask: Any) -> None:
    with (
        Ledger.read(make_ledger(tmp_path / "ledger")) as ledger,
        pytest.raises(NotFound, match="expected"),
    ):
        ask(ledger)


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    with (
        Ledger.read(make_ledger(tmp_path / "ledger")) as ledger,
        pytest.raises((UsageError, EnvironmentRefused), match="expected"),
    ):
        ledger.append([payload(99)])


# Other keys


def test_after_a_rotation_the_new_key_signs(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    with Ledger.open(folder, now=clock) as ledger:
        ledger.append(payloads(1, 3))
        ledger.rotate()
        ledger.append([payload(3)])
        ledger.rotate()
    with Ledger.open(folder) as ledger:
        assert ledger.append([payload(4)]) == (6,)
        times = [ledger.statement(index)["predicate"]["time"] for index in range(7)]
        assert times == sorted(times)
        assert ledger.statement(3)["predicateType"] == "urn:noctuary:key:1"
    assert len(list((folder / "keys").iterdir())) == 3
    result = verify_ledger(folder, (folder / "key.pub").read_text())
    assert (result.problems, result.remarks) == ((), ())


def test_a_writer_whose_key_was_replaced_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    with Ledger.open(folder, now=clock) as before:
        with Ledger.open(folder) as other:
            other.rotate()
        with pytest.raises(UsageError, match="expected the signer that the ledger goes by"):
            before.append([payload(1)])
    assert verify_ledger(folder, None).ok


# Opening


def test_no_ledger_and_no_database_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no ledger at"):
        Ledger.read(tmp_path)
    (tmp_path / database.NAME).write_bytes(b"something else" * 100)
    with pytest.raises(LedgerBroken, match="file is not a database"):
        Ledger.read(tmp_path)
    (tmp_path / database.NAME).unlink()
    sqlite3.connect(tmp_path / database.NAME).execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(LedgerBroken, match="no such table"):
        Ledger.read(tmp_path)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM heads WHERE size = 13",
        "DELETE FROM entries WHERE idx = 12",
        "DELETE FROM nodes WHERE level = 3",
        "UPDATE nodes SET hash = zeroblob(32) WHERE level = 2 AND idx = 2",
        "UPDATE heads SET note = replace(note, '1', '2')",
        "DELETE FROM heads",
    ],
)
def test_nothing_is_appended_to_a_ledger_that_its_head_does_not_fit(
    tmp_path: Path, sql: str
) -> None:
    path = make_ledger(tmp_path / "ledger")
    with sqlite3.connect(path) as connection:
        connection.execute(sql)
    connection.close()
    with pytest.raises((LedgerBroken, UsageError), match=r"expected|restore"):
        Ledger.open(tmp_path / "ledger")


# Processes side by side


def append_some(folder: Path, first: int, end: int) -> None:
    with Ledger.open(folder) as ledger:
        for number in range(first, end):
            ledger.append([payload(number, seconds=0)])


def test_two_writers_wait_for_each_other_while_others_read(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    with Ledger.open(folder, now=clock):
        pass
    writers = [start(append_some, folder, first, first + 40) for first in (100, 200)]
    with Ledger.read(folder) as ledger:
        size, root = ledger.size, ledger.root()
        while any(writer.is_alive() for writer in writers):
            later = ledger.size
            proof = ledger.consistency_proof(size, later)
            assert verify_consistency(size, later, root, ledger.root(later), proof)
            assert verify_ledger(folder, None, workers=1).problems == ()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    result = verify_ledger(folder, None)
    assert (result.ok, result.size) == (True, 81)


def test_a_writer_that_waits_too_long_says_so(tmp_path: Path) -> None:
    path = make_ledger(tmp_path / "ledger")
    first = database.connect(path, read_only=False)
    second = database.connect(path, read_only=False, patience=0.05)
    with (
        database.writing(first, path),
        pytest.raises(LabInUse, match="another process writes"),
        database.writing(second, path),
    ):
        raise AssertionError("two wrote at once")
    for connection in (first, second):
        database.close(connection)


def append_for_ever(folder: Path) -> None:
    with Ledger.open(folder) as ledger:
        while True:
            size = ledger.size
            ledger.append(payloads(size, size + random.randint(1, 8)))


def test_a_killed_writer_leaves_a_whole_ledger(tmp_path: Path) -> None:
    folder, pause = tmp_path / "ledger", random.Random(6)
    with Ledger.open(folder, now=clock):
        pass
    kept: list[str] = []
    for _ in range(15):
        with Ledger.read(folder) as ledger:
            before = ledger.size
            writer = start(append_for_ever, folder)
            while ledger.size == before and writer.is_alive():
                time.sleep(0.001)
        time.sleep(pause.uniform(0, 0.03))
        assert writer.pid
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        assert writer.exitcode == -signal.SIGKILL, "the writer ended by itself"
        result = verify_ledger(folder, None, kept)
        assert result.problems == ()
        kept = [result.head]
    with Ledger.open(folder) as ledger:
        numbers = [ledger.statement(i)["predicate"]["number"] for i in range(1, ledger.size)]
        assert numbers == list(range(1, ledger.size)), "a batch was torn"


def make_for_ever(folder: Path) -> None:
    number = 0
    while True:
        Ledger.open(folder / f"ledger-{number}", now=clock).close()
        number += 1


def test_a_kill_while_it_is_made_leaves_none_or_a_whole_one(tmp_path: Path) -> None:
    pause = random.Random(7)
    for turn in range(8):
        folder = tmp_path / str(turn)
        folder.mkdir()
        maker = start(make_for_ever, folder)
        while not (folder / "ledger-0").exists() and maker.is_alive():
            time.sleep(0.001)
        time.sleep(pause.uniform(0, 0.05))
        assert maker.pid
        os.kill(maker.pid, signal.SIGKILL)
        maker.join()
        assert maker.exitcode == -signal.SIGKILL, "it ended by itself"
        for ledger in folder.glob("ledger-*"):
            assert verify_ledger(ledger, (ledger / "key.pub").read_text()).ok
            Ledger.open(ledger).close()
        Ledger.open(folder / "after", now=clock).close()


# The disk


def test_a_full_disk_loses_nothing(small_disk: SmallDisk) -> None:
    folder = small_disk.root / "ledger"
    with Ledger.open(folder, now=clock) as ledger:
        ledger.append(payloads(1, 10))
        head = ledger.head()
        small_disk.fill()
        with pytest.raises(NoSpace, match="nothing of the ledger is lost"):
            for first in range(10, 10_000, 100):  # the write-ahead log may have room for some
                ledger.append(payloads(first, first + 100))
                head = ledger.head()
        assert ledger.head() == head
        assert verify_ledger(folder, None).ok
        small_disk.empty()
        size = ledger.size
        assert ledger.append([payload(20_000)]) == (size,)
    assert verify_ledger(folder, None, [head]).problems == ()


def test_a_full_disk_while_it_is_made_leaves_nothing(small_disk: SmallDisk) -> None:
    small_disk.fill()
    with pytest.raises(NoSpace):
        Ledger.open(small_disk.root / "ledger", now=clock)
    small_disk.empty()
    assert list(small_disk.root.iterdir()) == []


def test_a_ledger_on_a_disk_that_cannot_be_written_is_read(small_disk: SmallDisk) -> None:
    folder = small_disk.root / "ledger"
    make_ledger(folder)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk.root)], check=True)
    with Ledger.read(folder) as ledger:
        assert ledger.size == 13
    assert verify_ledger(folder, None).ok
    with pytest.raises(EnvironmentRefused, match="may be written"):
        Ledger.open(folder)
    with pytest.raises(EnvironmentRefused, match="may be written"):
        Ledger.open(small_disk.root / "another", now=clock)
