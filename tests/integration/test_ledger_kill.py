"""The writer of a lab is killed a hundred times; archive, files and ledger agree each time."""

import json
import subprocess
import sys
from pathlib import Path

import ledger_process

from noctuary.lab import Lab

KILLS = 100


def test_a_hundred_kills_leave_a_ledger_that_verifies_and_agrees_with_the_archive(
    tmp_path: Path,
) -> None:
    lab = Lab.create_or_open(tmp_path / "lab")
    command = [sys.executable, ledger_process.__file__, str(lab.root), str(KILLS), "6"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    looks = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(looks) == KILLS
    assert [one["problems"] for one in looks] == [[]] * KILLS
    sizes = [one["size"] for one in looks]
    assert sizes == sorted(sizes)
    assert sizes[-1] > KILLS // 4, "the writers hardly came to write"
    assert any(one["waiting"] for one in looks), "no kill fell between the archive and the ledger"
