"""Verification: what is whole passes, and what was changed is named with its first entry."""

import base64
import hashlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import clock, copy_of, make_ledger, payload, payloads, said, tampering

from noctuary.errors import NotFound, UsageError
from noctuary.ledger.envelope import read_envelope
from noctuary.ledger.keys import LabKey
from noctuary.ledger.log import Ledger
from noctuary.ledger.verify import MOST, verify_ledger


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of 27 entries: 13, the rotation as entry 13, and 13 more; a head every 3 or so."""
    path = make_ledger(tmp_path_factory.mktemp("whole") / "ledger")
    with Ledger.open(path.parent) as ledger:
        ledger.rotate()
        for first in range(13, 25, 4):
            ledger.append(payloads(first, first + 4))
        ledger.append([payload(25)])
    return path


@pytest.fixture
def file(whole: Path, tmp_path: Path) -> Path:
    copied = tmp_path / "ledger.sqlite"
    copied.write_bytes(whole.read_bytes())
    return copied


@pytest.fixture(scope="module")
def key(whole: Path) -> str:
    return (whole.parent / "key.pub").read_text()


# What is whole


def test_a_whole_ledger_passes_with_its_first_key_and_its_newest(whole: Path, key: str) -> None:
    result = verify_ledger(whole, key)
    assert (said(result), result.remarks, result.size) == ([], (), 27)
    with Ledger.read(whole) as ledger:
        assert result.head == ledger.head()
        newest = str(ledger.statement(13)["predicate"]["key"])
    assert said(verify_ledger(whole.parent, newest)) == []


def test_that_no_key_was_given_is_remarked(file: Path) -> None:
    result = verify_ledger(file, None)
    assert result.ok
    assert "no key was given" in result.remarks[0]


def test_processes_find_what_one_finds(tmp_path: Path) -> None:
    """Ranges that were begun under a key that had been replaced meanwhile are checked anew."""
    folder = tmp_path / "ledger"
    with Ledger.open(folder, now=clock) as ledger:
        ledger.append(payloads(1, 1_300))
        ledger.rotate()
        ledger.append(payloads(1_300, 3_200))
    public = (folder / "key.pub").read_text()
    assert said(verify_ledger(folder, public, workers=2)) == []
    with tampering(folder / "ledger.sqlite") as rows:
        for index in (999, 1_000, 2_900):
            rows.execute("UPDATE entries SET sha256 = idx WHERE idx = ?", (index,))
    alone = verify_ledger(folder, public, workers=1)
    assert [problem.index for problem in alone.problems] == [999, 1_000, 2_900]
    assert verify_ledger(folder, public, workers=2) == alone


def test_a_clock_that_was_behind_is_remarked(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger", now=clock) as ledger:
        ledger.append([payload(1), payload(2, seconds=1, clock_behind_seconds="3600")])
    result = verify_ledger(tmp_path / "ledger", None)
    assert result.ok
    assert "entry 2: the clock was 3600 s behind the entry before" in result.remarks


# What was changed in the file


@pytest.mark.parametrize(
    ("sql", "index", "what"),
    [
        ("DELETE FROM entries", 0, "it is missing"),
        ("DELETE FROM entries WHERE idx = 0", 0, "it is missing"),
        ("DELETE FROM entries WHERE idx = 7", 7, "it is missing"),
        ("DELETE FROM entries WHERE idx >= 20", 20, "a head of 22 entries was signed"),
        ("UPDATE entries SET idx = -1 WHERE idx = 9", 0, "an entry -1 stands before it"),
        ("UPDATE entries SET sha256 = upper(sha256) WHERE idx = 5", 5, "the hash beside it"),
        ("UPDATE entries SET envelope = 17 WHERE idx = 5", 5, "no DSSE envelope"),
        ("UPDATE entries SET envelope = x'ff00' WHERE idx = 5", 5, "utf-8"),
        ("UPDATE entries SET envelope = envelope || ' ' WHERE idx = 5", 5, "canonical JSON"),
        (
            "UPDATE entries SET envelope = replace(envelope, 'vnd.in-toto', 'text') WHERE idx = 5",
            5,
            "payload type is 'application/text+json'",
        ),
        ("UPDATE nodes SET hash = zeroblob(32) WHERE level = 0 AND idx = 5", 5, "remembers"),
        ("UPDATE nodes SET hash = zeroblob(32) WHERE level = 2 AND idx = 1", 7, "of level 2"),
        ("DELETE FROM nodes WHERE level = 1 AND idx = 1", 3, "remembers no hash"),
        ("INSERT INTO nodes VALUES (9, 0, zeroblob(32))", None, "of level 9 too many"),
        ("UPDATE nodes SET level = 'x' WHERE level = 1 AND idx = 1", 3, "remembers no hash"),
        ("DELETE FROM heads", 0, "no signed head covers it"),
        ("DELETE FROM heads WHERE size = 27", 26, "no signed head covers it"),
        ("UPDATE heads SET size = 8 WHERE size = 7", None, "the head of 8 entries: it is one of 7"),
        ("UPDATE heads SET note = 5 WHERE size = 7", None, "no checkpoint"),
        ("UPDATE heads SET note = note || note WHERE size = 7", None, "the head of 7 entries"),
        ("UPDATE heads SET note = replace(note, '/', '/0') WHERE size = 7", None, "the head of 7"),
        ("INSERT INTO heads VALUES (-3, '')", None, "a head of -3 entries"),
        ("UPDATE meta SET value = '2'", None, "format '2'"),
        ("DROP TABLE heads", None, "no such table: heads"),
        ("DROP TABLE entries", None, "no such table: entries"),
    ],
)
def test_a_change_is_named(file: Path, key: str, sql: str, index: int | None, what: str) -> None:
    with tampering(file) as rows:
        rows.execute(sql)
    result = verify_ledger(file, key)
    assert said(result)
    assert result.problems[0].index == index
    assert what in said(result)[0]


def swap(rows: sqlite3.Connection) -> None:
    rows.execute("UPDATE entries SET idx = -5 WHERE idx = 5")
    rows.execute("UPDATE entries SET idx = 5 WHERE idx = 6")
    rows.execute("UPDATE entries SET idx = 6 WHERE idx = -5")


def renumber(rows: sqlite3.Connection) -> None:
    rows.execute("DELETE FROM entries WHERE idx = 5")
    for index in range(6, 27):
        rows.execute("UPDATE entries SET idx = ? WHERE idx = ?", (index - 1, index))


def repeat(rows: sqlite3.Connection) -> None:
    envelope = rows.execute("SELECT envelope FROM entries WHERE idx = 5").fetchone()[0]
    rows.execute("INSERT INTO entries VALUES (27, 'again', ?)", (envelope,))


@pytest.mark.parametrize(
    ("change", "index", "what"),
    [
        (swap, 5, "the tree remembers"),
        (renumber, 5, "the tree remembers"),
        (repeat, 27, "it repeats an earlier entry"),
    ],
)
def test_an_entry_in_another_place_is_named(
    file: Path, key: str, change: Callable[[sqlite3.Connection], None], index: int, what: str
) -> None:
    with tampering(file) as rows:
        change(rows)
    result = verify_ledger(file, key)
    assert result.problems[0].index == index
    assert any(line.startswith(f"entry {index}: {what}") for line in said(result))


def test_a_view_that_tells_everybody_another_thing_is_named(file: Path, key: str) -> None:
    with tampering(file) as rows:
        rows.execute("ALTER TABLE heads RENAME TO hidden")
        rows.execute("CREATE VIEW heads AS SELECT * FROM hidden WHERE size < 99 + random() % 2")
    assert "heads is a view" in said(verify_ledger(file, key))[0]


@given(st.data())
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_bit_of_what_was_signed_can_be_turned(
    whole: Path, key: str, tmp_path: Path, data: st.DataObject
) -> None:
    file = tmp_path / "flipped.sqlite"
    file.write_bytes(whole.read_bytes())
    table, column = data.draw(
        st.sampled_from([("entries", "envelope"), ("heads", "note"), ("nodes", "hash")])
    )
    with tampering(file) as rows:
        rows.text_factory = bytes
        found = (
            rows.execute(f"SELECT rowid, {column} FROM {table}")
            if table != "nodes"
            else (rows.execute("SELECT level * 100 + idx, hash FROM nodes"))
        )
        row, content = data.draw(st.sampled_from(found.fetchall()))
        place = data.draw(st.integers(0, len(content) - 1))
        changed = bytearray(content)
        changed[place] ^= 1 << data.draw(st.integers(0, 7))
        where = "rowid = ?" if table != "nodes" else "level * 100 + idx = ?"
        kind = "BLOB" if table == "nodes" else "TEXT"
        rows.execute(
            f"UPDATE {table} SET {column} = CAST(? AS {kind}) WHERE {where}", (bytes(changed), row)
        )
    result = verify_ledger(file, key)
    assert not result.ok
    if table == "entries":
        assert result.problems[0].index == row


@given(st.data())
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_file_is_a_problem_and_no_accident(
    whole: Path, key: str, tmp_path: Path, data: st.DataObject
) -> None:
    """Bytes anywhere in the file; where only free space is hit, the ledger is still whole."""
    content = bytearray(whole.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    noise = data.draw(st.binary(min_size=1, max_size=600))
    content[place : place + len(noise)] = noise
    file = tmp_path / "damaged.sqlite"
    file.write_bytes(content[: data.draw(st.sampled_from([None, len(content) // 2]))])
    result = verify_ledger(file, key)
    with Ledger.read(whole) as ledger:
        assert not result.ok or result.head == ledger.head()


def test_many_problems_are_counted_and_not_all_listed(tmp_path: Path) -> None:
    path = make_ledger(tmp_path / "ledger", batches=1, each=150)
    with tampering(path) as rows:
        rows.execute("UPDATE entries SET sha256 = idx")
    result = verify_ledger(path, None)
    assert len(result.problems) == MOST
    assert "51 further problems are not listed" in result.remarks


# Keys and heads that were kept


def test_another_key_and_no_key_are_told_apart(file: Path) -> None:
    result = verify_ledger(file, LabKey.make().vkey)
    assert "the ledger is signed by" in said(result)[0]
    assert result.problems[0].index == 0
    with pytest.raises(UsageError, match="no public key"):
        verify_ledger(file, "my key")


def test_a_key_file_of_another_ledger_is_named(whole: Path, tmp_path: Path) -> None:
    copied = copy_of(whole, f"{tmp_path.name}-other")
    (copied.parent / "key.pub").write_text(LabKey.make().vkey)
    assert "key.pub holds" in said(verify_ledger(copied, None))[0]


def test_a_missing_ledger_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no ledger at"):
        verify_ledger(tmp_path / "nowhere", None)


def test_every_head_that_was_kept_is_extended(whole: Path, key: str) -> None:
    with Ledger.read(whole) as ledger:
        heads = [ledger.head_containing(index) for index in range(ledger.size)]
    assert said(verify_ledger(whole, key, heads)) == []


def test_a_rolled_back_ledger_is_named(whole: Path, key: str, tmp_path: Path) -> None:
    kept = verify_ledger(whole, key).head
    with tampering(old := copy_of(whole, f"{tmp_path.name}-old")) as rows:
        rows.execute("DELETE FROM entries WHERE idx >= 22")
        rows.execute("DELETE FROM nodes WHERE (idx + 1) << level > 22")
        rows.execute("DELETE FROM heads WHERE size > 22")
    assert said(verify_ledger(old, key)) == []
    assert said(verify_ledger(old, key, [kept])) == [
        "entry 22: it is missing: the trusted head of 27 entries was signed, so the ledger was "
        "rolled back"
    ]


def test_a_fork_is_named(tmp_path: Path) -> None:
    path = make_ledger(tmp_path / "ledger")
    fork = copy_of(path, "fork")
    for folder, first in ((path.parent, 50), (fork.parent, 60)):
        with Ledger.open(folder) as ledger:
            ledger.append(payloads(first, first + 2))
    kept = verify_ledger(path, None).head
    assert verify_ledger(fork, None).ok
    assert said(verify_ledger(fork, None, [kept])) == [
        "the trusted head of 15 entries has another root: the ledger was forked before entry 15"
    ]


def test_a_fork_with_a_rotation_of_its_own_is_named(tmp_path: Path) -> None:
    path = make_ledger(tmp_path / "ledger")
    fork = copy_of(path, "fork")
    for folder in (path.parent, fork.parent):
        with Ledger.open(folder) as ledger:
            ledger.rotate()
    kept = verify_ledger(path, None).head
    assert "not signed by the key in force" in said(verify_ledger(fork, None, [kept]))[0]


def test_heads_of_other_ledgers_and_no_heads_are_named(whole: Path, tmp_path: Path) -> None:
    other = verify_ledger(make_ledger(tmp_path / "ledger"), None).head
    result = verify_ledger(whole, None, [other, "a head", ""])
    assert [line.partition(":")[0].partition(", ")[0] for line in said(result)] == [
        "the trusted head of 13 entries is of another ledger",
        "a trusted head cannot be read",
        "a trusted head cannot be read",
    ]


def test_the_envelope_of_an_entry_is_what_the_tree_holds(whole: Path) -> None:
    """By hand, as an outsider would: base64, SHA-256, nothing of the log."""
    with Ledger.read(whole) as ledger:
        text = ledger.envelope(5)
        assert base64.b64decode(json.loads(text)["payload"]) == payload(5)
        assert read_envelope(text).payload == payload(5)
        nodes = sqlite3.connect(whole)
        stored = nodes.execute("SELECT hash FROM nodes WHERE level = 0 AND idx = 5").fetchone()[0]
        nodes.close()
        assert stored == hashlib.sha256(b"\0" + text.encode()).digest()
