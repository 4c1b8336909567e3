"""The proof of one claim, or of one other entry: a JSON file that is checked without the lab.

For a claim: its registration, draw and verdict, each with a proof that it lies under the newest
signed head; a proof that the head from which the seeds were drawn is an earlier one of the same
ledger; the source of every mixer; the result of every trial. `verify_alone` checks a bundle as
`check_bundle` does, without any of this program. Covers making and checking. Does not train
anything again, and cannot show that no other claim was registered before: only the ledger can.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from noctuary.archive.store import Archive
from noctuary.claims.checking import OF_CLAIMS, claim_problems
from noctuary.domain import Value
from noctuary.errors import LedgerBroken, NotFound
from noctuary.lab import Lab
from noctuary.ledger.checking import require_signed, signers_of
from noctuary.ledger.envelope import read_envelope
from noctuary.ledger.keys import VerifierKey
from noctuary.ledger.log import Ledger
from noctuary.ledger.merkle import leaf_hash, verify_consistency, verify_inclusion
from noctuary.ledger.notes import Checkpoint, read_note
from noctuary.ledger.statements import Statement, read_statement

FILE = "file:"
"""Begins the names of subjects that are files of the lab."""


OneContent = Annotated[dict[Literal["text", "base64"], str], Field(min_length=1, max_length=1)]
"""What a file holds, as text or, where it is none, in base64."""


class BundledEntry(Value):
    """An entry of the ledger, and the hashes that lead from it to the root of the bundle's head.

    Attributes:
        proof: base64, lowest first.
    """

    index: int
    envelope: str
    proof: tuple[str, ...]


class Bundle(Value):
    """All that shows what a claim, or an entry, says.

    Attributes:
        claim: its id; empty where the bundle is of another entry.
        entry: the index of that; None where the bundle is of a claim.
        key: of the ledger's first signer. Whoever checks has to have it from somewhere else.
        head: the newest signed head when the bundle was made.
        consistency: base64; from the head of the claim's draw to `head`.
        entries: the one or the claim's, and those that say whose key signs; in order.
        files: name in the lab -> `text`, or `base64` where it is none.
    """

    format: Literal["noctuary/bundle/1"] = "noctuary/bundle/1"
    claim: str
    entry: int | None
    key: str
    head: str
    consistency: tuple[str, ...]
    entries: tuple[BundledEntry, ...]
    files: dict[str, OneContent]

    @model_validator(mode="after")
    def _is_of_one_thing(self) -> "Bundle":
        if bool(self.claim) != (self.entry is None):
            raise ValueError(f"claim {self.claim!r} and entry {self.entry}; expected one of them")
        return self

    @property
    def text(self) -> str:
        """The JSON, as it is written to a file."""
        return self.model_dump_json(indent=1) + "\n"

    def content(self, name: str) -> bytes:
        one = self.files[name]
        return one["text"].encode() if "text" in one else _decoded(one["base64"])


def prove(lab: Lab, archive: Archive, ledger: Ledger, wanted: int | str) -> Bundle:
    """Return the proof of an entry, by its index, or of a claim, by its id.

    Raises:
        NotFound: there is no such entry or claim, or the ledger has not got it yet.
        LedgerBroken: what there is proves nothing; the message says why.
    """
    if isinstance(wanted, str):
        indices, claim = _entries_of_claim(archive, ledger, wanted), wanted
    else:
        indices, claim = [wanted], ""
    statements = [read_statement(read_envelope(ledger.envelope(i)).payload) for i in indices]
    names = [name for one in statements for name in one.subjects if name.startswith(FILE)]
    bundle = Bundle(
        claim=claim,
        entry=None if claim else indices[0],
        key=str(ledger.statement(0)["predicate"]["key"]),
        head=ledger.head(),
        consistency=_consistency(ledger, statements),
        entries=tuple(
            BundledEntry(
                index=index,
                envelope=ledger.envelope(index),
                proof=tuple(map(_encoded, ledger.inclusion_proof(index))),
            )
            for index in sorted({0, *ledger.rotations(), *indices})
        ),
        files=_files(lab.root, [name.removeprefix(FILE) for name in names]),
    )
    if problems := check_bundle(bundle, bundle.key):
        raise LedgerBroken(
            f"the bundle of {wanted} proves nothing: {problems[0]}; expected no problem: see what "
            "`noctuary ledger verify` says"
        )
    return bundle


def read_bundle(text: str) -> Bundle:
    """Return the bundle that a file holds.

    Raises:
        LedgerBroken: it holds none.
    """
    try:
        return Bundle.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise LedgerBroken(
            f"{place} of the bundle: {first['msg']}; expected what `noctuary ledger prove` writes"
        ) from error


def check_bundle(bundle: Bundle, key: str) -> tuple[str, ...]:
    """Return what is wrong with a bundle, one line each; nothing where all holds.

    Args:
        key: public key that is trusted, as `key.pub` has it: the ledger's first, or its newest.
    """
    return tuple(_problems(bundle, key))


def _problems(bundle: Bundle, key: str) -> Iterator[str]:
    try:
        head = read_note(bundle.head)
        pinned = VerifierKey.parse(key)
    except ValueError as error:
        yield f"head: {error}"
        return
    keys: list[tuple[int, VerifierKey]] = []
    statements: list[tuple[int, Statement]] = []
    for one in bundle.entries:
        try:
            statement = _entry(one, keys, head.checkpoint)
            statements.append((one.index, statement))
        except ValueError as error:
            yield f"entry {one.index}: {error}"
    if not keys or pinned.public not in (keys[0][1].public, keys[-1][1].public):
        yield f"entry 0: it is signed by another key than {pinned.text}"
    elif not head.signed_by(_in_force(keys, head.checkpoint.size)):
        yield f"head of size {head.checkpoint.size}: it is not signed by the key in force"
    if keys and bundle.key != keys[0][1].text:
        yield f"key: it is {bundle.key}; expected {keys[0][1].text}, which signs first"
    yield from _file_problems(bundle, statements)
    if not bundle.claim and bundle.entry not in [index for index, _ in statements]:
        yield f"entry {bundle.entry}: it is missing"
    if bundle.claim:
        yield from _claim_problems(bundle, statements, keys, head.checkpoint)


def _entry(one: BundledEntry, keys: list[tuple[int, VerifierKey]], head: Checkpoint) -> Statement:
    """Return what an entry says, where it is signed and lies under the head; note its key."""
    envelope = read_envelope(one.envelope)
    statement = read_statement(envelope.payload)
    before = _in_force(keys, one.index) if one.index else None
    signers, after = signers_of(one.index, statement, before)
    require_signed(envelope, signers)
    if after is not before:
        keys.append((one.index, after))
    proof, leaf = [_decoded(step) for step in one.proof], leaf_hash(one.envelope.encode())
    if not verify_inclusion(one.index, head.size, leaf, proof, head.root):
        raise ValueError("it does not lie under the head")
    return statement


def _in_force(keys: Sequence[tuple[int, VerifierKey]], before: int) -> VerifierKey:
    """Return the key that signs entry `before`, and a head of that size."""
    found = [key for index, key in keys if index < before]
    if not found:
        raise ValueError("no entry before it says whose key signs")
    return found[-1]


def _file_problems(bundle: Bundle, statements: Sequence[tuple[int, Statement]]) -> Iterator[str]:
    attested = {name: sha for _, one in statements for name, sha in one.subjects.items()}
    for name in bundle.files:
        if hashlib.sha256(bundle.content(name)).hexdigest() != attested.get(FILE + name):
            yield f"{name}: it is not the file that was attested"


def _claim_problems(
    bundle: Bundle,
    statements: Sequence[tuple[int, Statement]],
    keys: Sequence[tuple[int, VerifierKey]],
    newest: Checkpoint,
) -> Iterator[str]:
    mine = [one for one in statements if one[1].facts.get("claim") == bundle.claim]
    kinds = tuple(statement.kind for _, statement in mine)
    if not kinds or kinds != OF_CLAIMS[: len(kinds)]:
        yield f"claim {bundle.claim}: it has {kinds}; expected {OF_CLAIMS}, in order"
    lacking = {
        name
        for _, statement in mine
        for name in statement.subjects
        if name.startswith(FILE) and name.removeprefix(FILE) not in bundle.files
    }
    yield from (f"{name.removeprefix(FILE)}: it was attested, and is missing" for name in lacking)

    def check_head(note: str, _registration: int) -> None:
        head, proof = read_note(note), [_decoded(step) for step in bundle.consistency]
        old = head.checkpoint
        if old.origin != newest.origin or not head.signed_by(_in_force(keys, old.size)):
            raise LedgerBroken("its head is not signed by the key in force")
        if not verify_consistency(old.size, newest.size, old.root, newest.root, proof):
            raise LedgerBroken("its head is not an earlier one of this ledger")

    results = {
        name.split("/")[1]: bundle.content(name)
        for name in bundle.files
        if name.startswith("trials/") and name.endswith("/result.json")
    }
    for problem in claim_problems(mine, check_head, results, counted=False):
        yield f"entry {problem.entry}: {problem.what}"


def _entries_of_claim(archive: Archive, ledger: Ledger, claim: str) -> list[int]:
    """Return where the ledger says what became of a claim."""
    rows = archive.query("claim_statements", claim=claim) if archive.exists() else []
    if not rows:
        raise NotFound(f"no claim {claim} in {archive.path}; `noctuary claim` lists them")
    found = [ledger.find(row["sha256"]) for row in rows]
    if None in found:
        raise NotFound(
            f"the ledger lacks an entry of claim {claim} that waits in {archive.path}; expected "
            "all of them: the next `noctuary run`, `claim` or `verify` appends it"
        )
    return [index for index in found if index is not None]


def _consistency(ledger: Ledger, statements: Sequence[Statement]) -> tuple[str, ...]:
    draws = [json.loads(one.facts["document"]) for one in statements if one.kind == "draw"]
    if not draws:
        return ()
    old = read_note(draws[0]["head"]).checkpoint.size
    return tuple(map(_encoded, ledger.consistency_proof(old)))


def _files(root: Path, names: Sequence[str]) -> dict[str, dict[Literal["text", "base64"], str]]:
    """Return the files that are there; those that are gone prove nothing."""
    found: dict[str, dict[Literal["text", "base64"], str]] = {}
    for name in sorted(set(names)):
        path = root / name
        if path.is_file():
            content = path.read_bytes()
            try:
                found[name] = {"text": content.decode()}
            except UnicodeDecodeError:
                found[name] = {"base64": _encoded(content)}
    return found


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
