"""DSSE: a payload with its signatures, as one canonical text.

Covers the format alone; whose signature it must be, the verifier decides.
Source: the DSSE protocol, v1.0.2 (github.com/secure-systems-lab/dsse).
"""

import base64
import json
from collections.abc import Sequence
from typing import NamedTuple

from noctuary.canonical import canonical_json
from noctuary.ledger.keys import Signer, VerifierKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"


class Signature(NamedTuple):
    """One signature; `keyid` as in `VerifierKey`."""

    keyid: str
    sig: bytes


class Envelope(NamedTuple):
    """A signed payload."""

    payload: bytes
    signatures: tuple[Signature, ...]

    @property
    def text(self) -> str:
        """The canonical JSON, whose bytes are a leaf of the tree."""
        return canonical_json(
            {
                "payload": base64.b64encode(self.payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [
                    {"keyid": keyid, "sig": base64.b64encode(sig).decode()}
                    for keyid, sig in self.signatures
                ],
            }
        ).decode()

    def signed_by(self, keys: Sequence[VerifierKey]) -> bool:
        """Return whether exactly these keys signed, in this order."""
        message = encoding(self.payload)
        return len(keys) == len(self.signatures) and all(
            one.keyid == key.keyid and key.verifies(one.sig, message)
            for one, key in zip(self.signatures, keys, strict=True)
        )


def encoding(payload: bytes) -> bytes:
    """Return the bytes that are signed, DSSE's pre-authentication encoding."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def signed(payload: bytes, signers: Sequence[Signer]) -> Envelope:
    """Return the payload, signed by each in turn."""
    message = encoding(payload)
    return Envelope(
        payload,
        tuple(Signature(VerifierKey.parse(s.vkey).keyid, s.sign(message)) for s in signers),
    )


def read_envelope(text: str) -> Envelope:
    """Return what the text holds.

    Raises:
        ValueError: it is not the canonical text of an envelope, or of another payload type.
    """
    try:
        found = json.loads(text)
        envelope = Envelope(
            base64.b64decode(found["payload"], validate=True),
            tuple(
                Signature(one["keyid"], base64.b64decode(one["sig"], validate=True))
                for one in found["signatures"]
            ),
        )
        kind, again = found["payloadType"], envelope.text
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no DSSE envelope ({error or type(error).__name__})") from error
    if kind != PAYLOAD_TYPE:
        raise ValueError(f"its payload type is {kind!r}; expected {PAYLOAD_TYPE!r}")
    if again != text:
        raise ValueError("its envelope is not written as canonical JSON")
    return envelope
