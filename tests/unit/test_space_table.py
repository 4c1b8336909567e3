"""The measured table of designs: its list, the trials of a tiny one, and the table that ships."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import duckdb
import pytest
from space_table import PARTS, SALT, Bench, export, listed_genomes
from table import COLUMNS, DATA, METRICS, PROTOCOL, TABLE, read_table

from noctuary.config import TrainingSettings
from noctuary.domain import Audit, Check
from noctuary.errors import UsageError
from noctuary.lab import Lab, read_json, write_atomically
from noctuary.sandbox.launcher import Launcher
from noctuary.space.genome import Genome
from noctuary.space.human import HUMAN
from noctuary.space.mechanisms import AXES
from noctuary.space.operators import distance
from noctuary.space.tuned import TUNED

HUMANS = [*HUMAN.values(), *(form.genome for form in TUNED)]
TINY = TrainingSettings(suite="tiny-2", device="cpu", test_salt=SALT)


# The list


def test_a_longer_list_begins_with_the_shorter_one_and_repeats_no_design() -> None:
    short, long = list(listed_genomes(40, seed=3)), list(listed_genomes(90, seed=3))
    assert long[:40] == short
    assert len({genome for _, genome in long}) == 90
    assert list(listed_genomes(90, seed=4)) != long


def test_the_list_begins_with_the_human_designs_and_then_takes_turns() -> None:
    made = list(listed_genomes(len(HUMANS) + 20, seed=0))
    assert [genome for _, genome in made[: len(HUMANS)]] == HUMANS
    assert [origin for origin, _ in made[len(HUMANS) :]] == ["draw", "near"] * 10


def test_what_is_near_a_human_design_is_nearer_than_what_is_drawn() -> None:
    away: dict[str, list[int]] = {"human": [], "draw": [], "near": []}
    for origin, genome in listed_genomes(200, seed=0):
        away[origin].append(min(distance(genome, human) for human in HUMANS))
    assert max(away["human"]) == 0
    assert 0 < fmean(away["near"]) < fmean(away["draw"]) / 2


# A tiny table


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with Launcher(2, tmp_path_factory.mktemp("launcher") / "launcher.log") as launcher:
        yield launcher


def finished(lab: Lab) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in lab.trials.glob("*/result.json")}


def test_a_run_goes_on_where_it_was_and_its_table_says_what_was_measured(
    tmp_path: Path, launcher: Launcher
) -> None:
    lab = Lab.create_or_open(tmp_path / "lab")
    Bench(lab, TINY, seed=0, listed=3).train(launcher, 1)
    before = finished(lab)
    tasks = [task.name for task in Bench(lab, TINY, seed=0, listed=3).suite.tasks]
    assert len(before) == len(tasks) * sum(len(part.seeds) for part in PARTS)

    bench = Bench(lab, TINY, seed=0, listed=3)  # as after a restart
    refused = bench.designs[1]
    verdict = Check(name="runs", passed=False, detail="it does not")
    audit = Audit(candidate_id=refused.candidate_id, suite=bench.suite.version, checks=(verdict,))
    write_atomically(lab.root / "audits" / f"{refused.candidate_id}.json", audit.model_dump_json())
    bench.train(launcher, 3)
    after = finished(lab)
    assert before.items() <= after.items()
    assert len(after) == len(before) + len(tasks)  # the third one's

    protocol = export(bench, tmp_path / "out")
    rows = table_rows(tmp_path / "out")
    assert Counter(row["number"] for row in rows) == {
        1: len(before),
        2: len(tasks),
        3: len(tasks),
    }
    assert {row["status"] for row in rows if row["number"] != 2} == {"ok"}
    for row in rows:
        ok = row["status"] == "ok"
        assert all((row[name] is not None) == ok for name in ("score", "trial_id", *METRICS))
        if ok:
            trial = read_json(lab.trials / row["trial_id"] / "result.json")
            assert (trial["score"], trial["spec"]["task"]) == (row["score"], row["task"])
        else:
            assert row["reason"] == "runs: it does not"
    assert protocol["designs"] == 3
    assert_intact(tmp_path / "out")


def test_a_lab_has_one_list(tmp_path: Path) -> None:
    lab = Lab.create_or_open(tmp_path / "lab")
    Bench(lab, TINY, seed=0, listed=3)
    with pytest.raises(UsageError, match="use another --lab"):
        Bench(lab, TINY, seed=1, listed=3)


# The table that ships


def table_rows(folder: Path) -> list[dict[str, object]]:
    found = duckdb.sql(f"FROM '{folder / TABLE}'")
    assert found.columns == list(COLUMNS)
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def assert_intact(folder: Path) -> None:
    protocol = read_json(folder / PROTOCOL)
    assert protocol["sha256"] == hashlib.sha256((folder / TABLE).read_bytes()).hexdigest()
    assert protocol["rows"] == len(table_rows(folder))


def test_the_shipped_table_is_what_its_protocol_says() -> None:
    assert_intact(DATA)
    rows, protocol = table_rows(DATA), read_json(DATA / PROTOCOL)
    numbers = {row["number"] for row in rows}
    assert numbers == set(range(1, protocol["designs"] + 1))
    assert len(numbers) >= 300
    first = Counter(
        (row["number"], row["task"]) for row in rows if (row["rung"], row["seed"]) == (0, 0)
    )
    assert set(first.values()) == {1}
    assert len(first) == 4 * len(numbers)


def test_the_shipped_designs_are_points_of_the_space_with_scores_where_all_was_well() -> None:
    for row in table_rows(DATA):
        Genome.model_validate({axis: row[axis] for axis in AXES})
        assert (row["score"] is not None) == (row["status"] == "ok")
    table = read_table(DATA)
    assert table.scores.shape == (len(table.genomes), 4)
    assert 0 <= table.scores.min() <= table.scores.max() <= 1
    assert abs(table.noise.mean()) < table.noise.std()
