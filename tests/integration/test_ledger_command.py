"""`noctuary ledger` as a user meets it, and the witness outside of the lab."""

import http.server
import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from claimed_lab import DESIGN

from noctuary.archive import Archive
from noctuary.cli import main
from noctuary.config import LedgerSettings
from noctuary.errors import EnvironmentRefused
from noctuary.journal import Journal
from noctuary.lab import Lab
from noctuary.ledger.log import Ledger
from noctuary.ledger.witness import publish, publish_after_night


@pytest.fixture
def lab(original: Lab, tmp_path: Path) -> Lab:
    shutil.copytree(original.root, tmp_path / "lab")
    return Lab.open(tmp_path / "lab")


class Said:
    """What a command printed, and its exit status."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> None:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        self.status = ended.value.code
        self.out, self.err = capsys.readouterr()


# Verify


def test_verify_says_that_all_holds_and_which_head_to_keep(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    said = Said(capsys, "ledger", "verify", "--key", lab.ledger / "key.pub", "--lab", lab.root)
    assert (said.status, said.err) == (0, "")
    with Ledger.read(lab.ledger) as ledger:
        assert said.out.startswith("all 20 entries hold")
        assert said.out.rstrip() + "\n" == said.out[: said.out.index("noctuary/")] + ledger.head()


def test_verify_takes_a_lab_a_folder_and_a_file(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (lab.root, lab.ledger, lab.ledger / "ledger.sqlite"):
        said = Said(capsys, "ledger", "verify", path, "--json")
        assert said.status == 0
        assert json.loads(said.out)["ok"]
        assert "no key was given" in said.out


def test_verify_names_the_first_entry_in_one_line(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lab.candidates / f"{DESIGN}.py"
    path.write_text(path.read_text() + "# better\n")
    said = Said(capsys, "ledger", "verify", lab.root)
    assert said.status == 1
    assert len(said.err.splitlines()) == 1
    assert f"candidates/{DESIGN}.py" in said.err
    assert Said(capsys, "ledger", "verify", lab.ledger).status == 0
    found = Said(capsys, "ledger", "verify", lab.root, "--json")
    assert found.status == 1
    assert not json.loads(found.out)["ok"]


def test_verify_holds_the_ledger_against_a_head_that_was_kept(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "head.txt"
    assert Said(capsys, "ledger", "head", "--out", kept, "--lab", lab.root).status == 0
    assert Said(capsys, "ledger", "verify", lab.ledger, "--head", kept).status == 0
    shutil.rmtree(lab.ledger)
    with Ledger.open(lab.ledger):
        pass
    said = Said(capsys, "ledger", "verify", lab.ledger, "--head", kept)
    assert said.status == 1
    assert "another ledger" in said.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("verify", "--key", "nonsense"), "NAME+HASH+KEY"),
        (("show", "99"), "no entry 99"),
        (("prove", "99"), "no entry 99"),
        (("prove", "feed"), "no claim"),
        (("head", "--publish"), "[ledger] witness"),
    ],
)
def test_wrong_usage_is_one_line(
    lab: Lab, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    said = Said(capsys, "ledger", *arguments, "--lab", lab.root)
    assert said.status == 2
    assert len(said.err.strip().splitlines()) == 1
    assert words in said.err


def test_a_lab_without_a_ledger_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lab = Lab.create_or_open(tmp_path / "empty")
    for command in ("verify", "show", "head"):
        said = Said(capsys, "ledger", command, "--lab", lab.root)
        assert said.status == 2
        assert "no ledger" in said.err


# Show, prove, rotate


def test_show_lists_the_entries_and_shows_one(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    said = Said(capsys, "ledger", "show", "--lab", lab.root)
    assert said.status == 0
    assert "registration" in said.out
    rows = json.loads(Said(capsys, "ledger", "show", "--json", "--lab", lab.root).out)
    assert [row["entry"] for row in rows] == list(range(20))
    assert rows[8]["kind"] == "key"
    one = json.loads(Said(capsys, "ledger", "show", "9", "--lab", lab.root).out)
    assert one["predicate"]["claim"] == rows[9]["about"].split(",")[0]


def test_a_claim_is_proved_by_the_beginning_of_its_id_and_verified_from_the_file(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [claim, *_] = Archive(lab.archive_path).claims()
    path, key = tmp_path / "claim.json", lab.ledger / "key.pub"
    said = Said(capsys, "ledger", "prove", claim.claim_id[:10], "--out", path, "--lab", lab.root)
    assert (said.status, said.out) == (0, "")
    said = Said(capsys, "ledger", "verify", path, "--key", key)
    assert (said.status, said.out) == (0, f"the proof of claim {claim.claim_id} holds\n")
    path.write_text(path.read_text().replace('\\"score\\": 0.5', '\\"score\\": 0.6', 1))
    said = Said(capsys, "ledger", "verify", path, "--key", key, "--json")
    assert said.status == 1
    assert "result.json" in json.loads(said.out)["problems"][0]
    said = Said(capsys, "ledger", "verify", path)
    assert said.status == 2
    assert "--key" in said.err


def test_an_entry_is_proved_on_standard_output(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    said = Said(capsys, "ledger", "prove", "6", "--lab", lab.root)
    assert json.loads(said.out)["entry"] == 6


def test_rotate_makes_a_key_that_signs_from_then_on(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set((lab.ledger / "keys").iterdir())
    said = Said(capsys, "ledger", "rotate", "--lab", lab.root)
    assert said.status == 0
    [made] = set((lab.ledger / "keys").iterdir()) - before
    assert made.stat().st_mode & 0o777 == 0o600
    key = said.out.split()[-1]
    again = Said(capsys, "ledger", "verify", lab.root, "--key", key)
    assert again.status == 0, again.err
    assert again.out.startswith("all 21 entries hold")


# The witness


class Witness(http.server.BaseHTTPRequestHandler):
    """Keeps what it is sent, and answers as it is told to."""

    received: list[bytes]
    status = 200
    drips = False

    def do_POST(self) -> None:
        self.received.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(self.status)
        self.end_headers()
        if self.drips:
            for _ in range(100):
                self.wfile.write(b".")
                self.wfile.flush()
                time.sleep(0.05)
        self.wfile.write(b"seen\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def witness() -> Iterator[tuple[type[Witness], str]]:
    kind = type("Own", (Witness,), {"received": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield kind, f"http://127.0.0.1:{server.server_address[1]}/add-checkpoint"
    finally:
        server.shutdown()
        server.server_close()


def test_a_witness_is_sent_the_head_and_its_answer_is_kept(
    lab: Lab, witness: tuple[type[Witness], str], capsys: pytest.CaptureFixture[str]
) -> None:
    kind, address = witness
    lab.settings_path.write_text(f'[ledger]\nwitness = "{address}"\n')
    said = Said(capsys, "ledger", "head", "--publish", "--lab", lab.root)
    assert said.status == 0, said.err
    with Ledger.read(lab.ledger) as ledger:
        assert said.out == ledger.head() == kind.received[0].decode()
    kept = lab.ledger / "witnessed"
    assert (kept / "20.answer").read_text() == "seen\n"
    assert (kept / "20.head").read_text() == said.out
    again = Said(capsys, "ledger", "verify", lab.root, "--head", kept / "20.head")
    assert again.status == 0


def test_a_witness_that_fails_is_one_line_and_fails_no_night(
    lab: Lab, witness: tuple[type[Witness], str]
) -> None:
    kind, address = witness
    kind.status = 503
    with pytest.raises(EnvironmentRefused, match="503"):
        publish(lab.ledger, address)
    kind.status, kind.drips = 200, True
    with pytest.raises(EnvironmentRefused, match="not done"):
        publish(lab.ledger, address, patience=0.2)
    with pytest.raises(EnvironmentRefused, match="http address"):
        publish(lab.ledger, "ftp://witness")
    assert not (lab.ledger / "witnessed").exists()
    journal = Journal(lab.journal_path)
    publish_after_night(lab, LedgerSettings(witness="http://127.0.0.1:9/"), journal)
    [event] = [event for _, event in journal.read()]
    assert event["event"] == "head not witnessed"
    assert "127.0.0.1:9" in event["reason"]


def test_after_a_night_only_a_lab_with_a_witness_calls_out(
    lab: Lab, witness: tuple[type[Witness], str]
) -> None:
    kind, address = witness
    journal = Journal(lab.journal_path)
    publish_after_night(lab, LedgerSettings(), journal)
    assert list(journal.read()) == kind.received == []
    publish_after_night(lab, LedgerSettings(witness=address), journal)
    assert len(kind.received) == 1
    [event] = [event for _, event in journal.read()]
    assert event["answer"] == "ledger/witnessed/20.answer"
