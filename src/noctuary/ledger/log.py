"""The ledger: an append-only, signed log of statements under a Merkle tree.

Covers making it, appending, other keys, and proofs. What an append returned is durable and under
a signed head; what a kill interrupted never happened. Does not check what is there beyond its
newest head (`verify` does), and does not know what the statements are about.
"""

import contextlib
import datetime
import hashlib
import json
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from noctuary.config import LedgerSettings
from noctuary.errors import LedgerBroken, NotFound, UsageError
from noctuary.lab import explaining_disk_errors, sync_folder, write_atomically
from noctuary.ledger import database, merkle
from noctuary.ledger.envelope import Envelope, read_envelope, signed
from noctuary.ledger.keys import KEYS, LabKey, Signer, VerifierKey, signer_of
from noctuary.ledger.notes import Checkpoint, read_note, signed_note
from noctuary.ledger.statements import Statement, read_statement, utc_text

PUBLIC_KEY = "key.pub"

Clock = Callable[[], datetime.datetime]


def _utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class Ledger:
    """An open ledger; a context manager, for the thread that opened it.

    Attributes:
        path: the SQLite file.
        origin: its name, which begins every head.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, signer: Signer | None) -> None:
        self.path = path
        self._rows = connection
        self._signer = signer
        self._now: Clock = _utc_now
        with database.explaining(path):
            self.origin = self._checkpoint().origin

    # Opening

    @classmethod
    def open(cls, folder: Path, signer: Signer | None = None, now: Clock = _utc_now) -> "Ledger":
        """Open a ledger to write, made where there is none.

        Args:
            signer: who signs; None for the lab's own key, without a passphrase.
            now: the clock; a new ledger begins at its time, which no statement may precede.

        Raises:
            LedgerBroken: it is damaged, its newest head does not belong to it, or it was deleted.
            UsageError: it is signed by another key than this signer's.
            EnvironmentRefused: the disk or the key is refused.
        """
        path = folder / database.NAME
        if not path.exists():
            _make(folder, signer or LabKey.make(), now)
        connection = database.connect(path, read_only=False)
        try:
            ledger = cls(path, connection, signer or signer_of(LedgerSettings(), folder))
            ledger._now = now
            ledger._require_whole()
        except BaseException:
            database.close(connection)
            raise
        return ledger

    @classmethod
    def read(cls, folder_or_file: Path) -> "Ledger":
        """Open a ledger to read; needs no key.

        Raises:
            NotFound: there is none.
            LedgerBroken: it is damaged.
        """
        path = database.file_of(folder_or_file)
        connection = database.connect(path, read_only=True)
        try:
            return cls(path, connection, None)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        if self._signer is None:
            self._rows.close()
        else:
            database.close(self._rows)

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Reading

    @property
    def size(self) -> int:
        return self._checkpoint().size

    @property
    def last_time(self) -> str:
        """Time of the last statement, before which no further one may be."""
        return str(self.statement(self.size - 1)["predicate"]["time"])

    def head(self) -> str:
        """Return the newest signed tree head."""
        return self._text("SELECT note FROM heads ORDER BY size DESC LIMIT 1")

    def head_containing(self, index: int) -> str:
        """Return the first signed tree head that was made with this entry in the tree."""
        self._require(index, self.size)
        return self._text("SELECT note FROM heads WHERE size > ? ORDER BY size LIMIT 1", index)

    def envelope(self, index: int) -> str:
        self._require(index, self.size)
        return self._text("SELECT envelope FROM entries WHERE idx = ?", index)

    def statement(self, index: int) -> dict[str, Any]:
        """Return what an entry says, as the JSON that was signed."""
        try:
            found = json.loads(read_envelope(self.envelope(index)).payload)
        except ValueError as error:
            raise self._broken(f"entry {index} is damaged: {error}") from error
        return dict(found)

    def find(self, payload_sha256: str) -> int | None:
        """Return the index of a payload, or None."""
        with database.explaining(self.path):
            found = self._rows.execute(
                "SELECT idx FROM entries WHERE sha256 = ?", (payload_sha256,)
            ).fetchone()
        return found and int(found[0])

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the tree, or of its first entries."""
        return merkle.root(self._within(size), self._node)

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the hashes from an entry to the root over so many entries, or all."""
        within = self._within(size)
        self._require(index, within)
        return merkle.inclusion_proof(index, within, self._node)

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        """Return what shows that the tree of `new` entries, or of all, extends that of `old`."""
        within = self._within(new)
        if not 0 <= old <= within:
            raise NotFound(f"{old} entries; expected at most the {within} of the later tree")
        return merkle.consistency_proof(old, within, self._node)

    # Writing

    def append(self, payloads: Sequence[bytes]) -> tuple[int, ...]:
        """Append statements under one new head, and return their indices.

        All of them are durable when it returns, or none is there when it raises. A payload that
        is there already keeps its index.

        Raises:
            ValueError: a payload is no statement, or of a kind that only the ledger makes.
            LedgerBroken: a statement's time is before that of its predecessor.
        """
        statements = [read_statement(payload) for payload in payloads]
        with database.writing(self._rows, self.path):
            signer, size, last = self._signer_in_force(), self.size, self.last_time
            places: dict[str, int] = {}
            fresh: list[Envelope] = []
            for payload, statement in zip(payloads, statements, strict=True):
                digest = hashlib.sha256(payload).hexdigest()
                if digest in places:
                    continue
                found = self.find(digest)
                places[digest] = size + len(fresh) if found is None else found
                if found is not None:
                    continue
                if statement.kind in ("ledger", "key"):
                    raise ValueError(f"a statement of kind {statement.kind!r}; expected another")
                time = str(statement.facts["time"])
                if time < last:
                    raise LedgerBroken(
                        f"a statement of {time} after one of {last} in {self.path}; expected no "
                        "earlier time: see whether the archive is an older copy"
                    )
                last = time
                fresh.append(signed(payload, [signer]))
            if fresh:
                _add(self._rows, size, fresh, self.origin, signer, self._node)
        return tuple(places[hashlib.sha256(payload).hexdigest()] for payload in payloads)

    def rotate(self, successor: Signer | None = None) -> None:
        """Let another key sign from here on: this one, or a new one that the lab keeps.

        The entry takes its predecessor's time, as statements may wait that are older than now;
        the clock's time stands beside it.

        Raises:
            UsageError: the key in force is outside of the lab, and no successor is given; or the
                successor has signed here before.
        """
        with database.writing(self._rows, self.path):
            signer = self._signer_in_force()
            if successor is None:
                if not isinstance(signer, LabKey):
                    raise UsageError(
                        f"{signer.vkey} lies outside of the lab, which can make no successor for "
                        "it; expected another [ledger] signer and signer_key"
                    )
                successor = signer.successor()
            key = VerifierKey(self.origin, VerifierKey.parse(successor.vkey).public)
            if key.keyid in map(self._signer_of, (0, *self.rotations())):
                raise UsageError(
                    f"{key.text} has signed {self.path} before; expected a key that never did, so "
                    "that each key has one time: make a new one"
                )
            if isinstance(successor, LabKey):
                with explaining_disk_errors(self.path):
                    successor.keep(self.path.parent / KEYS)
            facts = {"time": self.last_time, "rotated": utc_text(self._now()), "key": key.text}
            payload = Statement(kind="key", subjects={"key": key.keyid}, facts=facts).payload
            entry = signed(payload, [signer, successor])
            _add(self._rows, self.size, [entry], self.origin, successor, self._node)
        self._signer = successor

    def rotations(self) -> Iterator[int]:
        """Yield the entries at which another key began to sign; few, so they are searched."""
        start, last = 0, self.size - 1
        while self._signer_of(start) != self._signer_of(last):
            before, after = start, last
            while after - before > 1:
                middle = (before + after) // 2
                if self._signer_of(middle) == self._signer_of(start):
                    before = middle
                else:
                    after = middle
            start = after
            yield start

    # Parts

    def _signer_of(self, index: int) -> str:
        return read_envelope(self.envelope(index)).signatures[-1].keyid

    def _signer_in_force(self) -> Signer:
        if self._signer is None:
            raise UsageError(f"{self.path} is open to read; expected `Ledger.open` to write")
        mine = VerifierKey(self.origin, VerifierKey.parse(self._signer.vkey).public)
        if not read_note(self.head()).signed_by(mine):
            raise UsageError(
                f"the newest head of {self.path} is not signed by {mine.text}; expected the "
                "signer that the ledger goes by: mend [ledger] signer and signer_key, or let that "
                "signer take over with `noctuary ledger rotate`"
            )
        return self._signer

    def _require_whole(self) -> None:
        """Raise LedgerBroken where the newest head is not that of the entries and the tree."""
        self._signer_in_force()
        head = self._checkpoint()
        with database.explaining(self.path):
            last = self._rows.execute("SELECT max(idx) FROM entries").fetchone()[0]
        if last != head.size - 1 or self.root(head.size) != head.root:
            raise self._broken(f"its newest head, of {head.size} entries, is not that of its tree")

    def _checkpoint(self) -> Checkpoint:
        try:
            return read_note(self.head()).checkpoint
        except ValueError as error:
            raise self._broken(f"its newest head is damaged: {error}") from error

    def _within(self, size: int | None) -> int:
        newest = self.size
        if size is not None and not 0 <= size <= newest:
            raise NotFound(f"{size} entries; expected at most the {newest} of {self.path}")
        return newest if size is None else size

    def _require(self, index: int, size: int) -> None:
        if not 0 <= index < size:
            raise NotFound(f"no entry {index} in {self.path}; expected 0 to {size - 1}")

    def _text(self, sql: str, *values: int) -> str:
        with database.explaining(self.path):
            found = self._rows.execute(sql, values).fetchone()
        if found is None or not isinstance(found[0], str):
            raise self._broken("an entry or a head is missing")
        return found[0]

    def _node(self, level: int, index: int) -> bytes:
        with database.explaining(self.path):
            found = self._rows.execute(
                "SELECT hash FROM nodes WHERE level = ? AND idx = ?", (level, index)
            ).fetchone()
        if found is None or not isinstance(found[0], bytes):
            raise self._broken(f"node {index} of level {level} is missing in its tree")
        return found[0]

    def _broken(self, what: str) -> LedgerBroken:
        return LedgerBroken(
            f"{self.path}: {what}; see what `noctuary ledger verify` says, and restore the ledger "
            "from a copy"
        )


def _add(
    rows: sqlite3.Connection,
    size: int,
    envelopes: Sequence[Envelope],
    origin: str,
    signer: Signer,
    node: merkle.Node,
) -> None:
    """Add entries, the nodes that they complete, and a head, to the open transaction."""
    texts = [envelope.text for envelope in envelopes]
    rows.executemany(
        "INSERT INTO entries VALUES (?, ?, ?)",
        [
            (index, hashlib.sha256(envelope.payload).hexdigest(), text)
            for index, (envelope, text) in enumerate(zip(envelopes, texts, strict=True), size)
        ],
    )
    leaves = [merkle.leaf_hash(text.encode()) for text in texts]
    rows.executemany("INSERT INTO nodes VALUES (?, ?, ?)", merkle.grown(size, leaves, node))
    after = size + len(leaves)
    note = signed_note(Checkpoint(origin, after, merkle.root(after, node)), signer)
    rows.execute("INSERT INTO heads VALUES (?, ?)", (after, note))


def _make(folder: Path, signer: Signer, now: Clock) -> None:
    """Put a complete ledger with its keys in place at once: a kill leaves none, or a whole one."""
    if folder.exists() and any(folder.iterdir()):
        raise LedgerBroken(
            f"{folder} holds files, and no {database.NAME}; expected both or neither: restore it "
            "from a copy"
        )
    key = VerifierKey.first(VerifierKey.parse(signer.vkey).public)
    fresh = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    with explaining_disk_errors(folder):
        fresh.mkdir(mode=0o700, parents=True)
        try:
            if isinstance(signer, LabKey):
                signer.keep(fresh / KEYS)
            write_atomically(fresh / PUBLIC_KEY, key.text + "\n")
            _begin(fresh / database.NAME, key, signer, now)
            sync_folder(fresh)
            with contextlib.suppress(FileExistsError):  # another process was faster
                _rename(fresh, folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def _begin(path: Path, key: VerifierKey, signer: Signer, now: Clock) -> None:
    facts = {"time": utc_text(now()), "origin": key.name, "key": key.text}
    payload = Statement(kind="ledger", subjects={"key": key.keyid}, facts=facts).payload
    database.make(path)
    rows = database.connect(path, read_only=False)
    entry = signed(payload, [signer])
    leaf = merkle.leaf_hash(entry.text.encode())
    try:
        with database.writing(rows, path):
            _add(rows, 0, [entry], key.name, signer, lambda _level, _index: leaf)
    finally:
        database.close(rows)


def _rename(fresh: Path, folder: Path) -> None:
    try:
        fresh.rename(folder)
    except OSError as error:
        if (folder / database.NAME).exists():
            raise FileExistsError from error
        raise
