"""What an entry of the ledger says: in-toto statements of our own types, as canonical bytes.

A statement holds text, whole numbers, booleans, lists and objects, and no floating point: of such
values the canonical JSON of `noctuary.canonical` is that of RFC 8785 to the byte, in every
language. What has numbers in it (a plan, a verdict) is a document: canonical JSON as one text.
Does not sign and does not keep anything.
"""

import datetime
from collections.abc import Mapping
from typing import Any, Literal

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
            ValueError: a number that is not whole, or too large, or a value that is not JSON.
        """
        _require_exact(self.facts)
        return canonical_json(
            {
                "_type": STATEMENT_TYPE,
                "subject": [
                    {"digest": {"sha256": digest}, "name": name}
                    for name, digest in sorted(self.subjects.items())
                ],
                "predicateType": f"urn:noctuary:{self.kind}:1",
                "predicate": self.facts,
            }
        )


def utc_text(moment: datetime.datetime) -> str:
    """Return a moment as text that sorts as time does: `2026-01-31T22:00:00.000000Z`."""
    utc = moment.astimezone(datetime.UTC) if moment.tzinfo else moment
    return utc.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _require_exact(value: Any) -> None:
    if isinstance(value, Mapping):
        for item in value.values():
            _require_exact(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _require_exact(item)
    elif isinstance(value, float) or (isinstance(value, int) and abs(value) > LARGEST):
        raise ValueError(
            f"{value!r} in a statement; expected text, or a whole number up to 2^53 - 1"
        )
