"""Checks a noctuary ledger, or the proof bundle of a claim or an entry, with nothing of noctuary.

    python verify_alone.py LEDGER KEY [HEAD ...]
    python verify_alone.py BUNDLE.json KEY

LEDGER is `ledger.sqlite` or its folder; KEY is the line of `key.pub`, or a file with it, as you got
it from somebody you trust; a HEAD is a file with a signed tree head that you kept: a ledger that
does not extend it was rolled back, or is another one. Needs Python 3.11 and `cryptography`.
Exit status: 0 all holds; 1 something does not, a line each, the first wrong entry first; 2 usage.

Covers all that is signed, and what follows from it: entries, order, keys, tree, heads; of claims
the plan, the seeds, the trials, the test and the rule. Does not train anything again. Written apart
from the rest of the program, and imports none of it: a mistake there is not made here once more.
"""

import base64
import hashlib
import itertools
import json
import math
import operator
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TYPE = "application/vnd.in-toto+json"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
NODE = "SELECT hash FROM nodes WHERE level = ? AND idx = ?"
OF_CLAIMS = ["registration", "draw", "verdict"]
MOST = 20  # problems that are told: behind the first ones, the others say little


class Wrong(Exception):
    """Something is not what was signed; the message says what."""


NOT_AS_EXPECTED = (
    *(Wrong, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError),
)


def need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Wrong(otherwise)


def told(error: Exception) -> str:
    return str(error) if isinstance(error, Wrong) else f"not in the agreed form ({error!r})"


# Bytes


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def canonical(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def parsed(content: bytes) -> Any:
    value = json.loads(content)
    need(canonical(value) == content, "not written as canonical JSON")
    return value


def decoded(text: str) -> bytes:
    content = base64.b64decode(text, validate=True)
    need(base64.b64encode(content).decode() == text, "not written as canonical base64")
    return content


def has_float(value: Any) -> bool:
    within = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, float) or any(map(has_float, within))


def content_id(kind: str, value: Mapping[str, Any]) -> str:
    return sha256(canonical({"kind": kind, **value})).hex()[:16]


# Keys, and signed tree heads (C2SP signed-note and tlog-checkpoint)


class Key(NamedTuple):
    name: str
    raw: bytes

    @property
    def keyid(self) -> str:
        return sha256(self.raw).hex()

    @property
    def hash(self) -> bytes:
        return sha256(self.name.encode(), b"\n\x01", self.raw)[:4]

    def signed(self, signature: bytes, message: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature:
            return False
        return True


def read_key(text: str) -> Key:
    name, digest, encoded = text.strip().split("+", 2)
    key = Key(name, decoded(encoded)[1:])
    need(decoded(encoded)[:1] == b"\1" and key.hash.hex() == digest, "the public key is damaged")
    return key


class Head(NamedTuple):
    text: str  # what is signed, with its last newline
    origin: str
    size: int
    root: bytes
    signatures: str

    def require(self, key: Key) -> None:
        need(self.origin == key.name, f"it is of another ledger, {self.origin}")
        for line in self.signatures.split("\n"):
            if line.startswith(f"— {key.name} "):
                content = decoded(line.split(" ", 2)[2])
                if content[:4] == key.hash and key.signed(content[4:], self.text.encode()):
                    return
        raise Wrong(f"it is not signed by the key in force, {key.keyid[:16]}")


def read_head(note: str) -> Head:
    text, signatures = note.split("\n\n")
    origin, size, root = text.split("\n")
    need(str(int(size)) == size and len(decoded(root)) == 32, "it is no signed tree head")
    return Head(text + "\n", origin, int(size), decoded(root), signatures)


# The Merkle tree (RFC 9162, section 2.1)


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1", left, right)


class Tree:
    """Grows leaf by leaf, and keeps the complete subtrees only, the largest first."""

    def __init__(self) -> None:
        self.size = 0
        self.subtrees: list[tuple[int, bytes]] = []

    def add(self, entry: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Take an entry; yield level, index and hash of the subtrees that it completes."""
        level, digest = 0, sha256(b"\0", entry)
        yield level, self.size, digest
        while self.subtrees and self.subtrees[-1][0] == level:
            level, digest = level + 1, node(self.subtrees.pop()[1], digest)
            yield level, self.size >> level, digest
        self.subtrees.append((level, digest))
        self.size += 1

    def root(self) -> bytes:
        digest = self.subtrees[-1][1]
        for _, left in self.subtrees[-2::-1]:
            digest = node(left, digest)
        return digest


def split(size: int) -> int:
    return int(1 << (size - 1).bit_length() - 1)


def root_by(digest: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root of a tree of so many leaves in which a leaf lies there."""
    if size == 1:
        need(index == 0 and not proof, "the inclusion proof is not of its length")
        return digest
    need(bool(proof), "the inclusion proof is not of its length")
    half, rest, last = split(size), proof[:-1], proof[-1]
    if index < half:
        return node(root_by(digest, index, half, rest), last)
    return node(last, root_by(digest, index - half, size - half, rest))


def roots_by(old: Head, size: int, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return the roots of the old tree, and of that of the given size, as a proof tells them."""

    def both(part: int, size: int, proof: Sequence[bytes], whole: bool) -> tuple[bytes, bytes]:
        if part == size:
            need(len(proof) == (0 if whole else 1), "the consistency proof is not of its length")
            return (old.root if whole else proof[0],) * 2
        need(bool(proof), "the consistency proof is not of its length")
        half, rest, last = split(size), proof[:-1], proof[-1]
        if part <= half:
            one, two = both(part, half, rest, whole)
            return one, node(two, last)
        one, two = both(part - half, size - half, rest, False)
        return node(last, one), node(last, two)

    need(0 < old.size <= size, f"the head of size {old.size} is no earlier one")
    return both(old.size, size, proof, True)


# Entries (in-toto statements in DSSE envelopes)


class Entry(NamedTuple):
    place: int
    kind: str
    facts: dict[str, Any]
    subjects: dict[str, str]
    payload: bytes


class Account:
    """What the entries so far say: whose key signs from where on, and when the last was made."""

    def __init__(self) -> None:
        self.keys: list[tuple[int, Key]] = []
        self.time = ""

    def signer(self, before: int) -> Key:
        """Return the key that signs entry `before`, and a head of that size."""
        found = [key for start, key in self.keys if start < before]
        need(bool(found), "no entry before it says whose key signs")
        return found[-1]

    def take(self, index: int, content: bytes) -> Entry:
        envelope = parsed(content)
        payload, dressed = decoded(envelope["payload"]), envelope["signatures"]
        statement = parsed(payload)
        facts, kind = statement["predicate"], statement["predicateType"].split(":")[2]
        subjects = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}
        named = [{"digest": {"sha256": d}, "name": n} for n, d in sorted(subjects.items())]
        need(envelope["payloadType"] == TYPE, f"its payload is of type {envelope['payloadType']!r}")
        need(set(envelope) == {"payload", "payloadType", "signatures"}, "an odd envelope")
        parts = {"_type", "predicate", "predicateType", "subject"}
        need(set(statement) == parts, "an odd statement")
        need(statement["_type"] == "https://in-toto.io/Statement/v1", "it is no in-toto statement")
        need(statement["subject"] == named, "a subject is there twice, or not in order")
        need(not has_float(facts), "a number with a point is not the same in every language")
        need(bool(re.fullmatch(TIME, facts["time"], re.ASCII)), f"its time is {facts['time']!r}")
        need((kind == "ledger") == (index == 0), "the first entry alone says who begins to sign")
        signers = [] if index == 0 else [self.signer(index)]
        if kind in ("ledger", "key"):
            signers.append(read_key(facts["key"]))
            first = signers[0] if index == 0 else self.keys[0][1]
            need(signers[-1].name == f"noctuary/{first.keyid[:16]}", "its key is of another ledger")
        message = f"DSSEv1 {len(TYPE)} {TYPE} {len(payload)} ".encode() + payload
        signatures = [one["sig"] for one in dressed]
        expected = [{"keyid": k.keyid, "sig": s} for k, s in zip(signers, signatures, strict=False)]
        need(dressed == expected, "it is not signed by the key in force, and by that alone")
        need(len(dressed) == len(signers), "it is not signed by the key in force")
        for key, signature in zip(signers, signatures, strict=True):
            need(key.signed(decoded(signature), message), "its signature is not of this payload")
        if kind in ("ledger", "key"):
            self.keys.append((index or -1, signers[-1]))
        need(facts["time"] >= self.time, f"its time is before that of an earlier one, {self.time}")
        self.time = facts["time"]
        return Entry(index, kind, facts, subjects, payload)

    def require(self, pinned: Key) -> None:
        known = [key.raw for _, key in self.keys]
        need(pinned.raw in (*known[:1], *known[-1:]), f"another key than {pinned.name} signs it")


# A whole ledger


def ledger_problems(file: Path, pinned: Key, kept: Sequence[Head]) -> Iterator[str]:
    """Yield what is wrong with a ledger: the first wrong entry, then what else can be told."""
    frozen = not os.access(file.parent, os.W_OK) and not Path(f"{file}-wal").exists()
    try:
        rows = sqlite3.connect(
            f"{file.resolve().as_uri()}?mode=ro{'&immutable=1' * frozen}", uri=True
        )
        rows.text_factory = bytes
        ledger = Ledger(rows, kept)
        for index, digest, envelope in rows.execute("SELECT * FROM entries ORDER BY idx"):
            if index != ledger.tree.size:
                yield f"entry {ledger.tree.size}: it is missing; the next one there is {index}"
                return
            ledger.read(digest, envelope)
        ledger.end(pinned)
    except sqlite3.DatabaseError as error:
        yield f"the file: it cannot be read as a ledger: {error}"
        return
    problems = [*ledger.of_entries, *ledger.of_others]
    yield from problems or claim_problems(ledger.claims, ledger.check_drawn_from, None)


class Ledger:
    """A ledger as far as it was read: its tree, its heads, and what is wrong with them."""

    def __init__(self, rows: sqlite3.Connection, kept: Sequence[Head]) -> None:
        self.rows, self.kept = rows, kept
        self.account, self.tree, self.heads = Account(), Tree(), dict[int, Head]()
        self.payloads, self.claims, self.nodes = set[bytes](), list[Entry](), 0
        self.of_entries, self.of_others = list[str](), list[str]()
        self.good = self.wrong = self.newest = 0  # size up to the last good head, wrong entry, head
        for self.newest, note in rows.execute("SELECT size, note FROM heads ORDER BY size"):
            try:
                head = read_head(note.decode())
                need(head.size == self.newest > 0, f"it is one of size {head.size}")
                need(note.count(b"\n") == 5, "it has lines that have no place")
                self.heads[self.newest] = head
            except NOT_AS_EXPECTED as error:
                self.of_others.append(f"head of size {self.newest}: {told(error)}")

    def read(self, digest: bytes, envelope: bytes) -> None:
        """Take the next entry, and the heads that end with it."""
        index, before = self.tree.size, len(self.of_entries)
        try:
            entry = self.account.take(index, envelope)
            need(entry.payload not in self.payloads, "it repeats an earlier one")
            need(digest.decode() == sha256(entry.payload).hex(), "the hash beside it is another")
            self.payloads.add(entry.payload)
            self.claims += [entry] if entry.kind in OF_CLAIMS else []
        except NOT_AS_EXPECTED as error:
            self.of_entries.append(f"entry {index}: {told(error)}")
        for level, place, value in self.tree.add(envelope):
            self.nodes += 1
            if self.rows.execute(NODE, (level, place)).fetchone() != (value,):
                self.of_entries.append(f"entry {index}: the tree remembers another, level {level}")
        size = self.tree.size
        self.wrong = self.wrong if len(self.of_entries) == before else size
        own = self.heads.get(size)
        if own and self.is_signed("head", own):
            if own.root == self.tree.root():
                self.good = size
            elif self.wrong <= self.good:
                said = f"it, or one up to {index}, is not what the head of size {size} signed"
                self.of_entries.append(f"entry {self.good}: {said}")
        for head in (head for head in self.kept if head.size == size):
            if self.is_signed("kept head", head) and head.root != self.tree.root():
                self.of_others.append(f"kept head of size {size}: it is of a fork of this ledger")

    def is_signed(self, what: str, head: Head) -> bool:
        try:
            head.require(self.account.signer(head.size))
        except NOT_AS_EXPECTED as error:
            self.of_others.append(f"{what} of size {head.size}: {told(error)}")
            return False
        return True

    def end(self, pinned: Key) -> None:
        """Check what can be known only behind the last entry."""
        size = self.tree.size
        later = [head for head in self.kept if head.size > size]
        signed = [head.size for head in later if self.is_signed("kept head", head)]
        if (most := max([self.newest, *signed])) > size:
            said = f"it is missing: {most} entries were signed, and the ledger was rolled back"
            self.of_entries.append(f"entry {size}: {said}")
        if self.newest < size or size == 0:
            self.of_entries.append(f"entry {self.newest}: no signed head covers it")
        try:
            self.account.require(pinned)
        except Wrong as error:
            self.of_entries.insert(0, f"entry 0: {error}")
        if self.rows.execute("SELECT count(*) FROM nodes").fetchone() != (self.nodes,):
            self.of_others.append(f"the file: it has nodes beside the {self.nodes} of its tree")
        found = self.rows.execute("PRAGMA integrity_check(1)").fetchall()
        found += self.rows.execute("SELECT * FROM meta").fetchall()
        if found != [(b"ok",), (b"format", b"1")]:
            self.of_others.append(f"the file: it is damaged, or not of format 1: {found}")

    def check_drawn_from(self, head: Head, registration: int) -> None:
        first = self.heads[min(size for size in self.heads if size > registration)]
        need(head.text == first.text, f"it was not drawn from the head of size {first.size}")


# Claims


def claim_problems(
    entries: Sequence[Entry],
    check_drawn_from: Callable[[Head, int], None],
    files: Mapping[str, bytes] | None,
) -> Iterator[str]:
    """Yield what is wrong with the claims among the entries.

    Args:
        check_drawn_from: raises where a head is not the one to draw from after a registration.
        files: of the one claim that is here; None for a ledger, which has all claims and no file.
    """
    plans: dict[str, tuple[int, dict[str, Any]]] = {}
    seeds, decided = dict[str, list[int]](), set[str]()
    for entry in entries:
        claim = entry.facts.get("claim", "")
        try:
            said = parsed(entry.facts["document"].encode())
            if entry.kind == "registration":
                need(content_id("claim", said) == claim, "its plan is that of another claim")
                number = len(plans) + 1 if files is None else said["number"]
                check_plan(said, number, entry.subjects)
                plans[claim] = entry.place, said
            elif entry.kind == "draw":
                need(claim in plans and claim not in seeds, "not registered, or drawn before")
                place, plan = plans[claim]
                head = read_head(said["head"])
                need(place == said["entry"] < head.size <= entry.place, "its head is out of place")
                check_drawn_from(head, place)
                need(len(said["seeds"]) == plan["seeds"], "it has not as many seeds as are planned")
                seeds[claim] = drawn(plan, head, claim, said["randomness"])
                need(said["claim_id"] == claim, "it is of another claim")
                need(said["seeds"] == seeds[claim], "other seeds than those that were drawn")
            else:
                need(claim in seeds and claim not in decided, "not drawn, or decided before")
                need(said["claim_id"] == claim, "it is of another claim")
                decided.add(claim)
                check_verdict(plans[claim][1], seeds[claim], said, entry.subjects, files)
        except NOT_AS_EXPECTED as error:
            yield f"entry {entry.place}: {entry.kind} of claim {claim}: {told(error)}"


def check_plan(plan: dict[str, Any], number: int, subjects: Mapping[str, str]) -> None:
    need(plan["number"] == number, f"it is claim {number} of its lab, not {plan['number']}")
    share = plan["campaign_alpha"] / (number * (number + 1))
    need(same(plan["alpha"], share), f"its alpha is {plan['alpha']}; its share is {share}")
    for one in entrants(plan):
        source = subjects[f"file:candidates/{one['candidate_id']}.py"]
        need(source == one["source"], f"the file of {one['name']} is not that of the plan")


def entrants(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan["candidate"], *plan["baselines"]]


def drawn(plan: dict[str, Any], head: Head, claim: str, randomness: str) -> list[int]:
    need(bool(randomness) == bool(plan["beacon"]), "its randomness is not as the plan says")
    seeds: dict[int, None] = {}
    for number in itertools.count():
        text = f"noctuary seeds 1\n{head.text}{claim}\n{randomness}\n{number}"
        value = int.from_bytes(sha256(text.encode())[:8], "big")
        seeds[1_000_000 + value % (2**31 - 1_000_000)] = None
        if len(seeds) >= plan["seeds"]:
            return list(seeds)
    raise AssertionError


def planned(plan: dict[str, Any], seeds: Sequence[int]) -> dict[str, tuple[str, str, str, int]]:
    """Return trial id -> scale, candidate, task and seed of every trial of the plan."""
    found = {}
    for scale, one, seed in itertools.product(plan["suites"], entrants(plan), seeds):
        for task in plan["held_out"] + (plan["seen"] if scale == "base" else []):
            spec = {
                "candidate_id": one["candidate_id"],
                "suite": plan["suites"][scale],
                "task": task,
                "rung": plan["rung"],
                "seed": seed,
                "learning_rate": one["rates"][task],
                "trainer": plan["trainer"],
            }
            found[content_id("trial", spec)] = (scale, one["candidate_id"], task, seed)
    return found


def check_verdict(
    plan: dict[str, Any],
    seeds: Sequence[int],
    verdict: dict[str, Any],
    subjects: Mapping[str, str],
    files: Mapping[str, bytes] | None,
) -> None:
    trials, compared, wanted = verdict["trials"], verdict["comparisons"], planned(plan, seeds)
    for trial, digest in trials.items():
        need(trial in wanted, f"trial {trial} is not of the plan and its seeds")
        need(subjects[f"file:trials/{trial}/result.json"] == digest, f"{trial} is not attested")
    lacking = wanted.keys() - trials.keys()
    if files is None and verdict["status"] == "inconclusive":
        return  # maybe for a trial without a score, which only its result tells
    if files is not None:
        results = {trial: json.loads(files[f"trials/{trial}/result.json"]) for trial in trials}
        for trial, result in results.items():
            need(content_id("trial", result["spec"]) == trial, f"trial {trial} is another one")
        lacking |= {trial for trial, result in results.items() if not has_score(result)}
        scores = {wanted[trial]: results[trial]["score"] for trial in trials.keys() - lacking}
        anew = list(comparisons(plan, scores, seeds))
        need(len(anew) == len(compared), f"it makes {len(compared)} comparisons, not {len(anew)}")
        for said, found in zip(compared, anew, strict=True):
            for name, value in found.items():
                need(same(said[name], value), f"{name} is {said[name]}; by the results {value}")
    ruled = "inconclusive" if lacking else ruling(plan, compared)
    missing = f" without {len(lacking)} of {len(wanted)} trials" if lacking else ""
    need(verdict["status"] == ruled, f"{verdict['status']}{missing}; by its plan it is {ruled}")


def has_score(result: dict[str, Any]) -> bool:
    return bool(result["status"] == "ok" and 0 <= result["score"] <= 1)


def same(one: Any, two: Any) -> bool:
    numbers = isinstance(one, float) and isinstance(two, float)
    return math.isclose(one, two, rel_tol=1e-6, abs_tol=1e-9) if numbers else bool(one == two)


def ruling(plan: dict[str, Any], compared: Sequence[dict[str, Any]]) -> str:
    deciding = {(one["scale"], one["baseline"]): one for one in compared if one["decisive"]}
    pairs = itertools.product(plan["suites"], plan["baselines"])
    need(set(deciding) == {(s, one["candidate_id"]) for s, one in pairs}, "comparisons are missing")
    need(all(one["n"] == plan["seeds"] for one in deciding.values()), "comparisons lack seeds")
    highs = [one["high"] for one in deciding.values() if one["high"] is not None]
    if any(high < plan["smallest_effect"] for high in highs):
        return "refuted"
    shown = all(one["p"] <= plan["alpha"] for one in deciding.values())
    return "verified" if shown else "inconclusive"


def comparisons(
    plan: dict[str, Any], scores: Mapping[tuple[str, str, str, int], float], seeds: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Yield all comparisons, computed anew: those that decide, then those on the seen tasks."""
    asked = [(s, plan["held_out"], True) for s in ("base", "wide", "long") if s in plan["suites"]]
    level = plan["alpha"] / (len(asked) * len(plan["baselines"]))
    asked += [("base", plan["seen"], False)] if plan["seen"] else []
    for (scale, tasks, decisive), baseline in itertools.product(asked, plan["baselines"]):
        found = []
        for seed in sorted(seeds):
            mine, theirs = (
                [scores.get((scale, one["candidate_id"], task, seed)) for task in sorted(tasks)]
                for one in (plan["candidate"], baseline)
            )
            if None not in mine + theirs:
                found.append(math.fsum(map(operator.sub, mine, theirs)) / len(tasks))
        steps = [round(value * 100_000) for value in found]
        if steps:
            low, high = lowest(steps, plan["alpha"]), lowest([-step for step in steps], level)
            yield {
                "baseline": baseline["candidate_id"],
                "scale": scale,
                "tasks": tasks,
                "decisive": decisive,
                "n": len(found),
                "effect": sum(found) / len(found),
                "low": None if low is None else low / 100_000,
                "high": None if high is None else -high / 100_000,
                "p": chance(steps),
            }


def chance(steps: Sequence[int]) -> float:
    """Return the one-sided p-value of the sign-flip test of the mean, all 2^n flips counted.

    A flip leaves the sum as large where the flipped values do not sum to more than zero: as often
    as a subset of the absolute values sums to at most that of the negative ones. How many subsets
    have each sum stands in one long integer, `width` bits a sum; modulo 2^width - 1 they add up.
    """
    width = len(steps) + 1
    mask = (1 << width * (1 - sum(step for step in steps if step < 0))) - 1
    ways = 1
    for step in steps:
        ways += (ways << width * abs(step)) & mask
    return float(ways % ((1 << width) - 1) / 2 ** len(steps))


def lowest(steps: Sequence[int], level: float) -> int | None:
    """Return the smallest mean that the test does not reject; None with too few pairs."""
    if 2.0 ** -len(steps) > level:
        return None
    low, high = min(steps) - 1, max(steps)
    while high - low > 1:
        middle = (low + high) // 2
        rejected = chance([step - middle for step in steps]) <= level
        low, high = (middle, high) if rejected else (low, middle)
    return high


# A proof bundle


def bundle_problems(bundle: dict[str, Any], pinned: Key) -> Iterator[str]:
    """Yield what is wrong with a bundle: a claim with all that decides it, or one other entry."""
    account, entries, attested, head = Account(), list[Entry](), {}, read_head(bundle["head"])
    need(bundle["format"] == "noctuary/bundle/1", f"it is of format {bundle['format']!r}")
    need(bool(bundle["claim"]) == (bundle["entry"] is None), "it is of a claim and of an entry")
    for item in bundle["entries"]:
        try:
            envelope, proof = item["envelope"].encode(), [decoded(one) for one in item["proof"]]
            entry = account.take(item["index"], envelope)
            root = root_by(sha256(b"\0", envelope), entry.place, head.size, proof)
            need(root == head.root, "it is not in the tree of the head")
        except NOT_AS_EXPECTED as error:
            yield f"entry {item['index']}: {told(error)}"
        else:
            entries.append(entry)
            attested.update(entry.subjects)
    try:
        head.require(account.signer(head.size))
        account.require(pinned)
        need(read_key(bundle["key"]) == account.keys[0][1], "the key beside it is another")
    except Wrong as error:
        yield f"head of size {head.size}: {error}"
    files = {
        name: one["text"].encode() if "text" in one else decoded(one["base64"])
        for name, one in bundle["files"].items()
    }
    need(all(len(one) == 1 for one in bundle["files"].values()), "a file has two contents")
    for name, content in files.items():
        if attested.get(f"file:{name}") != sha256(content).hex():
            yield f"{name}: it is not the file that was attested"
    if not bundle["claim"]:
        need(bundle["entry"] in [entry.place for entry in entries], "its entry is missing")
        return
    mine = [entry for entry in entries if entry.facts.get("claim") == bundle["claim"]]
    if [entry.kind for entry in mine] not in [OF_CLAIMS[:n] for n in (1, 2, 3)]:
        yield f"claim {bundle['claim']}: not its registration, then its draw, then its verdict"
    for name in (name.removeprefix("file:") for entry in mine for name in entry.subjects):
        if name not in files and name.startswith(("candidates/", "trials/")):
            yield f"{name}: it was attested, and is not here"

    def check_drawn_from(head_then: Head, _registration: int) -> None:
        proof = [decoded(one) for one in bundle["consistency"]]
        head_then.require(account.signer(head_then.size))
        roots = roots_by(head_then, head.size, proof)
        need(roots == (head_then.root, head.root), "its head is not of this ledger")

    yield from claim_problems(mine, check_drawn_from, files)


def told_by(bundle: dict[str, Any]) -> str:
    """Return what a bundle says, once all in it holds."""
    payloads = [decoded(json.loads(item["envelope"])["payload"]) for item in bundle["entries"]]
    facts = [json.loads(payload)["predicate"] for payload in payloads]
    about = [json.loads(one["document"]) for one in facts if "document" in one]
    if not bundle["claim"] or not about:
        return f"entry {bundle['entry']} is in the ledger"
    plan, verdict = about[0], about[-1]
    rivals = " and ".join(one["name"] for one in plan["baselines"])
    status = f"{verdict['status']}, {verdict['reason']}" if "status" in verdict else "not decided"
    return f"claim {plan['number']}, {plan['candidate']['name']} above {rivals}: {status}"


def main(arguments: Sequence[str]) -> int:
    try:
        path, key, *kept = arguments
        pinned = read_key(Path(key).read_text("utf-8") if Path(key).is_file() else key)
        heads = [read_head(Path(one).read_text("utf-8")) for one in kept]
        file = Path(path, "ledger.sqlite") if Path(path).is_dir() else Path(path)
        need(file.is_file(), f"there is no file {file}")
    except (*NOT_AS_EXPECTED, OSError) as error:
        print(f"{told(error)}\n\n{__doc__}", file=sys.stderr)
        return 2
    said = f"{file}: all holds"
    if file.suffix == ".json":
        try:
            bundle = json.loads(file.read_bytes())
            problems = list(bundle_problems(bundle, pinned))
            said = said if problems else f"{said}: {told_by(bundle)}"
        except NOT_AS_EXPECTED as error:
            problems = [f"the bundle: {told(error)}"]
    else:
        problems = list(itertools.islice(ledger_problems(file, pinned, heads), MOST))
    print(*problems[:MOST] or [said], sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
