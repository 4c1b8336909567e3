"""All that can be checked of a ledger at once: alone, or together with the lab that it is of.

Covers which checks there are, and in which order: what is signed (`ledger.verify`), what claims
say of each other (`claims.checking`), whether archive and files agree (`attesting`). A later check
takes for granted what an earlier one found, so that a broken ledger ends them.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from noctuary.archive.store import Archive
from noctuary.attesting import agreement
from noctuary.claims.checking import OF_CLAIMS, claim_problems
from noctuary.errors import LedgerBroken
from noctuary.lab import Lab
from noctuary.ledger import database
from noctuary.ledger.log import Ledger
from noctuary.ledger.statements import Statement, predicate_type, read_statement
from noctuary.ledger.verify import Problem, Verification, verify_ledger


def verify_file(path: Path, key: str | None, heads: Sequence[str] = ()) -> Verification:
    """Check a ledger without its lab: what is signed, and its claims as far as entries tell.

    Raises:
        NotFound: there is no ledger.
        UsageError: `key` is no public key.
    """
    found = verify_ledger(path, key, heads)
    if not found.ok:
        return found
    with Ledger.read(path) as ledger:

        def check_head(head: str, entry: int) -> None:
            if head != ledger.head_containing(entry):
                raise LedgerBroken(f"its head is not the first that contains entry {entry}")

        about = _about_claims(ledger.path)
        problems = [
            Problem(index=one.entry, what=one.what) for one in claim_problems(about, check_head)
        ]
    return found.model_copy(update={"ok": not problems, "problems": tuple(problems)})


def verify_lab(lab: Lab, key: str | None, heads: Sequence[str] = ()) -> Verification:
    """Check the ledger of a lab, and that archive, files and claims are what it says.

    Raises:
        NotFound: there is no ledger, and there never was.
        LedgerBroken: there is none any more.
        UsageError: `key` is no public key.
    """
    archive = Archive(lab.archive_path)
    known = archive.records("ledger_head") if archive.exists() else []
    if known and not (lab.ledger / database.NAME).exists():
        raise LedgerBroken(
            f"{lab.ledger} holds no ledger; expected the one of {known[0]['size']} entries that "
            "the archive knows: restore it from a copy"
        )
    found = verify_ledger(lab.ledger, key, heads)
    if not found.ok:
        unsaid = "archive and files were not held against a ledger that is broken"
        return found.model_copy(update={"remarks": (*found.remarks, unsaid)})
    with Ledger.read(lab.ledger) as ledger:
        agreed = agreement(lab, archive, ledger)
    return found.model_copy(
        update={
            "ok": agreed.ok,
            "problems": agreed.problems,
            "remarks": (*found.remarks, *agreed.remarks),
        }
    )


def _about_claims(file: Path) -> Iterator[tuple[int, Statement]]:
    """Yield index and statement of all entries about claims; the others are not read through."""
    marks = [f'"predicateType":"{predicate_type(kind)}"'.encode() for kind in OF_CLAIMS]
    with closing(database.connect(file, read_only=True)) as rows, database.explaining(file):
        for index, envelope in rows.execute("SELECT idx, envelope FROM entries ORDER BY idx"):
            payload = base64.b64decode(json.loads(envelope)["payload"])  # verified before
            if any(mark in payload for mark in marks):
                statement = read_statement(payload)
                if statement.kind in OF_CLAIMS:
                    yield index, statement
