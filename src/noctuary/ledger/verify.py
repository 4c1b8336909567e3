"""Verification of a whole ledger: needs its file and a public key, nothing of the lab.

Covers every entry, the keys, the tree, every head, and heads that were kept from earlier. Names
the first wrong entry, and goes on to what else can be said. Does not cover what the statements are
about: rows, files and claims. Whoever holds the key can write another ledger from the start; only
a head that was kept elsewhere tells the two apart.
"""

import contextlib
import multiprocessing
import os
import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from noctuary.domain import Value
from noctuary.errors import EnvironmentRefused, LedgerBroken, UsageError
from noctuary.ledger import database, merkle
from noctuary.ledger.checking import (
    AHEAD,
    Range,
    Said,
    check_entries,
    check_heads,
    in_order,
    out_of_order,
)
from noctuary.ledger.keys import VerifierKey
from noctuary.ledger.log import PUBLIC_KEY
from noctuary.ledger.notes import read_note

MOST = 100
"""Problems, and remarks, that are listed at most."""

ALONE = 20_000
"""Up to so many entries, starting processes takes longer than it saves."""

AT_ONCE = 1_000
"""Entries, or heads, that a process is given at a time."""


class Problem(Value):
    """Something that is not as it was signed.

    Attributes:
        index: the entry that is wrong, or from which on something is; None for the file as such.
        what: why, in words that follow "entry 17: ".
    """

    index: int | None
    what: str

    def __str__(self) -> str:
        return self.what if self.index is None else f"entry {self.index}: {self.what}"


class Verification(Value):
    """What was found in a ledger.

    Attributes:
        size: entries.
        head: the newest signed tree head, to be kept elsewhere; empty where there is none.
        problems: the first wrong entry first, then what concerns no entry.
        remarks: what a reader should know, and is not wrong.
    """

    ok: bool
    size: int
    head: str
    problems: tuple[Problem, ...]
    remarks: tuple[str, ...]


def verify_ledger(
    path: Path,
    key: str | None,
    trusted_heads: Sequence[str] = (),
    workers: int | None = None,
) -> Verification:
    """Check a ledger from its first entry to its newest head.

    Args:
        path: the file, or its folder.
        key: the public key that is trusted, the first one of the ledger or the one in force; None
            for the one that lies beside it, which shows only that the ledger agrees with itself.
        trusted_heads: signed heads that were kept from earlier; the ledger has to extend them.
        workers: processes that check side by side; None for one a core, where it is worth it.

    Raises:
        NotFound: there is no ledger.
        UsageError: `key` is no public key.
        EnvironmentRefused: the file cannot be read, or a process was killed.
    """
    try:
        pinned = None if key is None else VerifierKey.parse(key)
    except ValueError as error:
        raise UsageError(str(error)) from error
    file = database.file_of(path)
    checks = _Checks(file)
    try:
        with contextlib.closing(database.connect(file, read_only=True)) as rows:
            rows.text_factory = bytes
            with database.explaining(file):
                checks.run(rows, pinned, trusted_heads, workers)
    except LedgerBroken as error:
        checks.problem(None, str(error))
    except BrokenProcessPool as error:
        raise EnvironmentRefused(
            f"a process that checks {file} was ended; expected about 300 MB for each: free some "
            "memory and verify again"
        ) from error
    return checks.verification()


class _Checks:
    """The state of one verification: what is known of the ledger, and what is wrong with it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._size = 0
        self._head = ""
        self._keys: list[tuple[int, str]] = []
        self._levels: list[list[bytes]] = [[]]  # hashes of the complete subtrees, from the entries
        self._problems: list[Problem] = []
        self._unlisted = 0
        self._remarks: list[str] = []

    def problem(self, index: int | None, what: str) -> None:
        if len(self._problems) < MOST:
            self._problems.append(Problem(index=index, what=what))
        else:
            self._unlisted += 1

    def verification(self) -> Verification:
        ordered = sorted(self._problems, key=lambda one: (one.index is None, one.index or 0))
        remarks = self._remarks[:MOST]
        if self._unlisted:
            remarks.append(f"{self._unlisted} further problems are not listed")
        if self._remarks[MOST:]:
            remarks.append(f"{len(self._remarks) - MOST} further remarks are not listed")
        return Verification(
            ok=not ordered,
            size=self._size,
            head=self._head,
            problems=tuple(ordered),
            remarks=tuple(remarks),
        )

    def run(
        self,
        rows: sqlite3.Connection,
        pinned: VerifierKey | None,
        trusted_heads: Sequence[str],
        workers: int | None,
    ) -> None:
        rows.execute("BEGIN")  # what others append meanwhile is not looked at
        for (name,) in rows.execute("SELECT name FROM sqlite_schema WHERE type = 'view'"):
            what = f"{_text(name)} is a view, which can tell everybody another thing"
            self.problem(None, f"{what}; expected tables")
        first, last = rows.execute("SELECT min(idx), max(idx) FROM entries").fetchone()
        if last is None:
            self.problem(0, "it is missing; expected the entry that says whose key signs")
            return
        self._size = last + 1
        if first < 0:
            self.problem(0, f"an entry {first} stands before it")
        with contextlib.ExitStack() as stack:
            pool = None
            if workers is None:
                workers = len(os.sched_getaffinity(0)) if self._size > ALONE else 1
            if workers > 1:
                spawn = multiprocessing.get_context("spawn")  # a fork would copy running threads
                pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=spawn))
                stack.callback(pool.shutdown, cancel_futures=True)
            whole = self._check_entries(pool)
            if self._keys:
                self._check_key(pinned)
            if self._keys and whole:
                self._check_nodes(rows)
                self._check_heads(rows, pool)
                for kept in trusted_heads:
                    self._check_trusted(kept)
        for (found,) in rows.execute(f"PRAGMA integrity_check({MOST})"):
            if found != b"ok":
                self.problem(None, f"{self._file} is damaged: {found.decode(errors='replace')}")

    # Entries

    def _check_entries(self, pool: ProcessPoolExecutor | None) -> bool:
        """Return whether all entries were read, so that there is a tree."""
        leaves = self._levels[0]
        payloads: set[bytes] = set()
        newest: Said = (0, "")
        for found in self._ranges(pool):
            self._keys.extend(found.keys)
            for index, what in found.problems:
                self.problem(index, what)
            self._remarks += [f"entry {index}: {what}" for index, what in found.remarks]
            if found.times:
                if found.times[0][1] < newest[1]:
                    self.problem(found.times[0][0], out_of_order(found.times[0][1], newest))
                newest = max(newest, found.times[-1], key=lambda one: one[1])
            for index, digest in enumerate(_hashes(found.payloads), len(leaves)):
                if digest in payloads:
                    self.problem(index, "it repeats an earlier entry")
                payloads.add(digest)
            leaves += _hashes(found.leaves)
            if not found.complete:
                return False
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            pairs = zip(below[::2], below[1::2], strict=False)
            self._levels.append([merkle.node_hash(left, right) for left, right in pairs])
        return True

    def _ranges(self, pool: ProcessPoolExecutor | None) -> Iterator[Range]:
        """Yield what is found in each range, in order.

        Which key signs a range is known once those before it were read. Ranges that are checked
        ahead are taken to be signed by the key of the last one read; where another took over
        meanwhile, they are checked once more.
        """
        waiting: deque[tuple[int, str, Future[Range]]] = deque()
        key, sent, start = "", 0, 0
        while start < self._size:
            while pool and key and len(waiting) < AHEAD and sent < self._size:
                waiting.append((sent, key, pool.submit(check_entries, *self._range(sent), key)))
                sent += AT_ONCE
            if waiting and waiting[0][1] == key:
                found = waiting.popleft()[2].result()
            else:
                found = check_entries(*self._range(start), key)
                if waiting:
                    waiting.popleft()
            yield found
            key = found.keys[-1][1] if found.keys else key
            start += AT_ONCE
            sent = max(sent, start)

    def _range(self, start: int) -> tuple[Path, int, int]:
        return self._file, start, min(start + AT_ONCE, self._size)

    def _check_key(self, pinned: VerifierKey | None) -> None:
        chain = [VerifierKey.parse(text) for _, text in self._keys]
        if pinned is not None and pinned.public not in (chain[0].public, chain[-1].public):
            self.problem(
                0,
                f"the ledger is signed by {chain[0].text}, and at its end by {chain[-1].text}; "
                f"expected {pinned.text}",
            )
        beside = self._file.with_name(PUBLIC_KEY)
        published = beside.read_text(errors="replace").strip() if beside.is_file() else ""
        if published and published != chain[0].text:
            self.problem(None, f"{beside} holds {published[:100]}; expected {chain[0].text}")
        if pinned is None:
            self._remarks.append(
                f"no key was given: that it is {chain[0].text}, the ledger says itself"
            )

    # The tree

    def _check_nodes(self, rows: sqlite3.Connection) -> None:
        """Compare the subtrees that the ledger remembers; an entry is blamed where all began."""
        wrong: set[tuple[int, int]] = set()
        stored = rows.execute(
            "SELECT CAST(level AS INTEGER), CAST(idx AS INTEGER), hash FROM nodes "
            "ORDER BY level, idx"
        )
        row = stored.fetchone()
        for level, hashes in enumerate(self._levels):
            for index, digest in enumerate(hashes):
                while row is not None and row[:2] < (level, index):
                    self.problem(None, f"the tree has a node {row[1]} of level {row[0]} too many")
                    row = stored.fetchone()
                remembered = None
                if row is not None and row[:2] == (level, index):
                    remembered, row = row[2], stored.fetchone()
                if remembered == digest:
                    continue
                wrong.add((level, index))
                if level and wrong & {(level - 1, 2 * index), (level - 1, 2 * index + 1)}:
                    continue
                self.problem(
                    ((index + 1) << level) - 1,
                    f"the tree remembers {_said(remembered)} for it; expected {_said(digest)}"
                    + (f" (node {index} of level {level})" if level else ""),
                )
        if row is not None:
            self.problem(None, f"the tree has a node {row[1]} of level {row[0]} too many")

    def _root(self, size: int) -> bytes:
        return merkle.root(size, lambda level, index: self._levels[level][index])

    # Heads

    def _check_heads(self, rows: sqlite3.Connection, pool: ProcessPoolExecutor | None) -> None:
        sizes: list[int] = []
        bad: set[int] = set()
        differ: list[int] = []
        for results in in_order(pool, check_heads, self._heads(rows, sizes)):
            for size, what, signed in results:
                bad.add(size)
                if signed:
                    differ.append(size)
                else:
                    self.problem(None, f"the head of {size} entries: {what}")
        newest = sizes[-1] if sizes else 0
        if newest < self._size:
            self.problem(newest, "no signed head covers it and what follows")
        if differ:
            good = max((size for size in sizes if size < differ[0] and size not in bad), default=0)
            self._blame(range(good, differ[0]), len(differ) - 1)

    def _blame(self, entries: range, later: int) -> None:
        """Name what a signed root that differs says about the entries since the head before it."""
        what = f"the head of {entries.stop} entries has another root" + (
            f", and so have {later} later ones" if later else ""
        )
        if any(one.index in entries for one in self._problems if one.index is not None):
            self.problem(None, what)
        elif len(entries) == 1:
            self.problem(entries.start, f"it is not what was signed: {what}")
        else:
            last = entries.stop - 1
            self.problem(
                entries.start, f"it, or one up to entry {last}, is not what was signed: {what}"
            )

    def _heads(
        self, rows: sqlite3.Connection, sizes: list[int]
    ) -> Iterator[tuple[list[tuple[int, bytes, bytes]], list[tuple[int, str]]]]:
        """Yield arguments of `check_heads`; `sizes` takes the sizes of all heads."""
        stored = rows.execute("SELECT size, note FROM heads ORDER BY size")
        while batch := stored.fetchmany(AT_ONCE):
            held = []
            for size, note in batch:
                if 0 < size <= self._size:
                    held.append((size, note, self._root(size)))
                elif size > self._size:
                    self.problem(self._size, f"it is missing: a head of {size} entries was signed")
                else:
                    self.problem(None, f"there is a head of {size} entries; expected at least one")
            sizes += [size for size, _ in batch]
            self._head = _text(batch[-1][1])
            yield held, self._keys

    def _check_trusted(self, text: str) -> None:
        """Check that the ledger extends a head that somebody kept."""
        try:
            note = read_note(text)
        except ValueError as error:
            self.problem(None, f"a trusted head cannot be read: {error}")
            return
        origin, size, root = note.checkpoint
        name = f"the trusted head of {size} entries"
        chain = [(index, VerifierKey.parse(key)) for index, key in self._keys]
        signers = [key for index, key in chain if index < size]
        if size <= self._size:
            signers = signers[-1:]  # of a longer ledger, later keys are not known
        if origin != chain[0][1].name:
            self.problem(None, f"{name} is of another ledger, {origin}")
        elif not any(note.signed_by(key) for key in signers):
            self.problem(
                None, f"{name} is not signed by the key in force: it, or this ledger, is forged"
            )
        elif size > self._size:
            self.problem(
                self._size, f"it is missing: {name} was signed, so the ledger was rolled back"
            )
        elif root != self._root(size):
            self.problem(
                None, f"{name} has another root: the ledger was forked before entry {size}"
            )


def _hashes(joined: bytes) -> list[bytes]:
    return [joined[at : at + 32] for at in range(0, len(joined), 32)]


def _said(digest: object) -> str:
    return f"the hash {digest.hex()[:16]}" if isinstance(digest, bytes) else "no hash"


def _text(stored: object) -> str:
    return stored.decode(errors="replace") if isinstance(stored, bytes) else ""
