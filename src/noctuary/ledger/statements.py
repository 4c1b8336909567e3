"""What an entry of the ledger says: in-toto statements of our own types, as canonical bytes.

A statement holds text, whole numbers, booleans, lists and objects, and no floating point: of such
values the canonical JSON of `noctuary.canonical` is that of RFC 8785 to the byte, in every
language. What has numbers in it (a plan, a verdict) is a document: canonical JSON as one text.
Does not sign and does not keep anything.
"""

import datetime
import json
import re
from typing import Any, Literal

from pydantic import ValidationError

from noctuary.canonical import canonical_json
from noctuary.domain import Value

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"

Kind = Literal[
    "ledger",  # the first entry: who signs
    "key",  # from here on another key signs
    "stage",  # a stage of a cycle
    "evaluation",  # trials outside of any cycle
    "registration",  # a claim, with its whole plan
    "draw",  # its seeds
    "verdict",  # how it was decided
    "consent",  # what a person said
    "promotion",  # a verified design, put among the architectures
]

LARGEST = 2**53 - 1
"""Whole numbers beyond it are not the same in every language; seeds and hashes are texts."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


class Statement(Value):
    """One statement.

    Attributes:
        subjects: what it is about, name -> SHA-256 in hexadecimal: rows of the archive are named
            `<table>/<key>`, files of the lab `file:<path>`.
        facts: the predicate; `time` is in it, as `utc_text` writes it.
    """

    kind: Kind
    subjects: dict[str, str]
    facts: dict[str, Any]

    @property
    def payload(self) -> bytes:
        """The canonical bytes.

        Raises:
            ValueError: a number that is not whole, or too large, a value that is not JSON, or a
                key with characters that other languages sort in another order.
        """
        _require_exact(self.facts)
        return canonical_json(
            {
                "_type": STATEMENT_TYPE,
                "subject": [
                    {"digest": {"sha256": digest}, "name": name}
                    for name, digest in sorted(self.subjects.items())
                ],
                "predicateType": predicate_type(self.kind),
                "predicate": self.facts,
            }
        )


def predicate_type(kind: Kind) -> str:
    return f"urn:noctuary:{kind}:1"


def read_statement(payload: bytes) -> Statement:
    """Return the statement that these bytes say.

    Raises:
        ValueError: they are not the canonical bytes of a statement, with a time and digests.
    """
    try:
        found = json.loads(payload)
        statement = Statement(
            kind=found["predicateType"].removeprefix("urn:noctuary:").removesuffix(":1"),
            subjects={one["name"]: one["digest"]["sha256"] for one in found["subject"]},
            facts=found["predicate"],
        )
        again = statement.payload
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"it is no statement ({first['loc'][0]}: {first['msg']})") from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no statement ({error or type(error).__name__})") from error
    if again != payload:
        raise ValueError("it is not written as the canonical JSON of a statement")
    if not _TIME.fullmatch(str(statement.facts.get("time"))):
        raise ValueError(f"its time is {statement.facts.get('time')!r}; expected it in UTC")
    for name, digest in statement.subjects.items():
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r} is the digest of {name}; expected SHA-256")
    return statement


def utc_text(moment: datetime.datetime) -> str:
    """Return a moment as text that sorts as time does: `2026-01-31T22:00:00.000000Z`."""
    utc = moment.astimezone(datetime.UTC) if moment.tzinfo else moment
    return utc.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _require_exact(value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            # RFC 8785 sorts keys by their UTF-16
            if isinstance(key, str) and not key.isascii() and max(key) > "\uffff":
                raise ValueError(f"{key!r} names a fact; expected characters up to U+FFFF")
            _require_exact(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _require_exact(item)
    elif isinstance(value, float) or (isinstance(value, int) and abs(value) > LARGEST):
        raise ValueError(
            f"{value!r} in a statement; expected text, or a whole number up to 2^53 - 1"
        )
