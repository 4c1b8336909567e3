"""What each entry and each head of a ledger must be: checks of ranges, for processes side by side.

Covers form, signatures, the rules of keys, order and time within a range. How ranges fit together,
and the tree, is in `verify`.
"""

import bisect
import contextlib
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from noctuary.ledger import database
from noctuary.ledger.envelope import Envelope, read_envelope
from noctuary.ledger.keys import VerifierKey
from noctuary.ledger.merkle import leaf_hash
from noctuary.ledger.notes import read_note
from noctuary.ledger.statements import Statement, read_statement

AHEAD = 8
"""Ranges that are under way at once; at most so many are checked anew where the key changed."""

T = TypeVar("T")

Said = tuple[int, str]
"""Something to be said about an entry: its index, and what."""


class Range(NamedTuple):
    """What was found in a range of entries.

    Attributes:
        keys: index -> public key that signs from the next entry on.
        leaves: their hashes, one after the other.
        payloads: likewise; the leaf's hash where the envelope cannot be read.
        times: index and time of the first good entry, and of the last.
        complete: whether no entry of the range is missing.
    """

    keys: tuple[tuple[int, str], ...]
    leaves: bytes
    payloads: bytes
    times: tuple[Said, ...]
    complete: bool
    problems: tuple[Said, ...]
    remarks: tuple[Said, ...]


def check_entries(path: Path, start: int, end: int, vkey: str) -> Range:
    """Check entries `start` to `end`, of which the first is signed by this key.

    Args:
        vkey: the key in force; empty for entry 0, which names the first one.
    """
    walk = _Walk(VerifierKey.parse(vkey) if vkey else None)
    expected = start
    sql = "SELECT idx, sha256, envelope FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx"
    with contextlib.closing(database.connect(path, read_only=True)) as rows:
        rows.text_factory = bytes
        with database.explaining(path):
            for index, digest, stored in rows.execute(sql, (start, end)):
                if index != expected:
                    break
                expected += 1
                try:
                    walk.take(index, digest, stored)
                except ValueError as error:
                    walk.problems.append((index, str(error)))
                if walk.key is None:
                    break
    if expected < end and not (walk.key is None and walk.problems):  # without a key, it ends at 0
        walk.problems.append((expected, "it is missing"))
    return walk.range(complete=expected == end)


class _Walk:
    """What is known after the entries so far.

    Attributes:
        key: the key in force; None before entry 0.
    """

    def __init__(self, key: VerifierKey | None) -> None:
        self.key = key
        self.problems: list[Said] = []
        self._keys: list[tuple[int, str]] = []
        self._leaves: list[bytes] = []
        self._payloads: list[bytes] = []
        self._times: list[Said] = []
        self._remarks: list[Said] = []

    def take(self, index: int, digest: object, stored: object) -> None:
        """Take the next entry.

        Raises:
            ValueError: it is wrong; what can be known of it is taken all the same.
        """
        content = stored if isinstance(stored, bytes) else str(stored).encode()
        self._leaves.append(leaf_hash(content))
        self._payloads.append(self._leaves[-1])
        envelope = read_envelope(content.decode())
        self._payloads[-1] = hashlib.sha256(envelope.payload).digest()
        statement = read_statement(envelope.payload)
        before = self.key
        signers, self.key = signers_of(index, statement, before)
        if self.key is not before:
            self._keys.append((index, self.key.text))
        require_signed(envelope, signers)
        if digest != self._payloads[-1].hex().encode():
            raise ValueError("the hash beside it is not that of its payload")
        time = str(statement.facts["time"])
        if self._times and time < self._times[-1][1]:
            raise ValueError(out_of_order(time, self._times[-1]))
        self._times = [*self._times[:1], (index, time)]
        behind = statement.facts.get("clock_behind_seconds")
        if behind is not None:
            self._remarks.append((index, f"the clock was {behind} s behind the entry before"))

    def range(self, *, complete: bool) -> Range:
        return Range(
            tuple(self._keys),
            b"".join(self._leaves),
            b"".join(self._payloads),
            tuple(self._times),
            complete,
            tuple(self.problems),
            tuple(self._remarks),
        )


def out_of_order(time: str, earlier: Said) -> str:
    return f"its time, {time}, is before that of entry {earlier[0]}, {earlier[1]}"


def check_heads(
    heads: Sequence[tuple[int, bytes, bytes]], keys: Sequence[tuple[int, str]]
) -> list[tuple[int, str, bool]]:
    """Return size, problem, and whether a signed root is not that of the entries, of bad heads.

    Args:
        heads: size, note, and the root over so many entries, from the entries themselves.
        keys: all of them, as in `Range.keys`.
    """
    chain = [(index, VerifierKey.parse(text)) for index, text in keys]
    starts = [index for index, _ in chain]
    found = []
    for size, stored, root in heads:
        key = chain[bisect.bisect_left(starts, size) - 1][1]
        try:
            note = read_note(stored.decode() if isinstance(stored, bytes) else str(stored))
            if note.checkpoint.size != size:
                raise ValueError(f"it is one of {note.checkpoint.size} entries")
            if note.checkpoint.origin != key.name:
                raise ValueError(f"it is of the ledger {note.checkpoint.origin}")
            if len(note.signatures) != 1 or not note.signed_by(key):
                raise ValueError(f"it is not signed by the key in force, {key.keyid[:16]}")
        except ValueError as error:
            found.append((size, str(error), False))
        else:
            if note.checkpoint.root != root:
                found.append((size, "its root is not that of the entries", True))
    return found


def in_order(
    pool: ProcessPoolExecutor | None,
    work: Callable[..., T],
    arguments: Iterable[tuple[Any, ...]],
) -> Iterator[T]:
    """Yield what the work gives for each, side by side where there are processes."""
    waiting: deque[Future[T]] = deque()
    for one in arguments:
        if pool is None:
            yield work(*one)
            continue
        waiting.append(pool.submit(work, *one))
        if len(waiting) > AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def signers_of(
    index: int, statement: Statement, key: VerifierKey | None
) -> tuple[list[VerifierKey], VerifierKey]:
    """Return whose signatures an entry bears, and the key in force after it."""
    if (statement.kind == "ledger") != (index == 0):
        raise ValueError(
            f"it is of kind {statement.kind!r}; expected 'ledger' in entry 0 and nowhere else"
        )
    before = [] if key is None else [key]
    if statement.kind not in ("ledger", "key"):
        return before, before[0]
    named = VerifierKey.parse(str(statement.facts.get("key")))
    origin = VerifierKey.first(named.public).name if key is None else key.name
    if named.name != origin or statement.subjects != {"key": named.keyid}:
        raise ValueError(f"it names the key {named.text}; expected one of {origin}, as its subject")
    if key is None and statement.facts.get("origin") != origin:
        raise ValueError(f"its origin is {statement.facts.get('origin')!r}; expected {origin}")
    return [*before, named], named


def require_signed(envelope: Envelope, signers: Sequence[VerifierKey]) -> None:
    seen = [one.keyid for one in envelope.signatures]
    if seen != [key.keyid for key in signers]:
        others = " and ".join(str(keyid)[:16] for keyid in seen) or "nobody"
        wanted = " and ".join(key.keyid[:16] for key in signers)
        raise ValueError(f"it is signed by {others}; expected the key in force, {wanted}")
    if not envelope.signed_by(signers):
        raise ValueError("its signature is not over this payload")
