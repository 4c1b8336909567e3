"""The archive and the ledger: one is given to the other, and both are held against each other.

Covers handing the archive's statements to the ledger (`flush`), and whether rows, files and
claims are what the ledger says (`agreement`). Does not check the ledger itself: its signatures,
its tree, its order in time (`ledger.verify`). Who can write the lab's files while it works can
have it sign what it did not do; that it was signed then, and not at another time, stays.
"""

import datetime
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from noctuary.archive.account import Account
from noctuary.archive.attesting import Handover
from noctuary.archive.digests import file_digest
from noctuary.archive.store import Archive
from noctuary.canonical import canonical_json
from noctuary.claims.checking import OF_CLAIMS, claim_problems
from noctuary.config import LedgerSettings
from noctuary.errors import LedgerBroken, NotFound
from noctuary.lab import Lab
from noctuary.ledger import database
from noctuary.ledger.envelope import read_envelope
from noctuary.ledger.keys import signer_of
from noctuary.ledger.log import Ledger
from noctuary.ledger.statements import Statement, read_statement
from noctuary.ledger.verify import MOST, Problem

_OWN = ("ledger", "key")
"""Kinds of entries that the ledger makes itself; no archive has them."""

_DOCUMENTS = {"registration": "plan", "draw": "draw", "verdict": "verdict"}
"""Kind of a statement about a claim -> column of the archive that holds its document as well."""

_UNNOTED = 8
"""Statements of stages that the ledger gets before the archive is opened to note its head."""


class Agreement(NamedTuple):
    """Whether archive, files and ledger say the same.

    Attributes:
        problems: what differs.
        remarks: what is worth knowing, and is nobody's fault.
    """

    problems: tuple[Problem, ...]
    remarks: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


# From the archive to the ledger


def flush(lab: Lab, archive: Archive, settings: LedgerSettings) -> None:
    """Give the ledger what it lacks of the archive's statements; it is made where there is none.

    After a kill anywhere inside, or between recording and this, the next call catches up.

    Raises:
        LedgerBroken: the ledger is not the one that this archive knows, or an older copy of it,
            or it has entries that this archive does not.
        EnvironmentRefused: the disk is full, or who signs refuses.
    """
    stated = archive.just_stated()
    if stated is not None and _follows(lab, archive, stated):
        if stated.pending:
            _append(lab, archive, settings, stated.pending)
        return
    with archive.handing_over() as handover:
        there = (lab.ledger / database.NAME).exists()
        if there:
            with Ledger.read(lab.ledger) as ledger:
                _require_ours(archive, ledger, handover)
                known = handover.head and handover.head.size == ledger.size
        elif handover.head:
            raise LedgerBroken(
                f"{lab.ledger} holds no ledger; expected the one of {handover.head.size} entries "
                "that this archive knows: restore it from a copy"
            )
        if handover.pending or (there and not known):
            handover.note(*_append(lab, archive, settings, handover.pending))


def _follows(lab: Lab, archive: Archive, stated: Handover) -> bool:
    """Whether the ledger can take what was stated while nobody holds the archive.

    False where anything is unusual: another process, or thread, may be ahead.
    """
    if stated.head is None or len(stated.pending) > _UNNOTED:
        return False
    try:
        with Ledger.read(lab.ledger) as ledger:
            _require_ours(archive, ledger, stated)
    except (LedgerBroken, NotFound):
        return False
    return True


def _append(
    lab: Lab, archive: Archive, settings: LedgerSettings, pending: Sequence[bytes]
) -> tuple[str, int, str]:
    """Append what is not there yet; return origin, size and root of the ledger."""

    def begins() -> datetime.datetime:
        """Return when a new ledger begins: not after the statement that it is made for."""
        return datetime.datetime.fromisoformat(read_statement(pending[0]).facts["time"])

    try:
        with Ledger.open(lab.ledger, signer_of(settings, lab.ledger), begins) as ledger:
            ledger.append(pending)
            return ledger.origin, ledger.size, ledger.root().hex()
    except ValueError as error:
        raise LedgerBroken(
            f"a statement in {archive.path} was edited before it was signed ({error}); expected "
            "it as it was recorded: restore the archive from a backup"
        ) from error


def _require_ours(archive: Archive, ledger: Ledger, handover: Handover) -> None:
    """Raise LedgerBroken unless the ledger extends the known head, by statements of the archive."""
    head = handover.head
    if head is not None:
        older = ledger.size < head.size
        if older or ledger.origin != head.origin or ledger.root(head.size).hex() != head.root:
            state = f"has {ledger.size} entries, and is an older copy of" if older else "is not"
            raise LedgerBroken(
                f"{ledger.path} {state} the ledger of {head.size} entries that {archive.path} "
                "knows; nothing is appended: restore it from a copy"
            )
    ours = {hashlib.sha256(payload).hexdigest() for payload in handover.pending}
    for index in range(head.size if head else 0, ledger.size):
        payload = read_envelope(ledger.envelope(index)).payload
        if hashlib.sha256(payload).hexdigest() not in ours and _kind_of(ledger, index) not in _OWN:
            raise LedgerBroken(
                f"entry {index} of {ledger.path} is no statement of {archive.path}, which is an "
                "older copy or another lab's; nothing is appended: restore the archive from a "
                "backup"
            )


# One held against the other


def agreement(lab: Lab, archive: Archive, ledger: Ledger) -> Agreement:
    """Return what differs between the archive, the lab's files and a ledger that verifies.

    What is recorded meanwhile is no difference.
    """
    size = ledger.size  # before the archive: it can only be ahead
    account = archive.account()
    entries = {
        number: index
        for number, digest in enumerate(account.payloads, start=1)
        if (index := ledger.find(digest)) is not None and index < size
    }
    said = [
        *_statement_problems(account, ledger, size, entries),
        *_own_problems(account, entries),
        *_file_problems(lab, account, entries),
        *_claim_problems(lab, account, ledger, entries),
    ]
    remarks = []
    waiting = len(account.payloads) - max(entries, default=0)
    if waiting:
        remarks.append(f"{waiting} statements wait for the ledger; the next night gives it them")
    if account.adopted:
        remarks.append(f"{account.adopted} rows were there before the ledger, as they were then")
    if len(said) > MOST:
        remarks.append(f"{len(said) - MOST} more problems are not listed")
    return Agreement(tuple(said[:MOST]), tuple(remarks))


def _statement_problems(
    account: Account, ledger: Ledger, size: int, entries: Mapping[int, int]
) -> Iterator[Problem]:
    """Yield where the statements of the archive are not the entries of the ledger, in order."""
    head = account.head
    if head and (
        ledger.origin != head.origin
        or size < head.size
        or ledger.root(head.size).hex() != head.root
    ):
        what = f"this ledger does not extend the {head.size} entries that the archive knows"
        yield Problem(index=None, what=what)
    last = -1
    for number in range(1, max(entries, default=0) + 1):
        index = entries.get(number)
        if index is None:
            what = f"statement {number} of the archive is not in the ledger, and later ones are"
            yield Problem(index=None, what=what)
        elif index < last:
            yield Problem(index=index, what=f"statement {number} of the archive has another place")
        last = index if index is not None else last
    for index in sorted(set(range(size)) - set(entries.values())):
        if _kind_of(ledger, index) not in _OWN:
            yield Problem(index=index, what="it is no statement of the archive")


def _own_problems(account: Account, entries: Mapping[int, int]) -> Iterator[Problem]:
    """Yield what is wrong within the archive, and what it says twice and differently."""
    for number, what in account.wrong:
        yield Problem(index=None if number is None else entries.get(number), what=what)
    for number, _, facts in account.stated:
        for name in facts.get("replaced", ()):
            what = f"{name} is another than an earlier entry attests, and is made once"
            yield Problem(index=entries.get(number), what=what)


def _file_problems(lab: Lab, account: Account, entries: Mapping[int, int]) -> Iterator[Problem]:
    for name, (digest, number) in account.said.items():
        kind, _, path = name.partition(":")
        if kind != "file":
            continue
        if not (lab.root / path).is_file():
            yield Problem(index=entries.get(number), what=f"{path} is missing in the lab")
        elif file_digest(lab.root / path) != digest:
            what = f"{path} in the lab is not what it attests; it was edited"
            yield Problem(index=entries.get(number), what=what)


def _claim_problems(
    lab: Lab, account: Account, ledger: Ledger, entries: Mapping[int, int]
) -> Iterator[Problem]:
    """Yield what is wrong with claims: in the ledger, with their trials, and in the archive."""

    def check_head(head: str, entry: int) -> None:
        if head != ledger.head_containing(entry):
            raise LedgerBroken(f"its head is not the first that contains entry {entry}")

    about = [
        (entries[number], statement)
        for number, _, _ in account.stated
        if number in entries
        and (statement := _statement(ledger, entries[number])).kind in OF_CLAIMS
    ]
    results = {
        path.parent.name: path.read_bytes()
        for _, statement in about
        if statement.kind == "verdict"
        for path in (
            lab.root / name.removeprefix("file:") for name in statement.subjects if "file:" in name
        )
        if path.is_file()
    }
    for problem in claim_problems(about, check_head, results):
        yield Problem(index=problem.entry, what=problem.what)
    documents = {
        (statement.facts["claim"], _DOCUMENTS[statement.kind]): statement.facts["document"]
        for _, statement in about
    }
    for row in account.claims:
        for column in _DOCUMENTS.values():
            kept = None if row[column] is None else canonical_json(row[column]).decode("utf-8")
            if kept != documents.get((row["claim_id"], column)):
                what = f"the {column} of claim {row['claim_id']} in the archive is another one"
                yield Problem(index=None, what=what)


def _statement(ledger: Ledger, index: int) -> Statement:
    return read_statement(read_envelope(ledger.envelope(index)).payload)


def _kind_of(ledger: Ledger, index: int) -> str:
    return _statement(ledger, index).kind
