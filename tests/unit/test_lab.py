"""The lab on disk: who may work in it, and files that are whole or not there."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from noctuary.errors import LabInUse, LabTooNew, NotALab
from noctuary.journal import Journal
from noctuary.lab import SECRET_BYTES, Lab, shipped, write_atomically


def test_a_lab_is_made_once_and_opened_again(tmp_path: Path) -> None:
    made = Lab.create_or_open(tmp_path / "deep" / "lab")
    assert Lab.open(made.root).root == Lab.create_or_open(made.root).root == made.root


def test_a_lab_has_a_secret_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    one, two = (Lab.create_or_open(tmp_path / name) for name in ("one", "two"))
    assert len(bytes.fromhex(one.secret)) == SECRET_BYTES
    assert one.secret == Lab.create_or_open(one.root).secret == Lab.open(one.root).secret
    assert one.secret != two.secret
    assert (one.root / "lab.json").stat().st_mode & 0o777 == 0o600


def test_an_older_lab_gets_a_secret_when_it_is_used(tmp_path: Path) -> None:
    root = Lab.create_or_open(tmp_path / "lab").root
    (root / "lab.json").write_text('{"version": 1}\n', encoding="utf-8")
    with pytest.raises(NotALab, match="holds no secret"):
        _ = Lab.open(root).secret
    assert len(bytes.fromhex(Lab.create_or_open(root).secret)) == SECRET_BYTES
    assert (root / "lab.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mark", ["", "{}", "[]", '{"version": "x"}', "\x00"])
def test_a_damaged_mark_is_named(tmp_path: Path, mark: str) -> None:
    lab = Lab.create_or_open(tmp_path)
    (lab.root / "lab.json").write_text(mark, encoding="utf-8")
    with pytest.raises(NotALab, match=r"lab\.json"):
        Lab.open(tmp_path)


def test_a_newer_lab_is_refused(tmp_path: Path) -> None:
    lab = Lab.create_or_open(tmp_path)
    (lab.root / "lab.json").write_text('{"version": 2}', encoding="utf-8")
    with pytest.raises(LabTooNew, match="format 2"):
        Lab.open(tmp_path)


def test_a_missing_lab_and_a_foreign_folder(tmp_path: Path) -> None:
    with pytest.raises(NotALab, match="does not exist"):
        Lab.open(tmp_path / "nowhere")
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(NotALab, match="not a lab"):
        Lab.create_or_open(tmp_path)
    with pytest.raises(NotALab):
        Lab.create_or_open(tmp_path / "file")


def test_the_lock_goes_with_its_process_however_that_ends(tmp_path: Path) -> None:
    lab = Lab.create_or_open(tmp_path / "lab")
    code = (
        "import sys, time; from pathlib import Path; from noctuary.lab import Lab\n"
        "with Lab(Path(sys.argv[1])).lock():\n"
        "    print('held', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(lab.root)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LabInUse, match=str(holder.pid)), lab.lock():
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with lab.lock():
        assert (lab.root / "lock").read_text(encoding="utf-8") == str(os.getpid())


def _rewrite(path: Path) -> None:
    number = 0
    while True:
        number += 1
        write_atomically(path, f"{number}\n" * 20_000)


def test_a_killed_writer_leaves_the_old_content_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for _ in range(10):
        writer = multiprocessing.get_context("fork").Process(target=_rewrite, args=(path,))
        writer.start()
        while not path.exists():
            time.sleep(0.001)
        time.sleep(0.01)
        writer.kill()
        writer.join()
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) == 20_000
        assert len(set(lines)) == 1


def test_the_journal_leaves_out_torn_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write("first", number=1)
    with journal.path.open("ab") as handle:
        handle.write(b'{"event": "torn')
    assert [event["event"] for _, event in journal.read()] == ["first"]
    with journal.path.open("ab") as handle:
        handle.write(b"\n")
    position = journal.end()
    journal.write("second")
    assert [event["event"] for _, event in journal.read()] == ["first", "second"]
    assert [event["event"] for _, event in journal.read(position)] == ["second"]


def test_what_ships_is_found() -> None:
    assert (shipped("architectures") / "human" / "delta_net.py").exists()
    assert (shipped("data/snapshot") / "papers.json").exists()
