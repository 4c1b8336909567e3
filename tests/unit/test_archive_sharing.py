"""The archive's file among others: held, read meanwhile, cut off, damaged, on a full disk."""

import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from builders import make_human, small_study

from noctuary.archive import Archive
from noctuary.errors import ArchiveBusy, NoSpace, UsageError


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "noctuary.duckdb", patience=30.0)


# Others


@contextmanager
def holder(path: Path, read_only: bool = False) -> Iterator["subprocess.Popen[str]"]:
    """A real other process that holds the file until its stdin closes."""
    code = textwrap.dedent(
        f"""
        import duckdb, sys
        connection = duckdb.connect({str(path)!r}, read_only={read_only})
        print("held", flush=True)
        sys.stdin.read()
        connection.close()
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout and process.stdout.readline() == "held\n"
        yield process
    finally:
        if process.poll() is None:
            process.communicate()


class Pauses:
    """A fake clock's sleep: counts, never waits, and calls back at the third time."""

    def __init__(self, at_third: object = None) -> None:
        self.taken: list[float] = []
        self.at_third = at_third

    def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        if len(self.taken) == 3 and callable(self.at_third):
            self.at_third()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_held_by_another_process_is_busy_after_patience(
    archive: Archive, read_only: bool
) -> None:
    archive.migrate()
    pauses = Pauses()
    waiting = Archive(archive.path, patience=3.0, sleep=pauses)
    with holder(archive.path, read_only) as process, pytest.raises(ArchiveBusy) as raised:
        waiting.record_candidates([make_human("retnet")])
    assert f"PID {process.pid}" in str(raised.value)
    assert "close the program" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert sum(pauses.taken) == pytest.approx(3.0)
    assert len(pauses.taken) > 5
    assert archive.candidates() == ()


def test_a_writer_elsewhere_keeps_readers_waiting_too(archive: Archive) -> None:
    archive.migrate()
    with holder(archive.path), pytest.raises(ArchiveBusy):
        Archive(archive.path, patience=1.0, sleep=Pauses()).leaderboard()


def test_a_file_released_in_time_is_written(archive: Archive) -> None:
    archive.migrate()
    with holder(archive.path) as process:
        pauses = Pauses(at_third=process.communicate)
        Archive(archive.path, patience=30.0, sleep=pauses).record_candidates([make_human("gla")])
    assert len(pauses.taken) >= 3
    assert [candidate.name for candidate in archive.candidates()] == ["gla"]


def test_a_person_hears_who_holds_the_file_and_when_it_is_free(archive: Archive) -> None:
    archive.migrate()
    heard: list[str] = []
    with holder(archive.path) as process:

        def told(who: str) -> None:
            heard.append(who)
            if who:
                process.communicate()

        waiting = Archive(archive.path, patience=600.0, sleep=Pauses(), told=told)
        waiting.record_candidates([make_human("gla")])
        waiting.record_candidates([make_human("retnet")])  # nobody waits: nothing to tell
    assert len(heard) == 2
    assert f"PID {process.pid}" in heard[0]
    assert heard[1] == ""


def test_readers_elsewhere_do_not_disturb_readers(archive: Archive) -> None:
    archive.migrate()
    with holder(archive.path, read_only=True):
        assert Archive(archive.path, patience=0.0).leaderboard() == []


def test_a_writer_killed_in_the_middle_leaves_a_whole_archive(archive: Archive) -> None:
    small_study(archive)
    before = archive.fingerprint()
    code = textwrap.dedent(
        f"""
        import duckdb, os, signal
        connection = duckdb.connect({str(archive.path)!r})
        connection.begin()
        connection.execute("DELETE FROM trials")
        connection.execute("INSERT INTO curves SELECT 'x', i, i, i FROM range(300000) t(i)")
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert archive.fingerprint() == before


def test_a_reader_queries_while_a_writer_records(archive: Archive) -> None:
    """Another process records without a pause; 60 reads here and all its writes succeed."""
    small_study(archive)
    code = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from builders import record_scores
        from noctuary.archive import Archive
        archive = Archive(Path(sys.argv[1]), patience=120)
        stop = Path(sys.argv[2])
        number = 0
        while not stop.exists():
            record_scores(archive, {("d0", "mqar", 100 + number): 0.5})
            number += 1
        print(number)
        """
    )
    stop = archive.path.parent / "stop"
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(archive.path), str(stop)],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": ":".join(sys.path)},
        text=True,
    )
    reader = Archive(archive.path, patience=120)
    lengths = []
    try:
        while len(lengths) < 60 or len(reader.trials(candidate_id="d0", task="mqar")) < 6:
            assert writer.poll() is None
            lengths.append(len(reader.leaderboard()))
    finally:
        stop.touch()
        printed, _ = writer.communicate()
    assert lengths == [11] * len(lengths)
    assert writer.returncode == 0
    written = [trial for trial in reader.trials(candidate_id="d0") if trial.spec.seed >= 100]
    assert len(written) == int(printed)


def test_threads_of_one_process_take_turns(archive: Archive) -> None:
    archive.migrate()
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            archive.record_candidates([make_human(f"h{number}")])
            archive.leaderboard()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(archive.candidates()) == 6


# Damage


@pytest.mark.parametrize("content", [b"", b"hello " * 4000, b"SQLite format 3\0" + bytes(8192)])
def test_a_file_that_is_not_duckdb_is_named(archive: Archive, content: bytes) -> None:
    archive.path.write_bytes(content)
    for operation in (archive.migrate, archive.leaderboard):
        with pytest.raises(UsageError, match="cannot be read as a DuckDB archive") as raised:
            operation()
        assert "\n" not in str(raised.value)
    assert archive.path.read_bytes() == content


@pytest.mark.parametrize("damage", ["cut", "noise"])
def test_a_damaged_archive_is_named(archive: Archive, damage: str) -> None:
    small_study(archive)
    content = bytearray(archive.path.read_bytes())
    if damage == "cut":
        content = content[:9000]
    else:
        content[12_288:] = bytes(byte ^ 0x5A for byte in content[12_288:])
    archive.path.write_bytes(content)
    with pytest.raises(UsageError, match="cannot be read as a DuckDB archive"):
        archive.fingerprint()


def test_a_full_disk_is_no_space_and_leaves_the_archive_whole(archive: Archive) -> None:
    """A limit on the size of files stands for the disk: the kernel refuses the same write."""
    small_study(archive)
    before = archive.fingerprint()
    code = textwrap.dedent(
        """
        import resource, signal, sys
        from pathlib import Path
        from builders import make_paper
        from noctuary.archive import Archive
        from noctuary.errors import NoSpace
        path = Path(sys.argv[1])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        size = path.stat().st_size
        papers = [make_paper(paper_id=str(i), account=f"{i} " * 500) for i in range(3000)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        try:
            Archive(path).record_papers(papers)
        except NoSpace as error:
            print(error)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(archive.path)],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "no space left" in done.stdout, done.stderr
    assert archive.fingerprint() == before
    assert NoSpace.exit_status == 3
