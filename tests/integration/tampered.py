"""A copy of a ledger, what attackers do to it, and what the two verifiers say of it then."""

import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from noctuary.canonical import canonical_json
from noctuary.lab import Lab
from noctuary.ledger import verify_alone
from noctuary.ledger.envelope import read_envelope, signed
from noctuary.ledger.keys import LabKey, Signer, VerifierKey
from noctuary.ledger.log import Ledger
from noctuary.ledger.merkle import grown, leaf_hash, root
from noctuary.ledger.notes import Checkpoint, signed_note
from noctuary.ledger.statements import read_statement
from noctuary.verifying import verify_file

ROTATED = 8
"""Index of the entry from which on the second key signs."""

REGISTERED, DRAWN, TRAINED, DECIDED = 9, 10, 11, 12
"""Indices of the entries of the first claim."""

SIZE = 20


class Account(NamedTuple):
    """A copy of a ledger that somebody tampers with."""

    folder: Path
    key: str
    head: str

    @property
    def file(self) -> Path:
        return self.folder / "ledger.sqlite"

    def run(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.file)) as rows, rows:
            for statement in statements:
                rows.execute(statement)

    def texts(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.file)) as rows:
            return [row[0] for row in rows.execute(query)]

    def change(self, table: str, where: str, column: str, value: object) -> None:
        with closing(sqlite3.connect(self.file)) as rows, rows:
            rows.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (value,))

    def envelope(self, index: int) -> dict[str, Any]:
        return dict(json.loads(self.texts(f"SELECT envelope FROM entries WHERE idx = {index}")[0]))

    def put(self, index: int, envelope: Mapping[str, Any]) -> None:
        self.change("entries", f"idx = {index}", "envelope", canonical_json(envelope).decode())

    def payloads(self) -> list[bytes]:
        found = self.texts("SELECT envelope FROM entries ORDER BY idx")
        return [read_envelope(text).payload for text in found]

    def signers(self) -> list[LabKey]:
        """Return the true keys, in the order in which they sign."""
        keyids = [self.envelope(index)["signatures"][-1]["keyid"] for index in (0, ROTATED)]
        return [LabKey.load(self.folder / "keys" / f"{keyid[:16]}.pem") for keyid in keyids]


def copied(lab: Lab, place: Path) -> Account:
    folder = place / "ledger"
    shutil.copytree(lab.ledger, folder)
    with Ledger.read(folder) as ledger:
        head = ledger.head()
    return Account(folder, (folder / "key.pub").read_text(), head)


def alone(account: Account, kept: Sequence[str] = (), key: str = "") -> list[str]:
    """Return what the verifier that stands alone finds."""
    heads = [verify_alone.read_head(note) for note in kept]
    pinned = verify_alone.read_key(key or account.key)
    return list(verify_alone.ledger_problems(account.file, pinned, heads))


def first_entry(problems: Sequence[str]) -> int | None:
    """Return the first entry that is said to be wrong."""
    found = [int(number) for line in problems for number in re.findall(r"^entry (\d+)", line)]
    return min(found, default=None)


def signed_again(account: Account, payloads: Sequence[bytes], sizes: Sequence[int]) -> None:
    """Write a ledger of these statements, signed by the true keys, with heads of these sizes."""
    first, second = account.signers()
    origin = VerifierKey.parse(first.vkey).name
    account.run("DELETE FROM entries", "DELETE FROM nodes", "DELETE FROM heads")
    for start, end in zip([0, *sizes[:-1]], sizes, strict=True):
        signer = second if end > ROTATED else first
        append(account, payloads[start:end], signer, origin, rotates=(first, second))


def append(
    account: Account,
    payloads: Sequence[bytes],
    signer: Signer,
    origin: str,
    rotates: Sequence[Signer] = (),
) -> None:
    """Append as the ledger does, and check nothing."""
    with closing(sqlite3.connect(account.file)) as rows, rows:
        size = rows.execute("SELECT count(*) FROM entries").fetchone()[0]

        def node(level: int, index: int) -> bytes:
            where = (level, index)
            found = rows.execute("SELECT hash FROM nodes WHERE level = ? AND idx = ?", where)
            return bytes(found.fetchone()[0])

        leaves = []
        for index, payload in enumerate(payloads, size):
            text = signed(payload, rotates if index == ROTATED else [signer]).text
            digest = verify_alone.sha256(payload).hex()
            rows.execute("INSERT INTO entries VALUES (?, ?, ?)", (index, digest, text))
            leaves.append(leaf_hash(text.encode()))
        rows.executemany("INSERT INTO nodes VALUES (?, ?, ?)", list(grown(size, leaves, node)))
        after = size + len(leaves)
        note = signed_note(Checkpoint(origin, after, root(after, node)), signer)
        rows.execute("INSERT INTO heads VALUES (?, ?)", (after, note))


def stated(payload: bytes, **facts: object) -> bytes:
    """Return the statement with other facts."""
    statement = read_statement(payload)
    return statement.model_copy(update={"facts": {**statement.facts, **facts}}).payload


def documented(payload: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return the statement with its document changed."""
    said = json.loads(read_statement(payload).facts["document"])
    change(said)
    return stated(payload, document=canonical_json(said).decode())


def flip(text: str, place: int) -> str:
    """Return the text with another letter there, which base64 and JSON allow as well."""
    other = "A" if text[place] != "A" else "B"
    return text[:place] + other + text[place + 1 :]


def lines(account: Account, heads: Sequence[str] = (), key: str = "") -> list[str]:
    """Return what the program's verification finds, a line each."""
    found = verify_file(account.folder, key or account.key, heads)
    assert found.ok == (not found.problems)
    return [str(problem) for problem in found.problems]
