"""`noctuary evaluate`, as a user types it, on the tiny suite."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from noctuary.bench.suite import TINY
from noctuary.candidates import BASELINES
from noctuary.lab import Lab, shipped

MAIN = "from noctuary.cli import main; main()"
LEAKY = '''"""Looks at the last token."""
from torch import nn

class Mixer(nn.Module):
    def __init__(self, d_model, n_heads=2):
        super().__init__()
        self.project = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.project(x) + x[:, -1:]
'''


def noctuary(lab: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", MAIN, *arguments, "--lab", str(lab)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("evaluate") / "lab"
    Lab.create_or_open(root)
    (root / "noctuary.toml").write_text(f'[training]\nsuite = "{TINY.name}"\nseeds = 2\n')
    yield root


@pytest.fixture(scope="module")
def evaluated(lab: Path) -> dict[str, object]:
    done = noctuary(lab, "evaluate", str(HGRN2), "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


HGRN2 = shipped("architectures") / "human" / "hgrn2.py"


def results(lab: Path) -> dict[str, int]:
    return {p.parent.name: p.stat().st_mtime_ns for p in lab.glob("trials/*/result.json")}


def test_the_mixer_and_the_baselines_get_the_same(evaluated: dict[str, object]) -> None:
    mixers = evaluated["mixers"]
    assert isinstance(mixers, list)
    assert [one["candidate"]["name"] for one in mixers] == ["hgrn2", *BASELINES]
    plans = {
        tuple(sorted((t["spec"]["task"], t["spec"]["seed"]) for t in one["trials"]))
        for one in mixers
    }
    assert len(plans) == 1
    assert len(plans.pop()) == 2 * len(TINY.tasks)
    assert {t["spec"]["rung"] for one in mixers for t in one["trials"]} == {TINY.top}
    # every learning rate was tried by all, and one was taken
    assert {len(one["trial_ids"]) for one in mixers} == {
        len(TINY.tasks) * (len(TINY.learning_rates) + 2)
    }


def test_two_seeds_call_no_difference_and_say_how_many_would(
    evaluated: dict[str, object],
) -> None:
    against = evaluated["against"]
    assert isinstance(against, list)
    assert {one["name"] for one in against} == set(BASELINES)
    assert not any(one["different"] for one in against)
    assert all(one["n"] == 2 and one["low"] is None for one in against)


def test_a_second_look_trains_nothing_and_reads_as_tables(
    lab: Path, evaluated: dict[str, object]
) -> None:
    before = results(lab)
    done = noctuary(lab, "evaluate", str(HGRN2))
    assert done.returncode == 0, done.stderr
    assert results(lab) == before
    for words in ("hgrn2", "score, mean over seeds", "what it costs", "too few seeds to tell"):
        assert words in done.stdout


def test_the_first_rung_is_scored_on_a_seed_that_chose_no_rate(
    lab: Path, evaluated: dict[str, object]
) -> None:
    before = results(lab)
    done = noctuary(lab, "evaluate", str(HGRN2), "--rung", "0", "--seeds", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert before.items() <= results(lab).items(), "nothing was trained again"
    found = json.loads(done.stdout)
    assert {t["spec"]["seed"] for one in found["mixers"] for t in one["trials"]} == {1}
    board = json.loads(noctuary(lab, "leaderboard", "--json").stdout)
    assert {row["rung"] for row in board} == set(range(len(TINY.rungs)))


def test_a_mixer_that_fails_the_audit_is_refused_with_the_reason(lab: Path) -> None:
    file = lab.parent / "leaky.py"
    file.write_text(LEAKY)
    done = noctuary(lab, "evaluate", str(file))
    assert done.returncode == 1
    assert "causal" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rung", "9"), "--rung 9: tiny-2 has the rungs 0 to 1"),
        (("--seeds", "0"), "0 is not in the range"),
    ],
)
def test_wrong_options_are_one_clear_line(
    lab: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = noctuary(lab, "evaluate", str(HGRN2), *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_python_is_refused(lab: Path) -> None:
    file = lab.parent / "picture.py"
    file.write_bytes(b"\xff\xd8\xff\xe0")
    done = noctuary(lab, "evaluate", str(file))
    assert done.returncode == 2
    assert "is no Python file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_lab_in_use_is_left_alone(lab: Path) -> None:
    with Lab.open(lab).lock():
        done = noctuary(lab, "evaluate", str(HGRN2))
    assert done.returncode == 3
    assert "one at a time" in done.stderr


def test_a_text_of_ones_own_is_trained_on(tmp_path: Path) -> None:
    books = tmp_path / "books"
    books.mkdir()
    (books / "one.txt").write_text("call me anything. " * 5000)
    root = tmp_path / "lab"
    Lab.create_or_open(root)
    settings = f'[training]\nsuite = "{TINY.name}"\nseeds = 2\ntext = "{books}"\n'
    (root / "noctuary.toml").write_text(settings)
    done = noctuary(root, "evaluate", str(HGRN2), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["suite"].startswith(TINY.name)
    assert found["suite"] != TINY.version
    assert {t["spec"]["suite"] for one in found["mixers"] for t in one["trials"]} == {
        found["suite"]
    }
