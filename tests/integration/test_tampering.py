"""Whoever changes the file of a ledger is found, and the entry that was changed is named.

Each attack is tried on the lab's verification and on the one that stands alone, which have to name
the same entry. The attackers here have no key; `test_forging` has those who do.
"""

import base64
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tampered import (
    DECIDED,
    DRAWN,
    ROTATED,
    SIZE,
    Account,
    alone,
    append,
    first_entry,
    flip,
    lines,
    stated,
)

from noctuary.lab import Lab
from noctuary.ledger import verify_alone
from noctuary.ledger.envelope import signed
from noctuary.ledger.keys import LabKey, VerifierKey
from noctuary.ledger.log import Ledger
from noctuary.ledger.notes import Checkpoint, signed_note
from noctuary.ledger.statements import read_statement
from noctuary.verifying import verify_file, verify_lab

# Nobody did anything


def test_an_untouched_lab_raises_no_alarm(original: Lab, account: Account) -> None:
    found = verify_lab(original, account.key, [account.head])
    assert (found.ok, found.size, found.problems) == (True, SIZE, ())
    assert verify_file(account.folder, account.key, [account.head]).ok
    assert alone(account, [account.head]) == []
    kinds = [read_statement(payload).kind for payload in account.payloads()]
    assert kinds[ROTATED:DRAWN] == ["key", "registration"]
    assert kinds[DECIDED] == "verdict"


# Without the key: attacks on the ledger's file


def payload_letter(account: Account) -> None:
    envelope = account.envelope(5)
    account.put(5, {**envelope, "payload": flip(envelope["payload"], 200)})


def payload_rewritten(account: Account) -> None:
    envelope = account.envelope(5)
    payload = base64.b64decode(envelope["payload"]).replace(b'"audit"', b'"aduit"')
    account.put(5, {**envelope, "payload": base64.b64encode(payload).decode()})
    digest = verify_alone.sha256(payload).hex()
    account.change("entries", "idx = 5", "sha256", digest)


def signature_letter(account: Account) -> None:
    envelope = account.envelope(5)
    envelope["signatures"][0]["sig"] = flip(envelope["signatures"][0]["sig"], 7)
    account.put(5, envelope)


def signature_removed(account: Account) -> None:
    account.put(5, {**account.envelope(5), "signatures": []})


def signature_added(account: Account) -> None:
    envelope = account.envelope(5)
    account.put(5, {**envelope, "signatures": envelope["signatures"] * 2})


def key_named_another(account: Account) -> None:
    envelope = account.envelope(5)
    envelope["signatures"][0]["keyid"] = "0" * 64
    account.put(5, envelope)


def another_type(account: Account) -> None:
    account.put(5, {**account.envelope(5), "payloadType": "text/plain"})


def a_field_more(account: Account) -> None:
    account.put(5, {**account.envelope(5), "note": "mine"})


def a_space_more(account: Account) -> None:
    account.run("UPDATE entries SET envelope = envelope || ' ' WHERE idx = 5")


def envelope_emptied(account: Account) -> None:
    account.run("UPDATE entries SET envelope = '' WHERE idx = 5")


def envelope_no_text(account: Account) -> None:
    account.change("entries", "idx = 5", "envelope", b"\xff\xfe{}")


def hash_beside_changed(account: Account) -> None:
    account.change("entries", "idx = 5", "sha256", "0" * 64)


def signed_by_a_stranger(account: Account) -> None:
    envelope = signed(account.payloads()[5], [LabKey.make()])
    account.change("entries", "idx = 5", "envelope", envelope.text)


def removed(account: Account) -> None:
    account.run("DELETE FROM entries WHERE idx = 5")


def first_removed(account: Account) -> None:
    account.run("DELETE FROM entries WHERE idx = 0")


def last_removed(account: Account) -> None:
    account.run(f"DELETE FROM entries WHERE idx = {SIZE - 1}")


def removed_and_closed_up(account: Account) -> None:
    account.run(
        "DELETE FROM entries WHERE idx = 5",
        "UPDATE entries SET idx = -idx WHERE idx > 5",
        "UPDATE entries SET idx = -idx - 1 WHERE idx < 0",
    )


def swapped(account: Account) -> None:
    account.run(
        "UPDATE entries SET idx = -1 WHERE idx = 5",
        "UPDATE entries SET idx = 5 WHERE idx = 6",
        "UPDATE entries SET idx = 6 WHERE idx = -1",
    )


def repeated(account: Account) -> None:
    account.run(
        "CREATE TABLE free (idx INTEGER PRIMARY KEY, sha256 TEXT, envelope TEXT)",
        "INSERT INTO free SELECT * FROM entries",
        "DROP TABLE entries",
        "ALTER TABLE free RENAME TO entries",
        f"INSERT INTO entries SELECT {SIZE}, sha256, envelope FROM entries WHERE idx = {DECIDED}",
    )


def inserted(account: Account) -> None:
    account.run(
        "UPDATE entries SET idx = -idx WHERE idx >= 5",
        "UPDATE entries SET idx = -idx + 1 WHERE idx < 0",
    )
    payload = stated(account.payloads()[4], stage="a stage that never was")
    text, digest = signed(payload, [LabKey.make()]).text, verify_alone.sha256(payload).hex()
    account.run(f"INSERT INTO entries VALUES (5, '{digest}', '{text}')")


def one_before_the_first(account: Account) -> None:
    account.run("INSERT INTO entries SELECT -1, 'x', envelope FROM entries WHERE idx = 5")


def appended_by_a_stranger(account: Account) -> None:
    stranger, payload = LabKey.make(), stated(account.payloads()[4], stage="mine")
    append(account, [payload], stranger, VerifierKey.parse(account.key).name)


def appended_by_the_old_key(account: Account) -> None:
    last = read_statement(account.payloads()[-1]).facts["time"]
    payload = stated(account.payloads()[4], stage="mine", time=last)
    append(account, [payload], account.signers()[0], VerifierKey.parse(account.key).name)


def leaf_changed(account: Account) -> None:
    account.change("nodes", "level = 0 AND idx = 5", "hash", bytes(32))


def node_changed(account: Account) -> None:
    account.change("nodes", "level = 1 AND idx = 2", "hash", bytes(32))


def node_removed(account: Account) -> None:
    account.run("DELETE FROM nodes WHERE level = 0 AND idx = 5")


def node_added(account: Account) -> None:
    account.run("INSERT INTO nodes VALUES (9, 9, x'00')")


def head_signature(account: Account) -> None:
    [note] = account.texts("SELECT note FROM heads WHERE size = 10")
    account.change("heads", "size = 10", "note", flip(note, len(note) - 20))


def head_root(account: Account) -> None:
    [note] = account.texts("SELECT note FROM heads WHERE size = 10")
    account.change("heads", "size = 10", "note", flip(note, note.index("\n10\n") + 9))


def head_size(account: Account) -> None:
    account.run("UPDATE heads SET note = replace(note, char(10)||'10'||char(10), '\n11\n')")


def head_moved(account: Account) -> None:
    account.run("DELETE FROM heads WHERE size = 11", "UPDATE heads SET size = 11 WHERE size = 10")


def head_with_a_line_more(account: Account) -> None:
    account.run("UPDATE heads SET note = note || char(10) WHERE size = 10")


def head_of_another_log(account: Account) -> None:
    stranger = LabKey.make()
    origin = VerifierKey.parse(stranger.vkey).name
    note = signed_note(Checkpoint(origin, 10, bytes(32)), stranger)
    account.change("heads", "size = 10", "note", note)


def head_signed_by_a_stranger(account: Account) -> None:
    origin = VerifierKey.parse(account.key).name
    with Ledger.read(account.folder) as ledger:
        note = signed_note(Checkpoint(origin, 10, ledger.root(10)), LabKey.make())
    account.change("heads", "size = 10", "note", note)


def newest_head_removed(account: Account) -> None:
    account.run(f"DELETE FROM heads WHERE size = {SIZE}")


def heads_removed(account: Account) -> None:
    account.run("DELETE FROM heads")


def end_cut_off(account: Account) -> None:
    account.run(
        f"DELETE FROM entries WHERE idx = {SIZE - 1}",
        f"DELETE FROM nodes WHERE level = 0 AND idx = {SIZE - 1}",
        f"DELETE FROM nodes WHERE level > 0 AND (idx + 1) << level > {SIZE - 1}",
    )


def format_changed(account: Account) -> None:
    account.run("UPDATE meta SET value = '2'")


def table_dropped(account: Account) -> None:
    account.run("DROP TABLE nodes")


def file_cut_off(account: Account) -> None:
    content = account.file.read_bytes()
    account.file.write_bytes(content[: len(content) // 2])


def file_overwritten(account: Account) -> None:
    account.file.write_bytes(b"nothing to see here")


ON_THE_FILE: Sequence[tuple[Callable[[Account], None], int | None, str]] = (
    (payload_letter, 5, ""),
    (payload_rewritten, 5, "signature"),
    (signature_letter, 5, "signature"),
    (signature_removed, 5, "signed by"),
    (signature_added, 5, "signed by"),
    (key_named_another, 5, "signed by"),
    (another_type, 5, "type"),
    (a_field_more, 5, "canonical|tree"),
    (a_space_more, 5, "canonical"),
    (envelope_emptied, 5, "envelope|form"),
    (envelope_no_text, 5, "utf-8|form"),
    (hash_beside_changed, 5, "hash beside"),
    (signed_by_a_stranger, 5, "signed by"),
    (removed, 5, "missing"),
    (first_removed, 0, "missing"),
    (last_removed, SIZE - 1, "missing"),
    (removed_and_closed_up, 5, "tree"),
    (swapped, 5, "tree"),
    (repeated, SIZE, "repeats|before"),
    (inserted, 5, "signed by"),
    (one_before_the_first, 0, ""),
    (appended_by_a_stranger, SIZE, "signed by"),
    (appended_by_the_old_key, SIZE, "signed by"),
    (leaf_changed, 5, "tree"),
    (node_changed, 5, "tree"),
    (node_removed, 5, "tree"),
    (node_added, None, "node"),
    (head_signature, None, "head of .*10.*signed by"),
    (head_root, None, "head of .*10.*signed by"),
    (head_size, None, "head of .*10"),
    (head_moved, None, "head of .*11"),
    (head_with_a_line_more, None, "head of .*10"),
    (head_of_another_log, None, "head of .*10"),
    (head_signed_by_a_stranger, None, "head of .*10.*signed by"),
    (newest_head_removed, SIZE - 1, "head"),
    (heads_removed, 0, "head"),
    (end_cut_off, SIZE - 1, "missing"),
    (format_changed, None, "format"),
    (table_dropped, None, "nodes"),
    (file_cut_off, None, "damaged|malformed"),
    (file_overwritten, None, "not a database"),
)


@pytest.mark.parametrize(
    ("attack", "entry", "words"), ON_THE_FILE, ids=[one[0].__name__ for one in ON_THE_FILE]
)
def test_a_changed_file_is_found_and_named_by_both(
    account: Account, attack: Callable[[Account], None], entry: int | None, words: str
) -> None:
    attack(account)
    ours = lines(account)
    theirs = alone(account)
    assert ours
    assert theirs
    assert first_entry(ours) == first_entry(theirs) == entry
    for found in (ours, theirs):
        named = [line for line in found if entry is None or line.startswith(f"entry {entry}:")]
        assert any(re.search(words, line) for line in named), found


# With another key, or another ledger


def test_another_key_is_named(account: Account) -> None:
    other = LabKey.make().vkey
    for found in (lines(account, key=other), alone(account, key=other)):
        assert first_entry(found) == 0
        assert VerifierKey.parse(other).name in found[0]


def test_the_newest_key_is_as_good_as_the_first(account: Account) -> None:
    second = VerifierKey.parse(account.signers()[1].vkey)
    newest = VerifierKey(VerifierKey.parse(account.key).name, second.public).text
    assert lines(account, key=newest) == alone(account, key=newest) == []


def test_a_public_key_that_was_replaced_is_named(account: Account) -> None:
    other = LabKey.make().vkey
    (account.folder / "key.pub").write_text(other + "\n")
    assert "key.pub" in lines(account)[0]
    assert first_entry(alone(account, key=other)) == 0


def test_a_damaged_public_key_is_refused(account: Account) -> None:
    with pytest.raises(verify_alone.Wrong, match="damaged"):
        alone(account, key=flip(account.key, 40))


def test_an_older_copy_is_named_by_a_head_that_was_kept(account: Account) -> None:
    with Ledger.read(account.folder) as ledger:
        older = [ledger.head_containing(size - 1) for size in range(1, SIZE)]
    end_cut_off(account)
    account.run(f"DELETE FROM heads WHERE size = {SIZE}")
    for found in (lines(account, [account.head]), alone(account, [account.head])):
        assert first_entry(found) == SIZE - 1
        assert "rolled back" in "".join(found)
    assert lines(account, older) == alone(account, older) == []


def test_a_head_of_another_ledger_is_named(account: Account, tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "other") as other:
        kept = other.head()
    for found in (lines(account, [kept]), alone(account, [kept])):
        assert re.search("(trusted|kept) head .*another ledger", found[0])
