"""Signed tree heads: C2SP checkpoints as signed notes, so that a witness can read them.

Covers the text and its signatures; the tree is in `merkle`. Source: c2sp.org/tlog-checkpoint and
c2sp.org/signed-note.
"""

import base64
import re
from typing import NamedTuple

from noctuary.ledger.keys import Signer, VerifierKey

_LINE = re.compile(r"\u2014 ([^\s+]+) ([A-Za-z0-9+/]+=*)")


class Checkpoint(NamedTuple):
    """What a head says: the log, how many entries, and the root over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


class NoteSignature(NamedTuple):
    """A line below a note: whose it is, and its 4 bytes of key hash and 64 of signature."""

    name: str
    data: bytes

    @property
    def text(self) -> str:
        return f"\u2014 {self.name} {base64.b64encode(self.data).decode()}\n"


class Note(NamedTuple):
    """A checkpoint with its signatures: ours, and those that witnesses have added."""

    checkpoint: Checkpoint
    signatures: tuple[NoteSignature, ...]

    @property
    def text(self) -> str:
        return self.checkpoint.text + "\n" + "".join(one.text for one in self.signatures)

    def signed_by(self, key: VerifierKey) -> bool:
        """Return whether one of the signatures is of this key, under its name."""
        message = self.checkpoint.text.encode()
        return any(
            one.name == key.name
            and one.data[:4] == key.hash
            and key.verifies(one.data[4:], message)
            for one in self.signatures
        )


def signed_note(checkpoint: Checkpoint, signer: Signer) -> str:
    """Return the checkpoint as a note that is signed in the name of its origin."""
    key = VerifierKey(checkpoint.origin, VerifierKey.parse(signer.vkey).public)
    data = key.hash + signer.sign(checkpoint.text.encode())
    return Note(checkpoint, (NoteSignature(key.name, data),)).text


def read_note(text: str) -> Note:
    """Return what the note holds.

    Raises:
        ValueError: it is no checkpoint in a signed note, or not written as these are.
    """
    try:
        head, _, below = text.partition("\n\n")
        origin, size, root = head.split("\n")
        checkpoint = Checkpoint(origin, int(size), base64.b64decode(root, validate=True))
        lines = [_LINE.fullmatch(line) for line in below.removesuffix("\n").split("\n")]
        note = Note(
            checkpoint,
            tuple(
                NoteSignature(line[1], base64.b64decode(line[2], validate=True))
                for line in lines
                if line
            ),
        )
    except ValueError as error:
        raise ValueError(f"it is no checkpoint in a signed note ({error})") from error
    if note.text != text or len(checkpoint.root) != 32 or not note.signatures:
        raise ValueError("it is not written as a checkpoint in a signed note is")
    return note
