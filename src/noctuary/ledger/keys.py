"""Who signs: Ed25519 keys, kept by the lab or by somebody else.

Covers public keys as text (C2SP signed-note), a key in a file of the lab, and a command that signs
elsewhere. A key of the lab is as safe as the account that runs it: who reads the file (and knows
the passphrase, where there is one) signs as the lab does. Does not know what is signed.
"""

import base64
import binascii
import hashlib
import os
import re
import stat
import subprocess
from functools import cached_property
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from noctuary.config import LedgerSettings
from noctuary.errors import EnvironmentRefused, UsageError
from noctuary.lab import write_atomically
from noctuary.ledger import database
from noctuary.sandbox.layers import may_pass

ED25519 = b"\x01"
"""The algorithm's number in signed notes."""

SIGNER_SECONDS = 60.0
"""How long a signer outside may take."""

KEYS = "keys"
_VKEY = re.compile(r"([^\s+]+)\+[0-9a-f]{8}\+([A-Za-z0-9+/]+=*)")


class Signer(Protocol):
    """What signs. `vkey` is its public key as `VerifierKey` writes it, under any name."""

    @property
    def vkey(self) -> str: ...

    def sign(self, message: bytes) -> bytes: ...


class VerifierKey:
    """A public key, and the name of the log that it signs.

    Attributes:
        name: origin of the log.
        public: 32 bytes.
        keyid: SHA-256 of `public`, hexadecimal.
        hash: 4 bytes that tell keys apart in a signed note.
    """

    def __init__(self, name: str, public: bytes) -> None:
        self.name = name
        self.public = public
        self.keyid = hashlib.sha256(public).hexdigest()
        self.hash = hashlib.sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Read `<name>+<hash>+<key>`.

        Raises:
            ValueError: it is not such a text, or its hash is of another key.
        """
        parts = _VKEY.fullmatch(text.strip())
        try:
            data = base64.b64decode(parts[2], validate=True) if parts else b""
        except binascii.Error:
            data = b""
        if parts is None or data[:1] != ED25519 or len(data) != 33:
            raise ValueError(
                f"{text.strip()[:100]!r} is no public key of Ed25519; expected NAME+HASH+KEY"
            )
        key = cls(parts[1], data[1:])
        if key.text != text.strip():
            raise ValueError(
                f"{text.strip()!r} is no public key: its parts do not belong together; take it "
                "again from where it was published"
            )
        return key

    @classmethod
    def first(cls, public: bytes) -> "VerifierKey":
        """Return the key with the origin of a ledger that begins with it."""
        return cls(f"noctuary/{hashlib.sha256(public).hexdigest()[:16]}", public)

    @property
    def text(self) -> str:
        encoded = base64.b64encode(ED25519 + self.public).decode()
        return f"{self.name}+{self.hash.hex()}+{encoded}"

    @cached_property
    def _key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.public)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        try:
            self._key.verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class LabKey:
    """A key that lies in a file of the lab, encrypted where there is a passphrase."""

    def __init__(self, private: Ed25519PrivateKey, passphrase: str = "") -> None:
        self._private = private
        self._passphrase = passphrase
        self.public_key = VerifierKey.first(private.public_key().public_bytes_raw())

    @classmethod
    def make(cls, passphrase: str = "") -> "LabKey":
        return cls(Ed25519PrivateKey.generate(), passphrase)

    @classmethod
    def load(cls, path: Path, passphrase: str = "") -> "LabKey":
        """Read a key.

        Raises:
            EnvironmentRefused: it is missing, others may read it, or the passphrase is wrong.
        """
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            data = path.read_bytes()
        except OSError as error:
            raise EnvironmentRefused(
                f"{path}: {error.strerror}; expected the key that signs the ledger: restore it "
                "from a backup"
            ) from error
        if mode & 0o077:
            raise EnvironmentRefused(
                f"{path} may be read or written by others (mode {mode:04o}); expected 0600: run "
                f"`chmod 600 {path}`, and `noctuary ledger rotate` if somebody could have read it"
            )
        try:
            key = load_pem_private_key(data, passphrase.encode() or None)
        except TypeError as error:  # a passphrase without encryption, or encryption without one
            raise EnvironmentRefused(
                f"{path} is not encrypted, and [ledger] passphrase_from names a passphrase; leave "
                f"it empty, or run `openssl pkey -aes256 -in {path} -out {path}`"
                if passphrase
                else f"{path} is encrypted; expected [ledger] passphrase_from to name the "
                "environment variable with its passphrase"
            ) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise EnvironmentRefused(
                f"{path} cannot be read as a key; expected PKCS #8 PEM"
                + (" and its passphrase" if passphrase else "")
                + ": check it, or restore it from a backup"
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise EnvironmentRefused(f"{path} holds another kind of key; expected one of Ed25519")
        return cls(key, passphrase)

    def keep(self, folder: Path) -> Path:
        """Write the key into a folder, for its owner alone."""
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{self.public_key.keyid[:16]}.pem"
        kept: KeySerializationEncryption = NoEncryption()
        if self._passphrase:
            kept = BestAvailableEncryption(self._passphrase.encode())
        pem = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, kept)
        write_atomically(path, pem, mode=0o600)
        return path

    def successor(self) -> "LabKey":
        """Return a new key that is to be kept in the same way."""
        return LabKey.make(self._passphrase)

    @property
    def vkey(self) -> str:
        return self.public_key.text

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)


class ExternalSigner:
    """A command that signs: the bytes on its standard input, the signature on its output."""

    def __init__(self, command: tuple[str, ...], vkey: str) -> None:
        self._command = command
        self._key = VerifierKey.parse(vkey)

    @property
    def vkey(self) -> str:
        return self._key.text

    def sign(self, message: bytes) -> bytes:
        """Return what the command signed, verified.

        Raises:
            EnvironmentRefused: it failed, or signed with another key.
        """
        name = self._command[0]
        try:
            done = subprocess.run(
                self._command,
                input=message,
                capture_output=True,
                timeout=SIGNER_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EnvironmentRefused(
                f"the signer {name} did not sign ({error}); expected 64 bytes on its output: "
                "mend it, or [ledger] signer; nothing was appended"
            ) from error
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().partition("\n")[0][:200]
            raise EnvironmentRefused(
                f"the signer {name} ended with status {done.returncode} ({said or 'no words'}); "
                "expected 0: mend it, or [ledger] signer; nothing was appended"
            )
        if not self._key.verifies(done.stdout, message):
            raise EnvironmentRefused(
                f"the signer {name} wrote {len(done.stdout)} bytes that are no signature of "
                f"{self.vkey}; expected 64 of them: mend [ledger] signer or signer_key; nothing "
                "was appended"
            )
        return done.stdout


def signer_of(settings: LedgerSettings, folder: Path) -> Signer:
    """Return who signs a ledger by these settings.

    For a folder without a ledger, and without a signer outside, it is a new key, which
    `Ledger.open` keeps with the ledger that it makes.

    Raises:
        UsageError: the settings do not fit each other.
        EnvironmentRefused: there is no passphrase where one is named, or the key is refused.
    """
    if settings.signer:
        try:
            return ExternalSigner(settings.signer, settings.signer_key)
        except ValueError as error:
            raise UsageError(f"[ledger] signer_key: {error}") from error
    if not (folder / database.NAME).exists():
        return LabKey.make(_passphrase(settings))
    return _lab_key(settings, folder)


def change_of_signers(settings: LedgerSettings, folder: Path) -> tuple[Signer, Signer | None]:
    """Return who signs a ledger so far, and who is to by these settings.

    The second is a signer outside that takes over from the lab's own key, or None for a new key of
    the lab.

    Raises:
        UsageError, EnvironmentRefused: as `signer_of` does.
    """
    signer = signer_of(settings, folder)
    keyid = database.signing_keyid(folder / database.NAME)
    if not settings.signer or VerifierKey.parse(signer.vkey).keyid == keyid:
        return signer, None
    return _lab_key(settings, folder), signer


def _lab_key(settings: LedgerSettings, folder: Path) -> LabKey:
    """Return the key in force, which the lab has."""
    keyid = database.signing_keyid(folder / database.NAME)
    return LabKey.load(folder / KEYS / f"{keyid[:16]}.pem", _passphrase(settings))


def _passphrase(settings: LedgerSettings) -> str:
    if not settings.passphrase_from:
        return ""
    if may_pass(settings.passphrase_from):
        raise UsageError(
            f"[ledger] passphrase_from = {settings.passphrase_from!r}: candidates may see a "
            "variable of that name; expected another, like NOCTUARY_PASSPHRASE"
        )
    found = os.environ.get(settings.passphrase_from, "")
    if not found:
        raise EnvironmentRefused(
            f"{settings.passphrase_from} is not set; expected the passphrase of the ledger's key "
            "in it, as [ledger] passphrase_from says"
        )
    return found
