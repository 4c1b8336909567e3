"""Keys, envelopes, notes and statements: their formats against other programs, and who may sign."""

import base64
import json
import stat
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st
from ledgers import clock, payload

from noctuary.canonical import canonical_json
from noctuary.config import LedgerSettings
from noctuary.errors import EnvironmentRefused, LedgerBroken, UsageError
from noctuary.ledger.envelope import read_envelope, signed
from noctuary.ledger.keys import ExternalSigner, LabKey, VerifierKey, change_of_signers, signer_of
from noctuary.ledger.log import Ledger
from noctuary.ledger.notes import Checkpoint, read_note, signed_note
from noctuary.ledger.statements import LARGEST, Statement, read_statement
from noctuary.ledger.verify import verify_ledger

# Statements

keys_of_facts = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]))
exact = st.recursive(
    st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys_of_facts, inner, max_size=4),
    max_leaves=12,
)
TIME = "2026-11-25T01:00:00.000000Z"


@given(
    st.dictionaries(keys_of_facts, exact, max_size=4),
    st.dictionaries(st.text(), st.just("0" * 64)),
)
def test_a_statement_is_written_as_rfc_8785_says(
    facts: dict[str, Any], subjects: dict[str, str]
) -> None:
    statement = Statement(kind="stage", subjects=subjects, facts={**facts, "time": TIME})
    assert statement.payload == rfc8785.dumps(json.loads(statement.payload))
    assert read_statement(statement.payload) == statement


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.5, "expected text, or a whole number"),
        (float("nan"), "expected text, or a whole number"),
        (2**53, "expected text, or a whole number"),
        ({"\U0001f600": 1}, r"expected characters up to U\+FFFF"),
        ({1: 2}, "keys are strings"),
        ("\ud800", "surrogates not allowed"),
    ],
)
def test_what_languages_write_differently_is_refused(value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _ = Statement(kind="stage", subjects={}, facts={"time": TIME, "deep": [value]}).payload


def edited(edit: str, by: str) -> bytes:
    return payload(1).replace(edit.encode(), by.encode(), 1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no statement"),
        (b"\xff", "no statement"),
        (b"[" * 100_000, "no statement"),
        (b"null", "no statement"),
        (edited("{", "{ "), "canonical JSON"),
        (edited('"number":1', '"number":1,"number":1'), "canonical JSON"),
        (edited('"number":1', '"number":1.0'), "no statement"),
        (edited("noctuary:stage", "noctuary:rumour"), r"kind: Input should be 'ledger'"),
        (edited("noctuary:stage:1", "noctuary:stage:2"), "no statement"),
        (edited("Statement/v1", "Statement/v2"), "canonical JSON"),
        (edited("01:00:01.0", "01:00:1.0"), "expected it in UTC"),
        (edited('"sha256":"', '"sha256":"z'), "expected SHA-256"),
    ],
)
def test_what_is_no_statement_is_not_read(content: bytes, said: str) -> None:
    assert read_statement(payload(1)).facts["number"] == 1
    with pytest.raises(ValueError, match=said):
        read_statement(content)


# Envelopes


def test_an_envelope_is_signed_as_dsse_says() -> None:
    key = LabKey.make()
    content = signed(payload(1), [key]).text
    found = json.loads(content)
    body = base64.b64decode(found["payload"])
    message = b"DSSEv1 28 application/vnd.in-toto+json %d " % len(body) + body
    public = Ed25519PublicKey.from_public_bytes(VerifierKey.parse(key.vkey).public)
    public.verify(base64.b64decode(found["signatures"][0]["sig"]), message)
    assert body == payload(1)
    assert content.encode() == rfc8785.dumps(found)
    assert read_envelope(content).text == content


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e | {"more": 1},
        lambda e: e | {"payloadType": "text/plain"},
        lambda e: e | {"payload": e["payload"] + "\n"},
        lambda e: e | {"signatures": [{"sig": e["signatures"][0]["sig"]}]},
        lambda e: e | {"signatures": {}},
        lambda e: e | {"signatures": [e["signatures"][0] | {"sig": "!"}]},
        lambda e: [e],
    ],
)
def test_another_envelope_is_refused(change: Any) -> None:
    good = json.loads(signed(payload(1), [LabKey.make()]).text)
    read_envelope(canonical_json(good).decode())
    with pytest.raises(ValueError, match=r"envelope|payload type"):
        read_envelope(canonical_json(change(good)).decode())


def test_base64_has_one_way_to_be_written() -> None:
    content = signed(b"x", [LabKey.make()]).text
    assert '"eA=="' in content
    with pytest.raises(ValueError, match="canonical JSON"):
        read_envelope(content.replace('"eA=="', '"eB=="'))


# Public keys and notes


def test_the_key_of_the_specification_verifies_its_note() -> None:
    """The example of c2sp.org/signed-note."""
    key = VerifierKey.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = (
        b"If you think cryptography is the answer to your problem,\n"
        b"then you don't know what your problem is.\n"
    )
    signature = base64.b64decode(
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    )
    assert signature[:4] == key.hash
    assert key.verifies(signature[4:], text)
    assert not key.verifies(signature[4:], text + b"\n")


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text[:-1],
        lambda text: "x" + text,
        lambda text: text.replace("+A", "+B", 1),
        lambda text: text.replace("+", " ", 1),
        lambda text: "",
    ],
)
def test_a_damaged_public_key_is_refused(edit: Any) -> None:
    text = LabKey.make().vkey
    assert VerifierKey.parse(f" {text}\n").text == text
    with pytest.raises(ValueError, match="no public key"):
        VerifierKey.parse(edit(text))


def test_a_head_is_a_checkpoint_in_a_signed_note() -> None:
    key = LabKey.make()
    checkpoint = Checkpoint(key.public_key.name, 7, bytes(range(32)))
    note = signed_note(checkpoint, key)
    lines = note.split("\n")
    assert lines[:4] == [key.public_key.name, "7", base64.b64encode(bytes(range(32))).decode(), ""]
    dash, name, data = lines[4].split(" ")
    assert (dash, name, lines[5:]) == ("\u2014", key.public_key.name, [""])
    public = Ed25519PublicKey.from_public_bytes(key.public_key.public)
    public.verify(base64.b64decode(data)[4:], note.partition("\n\n")[0].encode() + b"\n")
    assert read_note(note).checkpoint == checkpoint
    assert read_note(note).signed_by(key.public_key)


def test_a_witness_may_sign_below_and_every_other_edit_is_refused_or_unsigned() -> None:
    key, witness = LabKey.make(), LabKey.make()
    checkpoint = Checkpoint(key.public_key.name, 7, bytes(32))
    note = signed_note(checkpoint, key)
    line = signed_note(checkpoint, witness).rpartition("\n\n")[2]
    assert read_note(note + line).signed_by(key.public_key)
    for place in range(len(note)):
        for other in ("A", "\n", " "):
            if note[place] != other:
                try:
                    changed = read_note(note[:place] + other + note[place + 1 :])
                except ValueError:
                    continue
                assert not changed.signed_by(key.public_key)


# Keys of the lab


def test_the_first_use_makes_a_key_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    with Ledger.open(folder, now=clock):
        pass
    (file,) = (folder / "keys").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = load_pem_private_key(file.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    public = VerifierKey.parse((folder / "key.pub").read_text())
    assert public.public == key.public_key().public_bytes_raw()
    assert public.name == f"noctuary/{public.keyid[:16]}"
    assert file.stem == public.keyid[:16]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    with Ledger.open(tmp_path / "ledger", now=clock):
        pass
    (file,) = (tmp_path / "ledger" / "keys").iterdir()
    file.chmod(mode)
    with pytest.raises(EnvironmentRefused, match=f"mode {mode:04o}.*chmod 600"):
        Ledger.open(tmp_path / "ledger")
    file.chmod(0o600)
    Ledger.open(tmp_path / "ledger").close()


def test_a_missing_a_damaged_and_another_key_are_named(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger", now=clock):
        pass
    (file,) = (tmp_path / "ledger" / "keys").iterdir()
    with pytest.raises(UsageError, match=r"not signed by .*signer_key"):
        Ledger.open(tmp_path / "ledger", LabKey.make())
    file.write_text("no key")
    with pytest.raises(EnvironmentRefused, match="cannot be read as a key"):
        Ledger.open(tmp_path / "ledger")
    file.unlink()
    with pytest.raises(EnvironmentRefused, match="restore it from a backup"):
        Ledger.open(tmp_path / "ledger")


def test_a_folder_that_lost_its_ledger_is_not_begun_anew(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger", now=clock) as ledger:
        path = ledger.path
    path.unlink()
    with pytest.raises(LedgerBroken, match=r"no ledger\.sqlite; expected both or neither"):
        Ledger.open(tmp_path / "ledger")


def test_a_passphrase_protects_the_key_and_its_successors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, settings = tmp_path / "ledger", LedgerSettings(passphrase_from="KEY_WORDS")
    monkeypatch.delenv("KEY_WORDS", raising=False)
    with pytest.raises(EnvironmentRefused, match="KEY_WORDS is not set"):
        signer_of(settings, folder)
    monkeypatch.setenv("KEY_WORDS", "a long night")
    with Ledger.open(folder, signer_of(settings, folder), now=clock) as ledger:
        ledger.rotate()
    assert all(b"ENCRYPTED" in file.read_bytes() for file in (folder / "keys").iterdir())
    with Ledger.open(folder, signer_of(settings, folder)) as ledger:
        assert ledger.append([payload(1)]) == (2,)
    assert verify_ledger(folder, (folder / "key.pub").read_text()).ok
    with pytest.raises(EnvironmentRefused, match="is encrypted"):
        Ledger.open(folder)
    monkeypatch.setenv("KEY_WORDS", "another night")
    with pytest.raises(EnvironmentRefused, match="and its passphrase"):
        signer_of(settings, folder)


def test_a_passphrase_that_candidates_could_see_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MKL_WORDS", "the owl flies at dusk")  # passed on to jobs, as all of MKL
    with pytest.raises(UsageError, match="candidates may see"):
        signer_of(LedgerSettings(passphrase_from="MKL_WORDS"), tmp_path / "ledger")


def test_a_passphrase_for_a_key_without_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Ledger.open(tmp_path / "ledger", now=clock):
        pass
    monkeypatch.setenv("KEY_WORDS", "a long night")
    with pytest.raises(EnvironmentRefused, match=r"is not encrypted.*openssl pkey"):
        signer_of(LedgerSettings(passphrase_from="KEY_WORDS"), tmp_path / "ledger")


# Signers outside of the lab


def signer(tmp_path: Path, tail: str = "sys.stdout.buffer.write(key.sign(message))") -> Any:
    """Return settings for a program that keeps a key of its own."""
    key = Ed25519PrivateKey.generate()
    script = tmp_path / "signer.py"
    script.write_text(
        dedent(f"""
            import sys
            from cryptography.hazmat.primitives.asymmetric import ed25519
            key = ed25519.Ed25519PrivateKey.from_private_bytes({key.private_bytes_raw()!r})
            message = sys.stdin.buffer.read()
            """)
        + tail
    )
    public = VerifierKey("anything", key.public_key().public_bytes_raw())
    return LedgerSettings(signer=(sys.executable, str(script)), signer_key=public.text)


def test_a_command_can_sign(tmp_path: Path) -> None:
    folder, settings = tmp_path / "ledger", signer(tmp_path)
    with Ledger.open(folder, signer_of(settings, folder), now=clock) as ledger:
        assert ledger.append([payload(1)]) == (1,)
        with pytest.raises(UsageError, match=r"can make no successor.*another \[ledger\] signer"):
            ledger.rotate()
        ledger.rotate(LabKey.make())
    assert len(list((folder / "keys").iterdir())) == 1, "the lab has the key that it made itself"
    with Ledger.open(folder) as ledger:
        ledger.append([payload(2)])
    assert verify_ledger(folder, settings.signer_key).ok


def test_a_key_that_signed_before_does_not_come_back(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    outside = signer_of(signer(tmp_path), folder)
    with Ledger.open(folder, outside, now=clock) as ledger:
        ledger.append([payload(1)])
        ledger.rotate(LabKey.make())
        size = ledger.size
        with pytest.raises(UsageError, match=r"has signed .* before; expected a key that never"):
            ledger.rotate(outside)
        assert ledger.size == size
    assert verify_ledger(folder, None).ok


def test_a_command_can_take_over_from_the_key_of_the_lab(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    with Ledger.open(folder, now=clock) as ledger:
        ledger.append([payload(1)])
    settings = signer(tmp_path)
    with pytest.raises(UsageError, match="noctuary ledger rotate"):
        Ledger.open(folder, signer_of(settings, folder))
    for _ in range(2):
        before, after = change_of_signers(settings, folder)
        with Ledger.open(folder, before) as ledger:
            if after is not None:
                ledger.rotate(after)
    assert after is None, "it has taken over"
    with Ledger.open(folder, signer_of(settings, folder)) as ledger:
        assert ledger.append([payload(2)]) == (3,)
    assert verify_ledger(folder, (folder / "key.pub").read_text()).ok


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        ("sys.exit('the card is locked')", r"status 1 \(the card is locked\)"),
        ("", "wrote 0 bytes"),
        ("sys.stdout.buffer.write(key.sign(message + b'x'))", "no signature of anything"),
    ],
)
def test_a_signer_that_fails_leaves_the_ledger_as_it_was(
    tmp_path: Path, tail: str, said: str
) -> None:
    folder, settings = tmp_path / "ledger", signer(tmp_path)
    with Ledger.open(folder, signer_of(settings, folder), now=clock) as ledger:
        head = ledger.head()
    script = tmp_path / "signer.py"
    script.write_text(script.read_text().rpartition("\n")[0] + "\n" + tail)
    with Ledger.open(folder, signer_of(settings, folder)) as ledger:
        with pytest.raises(EnvironmentRefused, match=said):
            ledger.append([payload(1)])
        assert ledger.head() == head
    assert verify_ledger(folder, settings.signer_key).ok


def test_a_signer_that_is_not_there_or_has_no_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentRefused, match="the signer /nowhere did not sign"):
        ExternalSigner(("/nowhere",), LabKey.make().vkey).sign(b"")
    with pytest.raises(UsageError, match=r"\[ledger\] signer_key: '' is no public key"):
        signer_of(LedgerSettings(signer=("/nowhere",)), tmp_path)
