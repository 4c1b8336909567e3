"""Verification of what somebody with a key wrote against the rules."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from ledgers import clock, payload, said, tampering

from noctuary.ledger import merkle
from noctuary.ledger.envelope import signed
from noctuary.ledger.keys import KEYS, LabKey, VerifierKey
from noctuary.ledger.log import Ledger
from noctuary.ledger.notes import Checkpoint, signed_note
from noctuary.ledger.statements import Statement
from noctuary.ledger.verify import Verification, verify_ledger


class Forger:
    """Writes entries as the ledger does, and does not care what they say."""

    def __init__(self, folder: Path) -> None:
        with Ledger.open(folder, now=clock) as ledger:
            self.path, self.origin = ledger.path, ledger.origin
        (file,) = (folder / KEYS).iterdir()
        self.key = LabKey.load(file)
        self.first = VerifierKey.parse(self.key.vkey)

    def add(self, content: bytes, *signers: LabKey, head: LabKey | None = None) -> None:
        """Add an entry signed by these, or by the key in force, with its nodes and a head."""
        envelope = signed(content, signers or [self.key])
        leaf = merkle.leaf_hash(envelope.text.encode())
        with tampering(self.path) as rows:
            size = rows.execute("SELECT count(*) FROM entries").fetchone()[0]
            digest = hashlib.sha256(content).hexdigest()
            rows.execute("DROP TABLE IF EXISTS loose")
            rows.execute("CREATE TABLE loose AS SELECT * FROM entries")
            rows.execute("INSERT INTO loose VALUES (?, ?, ?)", (size, digest, envelope.text))
            rows.execute("DROP TABLE entries")
            rows.execute("CREATE TABLE entries (idx INTEGER PRIMARY KEY, sha256, envelope)")
            rows.execute("INSERT INTO entries SELECT * FROM loose")
            rows.execute("DROP TABLE loose")

            def node(level: int, index: int) -> bytes:
                sql = "SELECT hash FROM nodes WHERE level = ? AND idx = ?"
                return bytes(rows.execute(sql, (level, index)).fetchone()[0])

            rows.executemany("INSERT INTO nodes VALUES (?, ?, ?)", merkle.grown(size, [leaf], node))
            checkpoint = Checkpoint(self.origin, size + 1, merkle.root(size + 1, node))
            note = signed_note(checkpoint, head or self.key)
            rows.execute("INSERT INTO heads VALUES (?, ?)", (size + 1, note))

    def rotate(
        self, *signers: LabKey, to: LabKey | None = None, head: LabKey | None = None
    ) -> None:
        new = to or LabKey.make()
        key = VerifierKey(self.origin, VerifierKey.parse(new.vkey).public)
        facts = {"time": json.loads(payload(1))["predicate"]["time"], "key": key.text}
        content = Statement(kind="key", subjects={"key": key.keyid}, facts=facts).payload
        self.add(content, *(signers or (self.key, new)), head=head or new)
        self.key = new

    def verified(self) -> Verification:
        return verify_ledger(self.path, self.first.text)


@pytest.fixture
def forger(tmp_path: Path) -> Forger:
    made = Forger(tmp_path / "ledger")
    made.add(payload(1))
    return made


def test_what_a_forger_writes_by_the_rules_passes(forger: Forger) -> None:
    forger.rotate()
    forger.add(payload(2))
    assert said(forger.verified()) == []


@pytest.mark.parametrize(
    ("forge", "what"),
    [
        (lambda f: f.add(payload(0)), "its time, 2026-11-25T01:00:00.000000Z, is before that of"),
        (lambda f: f.add(payload(2), LabKey.make()), "expected the key in force"),
        (lambda f: f.add(payload(2), f.key, f.key), "expected the key in force"),
        (lambda f: f.add(b'{"a":1}'), "it is no statement"),
        (lambda f: f.add(payload(2) + b" "), "canonical JSON"),
        (lambda f: f.add(payload(2, kind="ledger")), "expected 'ledger' in entry 0"),
        (lambda f: f.add(payload(2, kind="key")), "no public key"),
        (lambda f: f.rotate(f.key), "expected the key in force"),
        (lambda f: f.rotate(LabKey.make(), f.key), "expected the key in force"),
    ],
)
def test_what_is_against_the_rules_is_named(
    forger: Forger, forge: Callable[[Forger], None], what: str
) -> None:
    forge(forger)
    result = forger.verified()
    assert result.problems[0].index == 2
    assert what in said(result)[0]


def test_a_head_by_the_old_key_after_a_rotation_is_named(forger: Forger) -> None:
    forger.rotate(head=forger.key)
    assert said(forger.verified())[0].startswith(
        "the head of 3 entries: it is not signed by the key in force"
    )


def test_an_entry_by_a_replaced_key_is_named(forger: Forger) -> None:
    old = forger.key
    forger.rotate()
    forger.add(payload(2), old)
    assert "entry 3: it is signed by" in said(forger.verified())[0]


def test_a_signature_of_another_payload_is_named(forger: Forger) -> None:
    with tampering(forger.path) as rows:
        sql = "SELECT envelope FROM entries WHERE idx = ?"
        zero, one = (json.loads(rows.execute(sql, (index,)).fetchone()[0]) for index in (0, 1))
        one["signatures"] = zero["signatures"]
        text = json.dumps(one, sort_keys=True, separators=(",", ":"))
        rows.execute("UPDATE entries SET envelope = ? WHERE idx = 1", (text,))
    assert said(forger.verified())[0] == "entry 1: its signature is not over this payload"


def test_a_signed_root_of_other_entries_points_to_them(forger: Forger) -> None:
    """The holder of the key replaces an entry, and the tree; the heads were seen by somebody."""
    for number in range(2, 8):
        forger.add(payload(number))
    with tampering(forger.path) as rows:
        envelope = signed(payload(5, another="result"), [forger.key])
        digest = hashlib.sha256(envelope.payload).hexdigest()
        rows.execute(
            "UPDATE entries SET sha256 = ?, envelope = ? WHERE idx = 5", (digest, envelope.text)
        )
        rows.execute("DELETE FROM nodes")
        sql = "SELECT envelope FROM entries ORDER BY idx"
        leaves = [merkle.leaf_hash(text.encode()) for (text,) in rows.execute(sql)]
        nodes = {(level, index): h for level, index, h in merkle.grown(0, leaves, bytes)}
        rows.executemany(
            "INSERT INTO nodes VALUES (?, ?, ?)", [(*at, h) for at, h in nodes.items()]
        )
    assert said(forger.verified()) == [
        "entry 5: it is not what was signed: the head of 6 entries has another root, and so have "
        "2 later ones"
    ]


def test_an_old_statement_signed_again_by_a_newer_key_is_a_repetition(tmp_path: Path) -> None:
    """Who holds the key, and has the database take what the program would not."""
    forger = Forger(tmp_path / "ledger")
    forger.add(payload(1))
    forger.rotate()
    forger.add(payload(2, seconds=1))
    assert said(forger.verified()) == []
    forger.add(payload(1))
    assert said(forger.verified())[0] == "entry 4: it repeats an earlier entry"
