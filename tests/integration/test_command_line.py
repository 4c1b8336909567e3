"""The command line as a user meets it: bad input, exit statuses, and what it must not import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from noctuary.archive import Archive
from noctuary.cli import COMMANDS
from noctuary.lab import Lab

COMMAND = [sys.executable, "-c", "from noctuary.cli import main; main()"]


def noctuary(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


def one_line(done: "subprocess.CompletedProcess[str]") -> str:
    """Return the only line of an error; nothing else may be said."""
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_stands_in_the_readme(name: str) -> None:
    done = noctuary(name, "--help")
    assert done.returncode == 0
    assert f"noctuary {name}" in done.stdout
    readme = Path(__file__).parents[2] / "README.md"
    assert f"noctuary {name}" in readme.read_text(encoding="utf-8")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, noctuary.cli\n"
        "from click.testing import CliRunner\n"
        "CliRunner().invoke(noctuary.cli.group, ['--help'])\n"
        "heavy = {'torch', 'prefect', 'lightning', 'duckdb', 'numpy', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_budget_that_is_no_duration(tmp_path: Path) -> None:
    done = noctuary("run", "--budget", "soon", "--lab", str(tmp_path / "lab"))
    assert done.returncode == 2
    assert "'soon'" in one_line(done)
    assert "30m" in one_line(done)


def test_unknown_settings_are_all_named(tmp_path: Path) -> None:
    lab = Lab.create_or_open(tmp_path / "lab")
    lab.settings_path.write_text("[training]\nsedes = 3\n[serch]\nx = 1\n", encoding="utf-8")
    done = noctuary("run", "--lab", str(lab.root))
    assert done.returncode == 2
    assert "sedes" in one_line(done)
    assert "serch" in one_line(done)
    assert "seeds" in one_line(done), "the known keys are named"


def test_an_unknown_suite(tmp_path: Path) -> None:
    lab = Lab.create_or_open(tmp_path / "lab")
    lab.settings_path.write_text('[training]\nsuite = "gold"\n', encoding="utf-8")
    done = noctuary("run", "--lab", str(lab.root))
    assert done.returncode == 2
    assert "standard-2" in one_line(done)


def test_a_folder_that_is_no_lab_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    for arguments in (["run"], ["leaderboard"], ["gaps"], ["rerun", "1"]):
        done = noctuary(*arguments, "--lab", str(tmp_path))
        assert done.returncode == 2
        assert str(tmp_path) in one_line(done)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_lab_of_a_newer_noctuary(tmp_path: Path) -> None:
    lab = Lab.create_or_open(tmp_path / "lab")
    (lab.root / "lab.json").write_text('{"version": 99}', encoding="utf-8")
    done = noctuary("run", "--lab", str(lab.root))
    assert done.returncode == 2
    assert "99" in one_line(done)
    assert "update" in one_line(done)


def test_a_lab_in_use(tmp_path: Path) -> None:
    lab = Lab.create_or_open(tmp_path / "lab")
    with lab.lock():
        done = noctuary("run", "--lab", str(lab.root))
    assert done.returncode == 3
    assert str(os.getpid()) in one_line(done)


def test_an_archive_that_another_process_holds(tmp_path: Path) -> None:
    lab = Lab.create_or_open(tmp_path / "lab")
    Archive(lab.archive_path).migrate()
    lab.settings_path.write_text('[archive]\npatience = "1s"\n', encoding="utf-8")
    holder = duckdb.connect(str(lab.archive_path))
    try:
        # no server is needed to get as far as the archive: the flow process fails before
        done = noctuary("gaps", "--lab", str(lab.root))
    finally:
        holder.close()
    assert done.returncode == 3
    assert str(os.getpid()) in one_line(done)
    assert noctuary("gaps", "--lab", str(lab.root)).returncode == 0


def test_json_is_all_there_is_on_stdout(tmp_path: Path) -> None:
    lab = Lab.create_or_open(tmp_path / "lab")
    Archive(lab.archive_path).migrate()
    for name in ("leaderboard", "gaps", "doctor"):
        done = noctuary(name, "--json", "--lab", str(lab.root))
        assert done.returncode == 0, done.stderr
        json.loads(done.stdout)


def test_a_wrong_option_shows_the_usage() -> None:
    done = noctuary("run", "--cycles", "0")
    assert done.returncode == 2
    assert "--cycles" in done.stderr
