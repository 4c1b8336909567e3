"""The commands that look into the archive: what they print, as tables and as JSON."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from builders import (
    DELTA,
    SUITE,
    make_axes,
    make_design,
    make_finding,
    make_human,
    make_outcome,
    make_trial,
    record_scores,
    small_study,
    whole_lab,
    write_trials,
)
from click.testing import CliRunner, Result

from noctuary.archive import Archive
from noctuary.errors import LabTooNew, NotALab, NotFound, UsageError
from noctuary.lab import Lab

COMMANDS = ("leaderboard", "show", "lineage", "gaps", "insights")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.create_or_open(tmp_path / "lab")


@pytest.fixture
def run(lab: Lab) -> Callable[..., Result]:
    def runs(name: str, *arguments: str) -> Result:
        command = import_module(f"noctuary.cli.{name}").command
        return CliRunner().invoke(command, [*arguments, "--lab", str(lab.root)])

    return runs


def text(result: Result) -> str:
    assert result.exception is None, result.exception
    assert result.exit_code == 0
    return result.stdout


def data(result: Result) -> Any:
    return json.loads(text(result))


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_for_itself_and_its_options(name: str) -> None:
    command = import_module(f"noctuary.cli.{name}").command
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.help
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or parameter.help  # type: ignore[attr-defined]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {"--lab", "--json"} <= options


def test_the_modules_of_the_commands_are_light() -> None:
    code = "import sys\n" + "".join(f"import noctuary.cli.{name}\n" for name in COMMANDS)
    code += (
        "print([m for m in ('duckdb', 'torch', 'rich', 'scipy', 'prefect') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


# An empty lab, and none


@pytest.mark.parametrize("made", [False, True])
@pytest.mark.parametrize("name", ["leaderboard", "gaps"])
def test_an_empty_lab_is_one_helpful_line(
    lab: Lab, run: Callable[..., Result], name: str, made: bool
) -> None:
    if made:
        Archive(lab.archive_path).migrate()
    assert text(run(name)).count("\n") == 1
    assert "noctuary run" in text(run(name))
    assert data(run(name, "--json")) == []


@pytest.mark.parametrize("name", ["show", "lineage"])
def test_an_unknown_id_is_not_found(run: Callable[..., Result], name: str) -> None:
    result = run(name, "nonsense")
    assert isinstance(result.exception, NotFound)
    assert "nonsense" in str(result.exception)
    assert result.stdout == ""


@pytest.mark.parametrize("name", ["leaderboard", "gaps"])
def test_a_folder_that_is_no_lab_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    command = import_module(f"noctuary.cli.{name}").command
    result = CliRunner().invoke(command, ["--lab", str(tmp_path)])
    assert isinstance(result.exception, NotALab)


def test_an_archive_of_a_newer_version_is_refused(lab: Lab, run: Callable[..., Result]) -> None:
    import duckdb

    Archive(lab.archive_path).migrate()
    with duckdb.connect(str(lab.archive_path)) as connection:
        connection.execute("INSERT INTO migrations VALUES (999, 'later', '2030-01-01')")
    assert isinstance(run("leaderboard").exception, LabTooNew)


# leaderboard


def test_leaderboard_ranks_and_compares(lab: Lab, run: Callable[..., Result]) -> None:
    whole_lab(Archive(lab.archive_path))
    lines = text(run("leaderboard")).splitlines()
    assert SUITE in lines[0]
    order = ["softmax_attention (reference)", "design-bbbb", "deltanet", "design-aaaa"]
    found = [next(i for i, line in enumerate(lines) if name in line) for name in order]
    assert found == sorted(found)
    best, worst = lines[found[1]], lines[found[3]]
    assert "+0.100" in best
    assert "-0.100" in worst
    assert "best human" in lines[found[2]]
    for task in ("mqar", "recall", "text"):
        assert task in "\n".join(lines[:4])


def test_leaderboard_as_json_has_full_precision(lab: Lab, run: Callable[..., Result]) -> None:
    archive = Archive(lab.archive_path)
    small_study(archive, holes=0.2)
    assert data(run("leaderboard", "--json")) == archive.leaderboard()
    assert data(run("leaderboard", "--json", "--suite", "other")) == []
    assert "suite other" in text(run("leaderboard", "--suite", "other"))


def test_leaderboard_of_the_best_only(lab: Lab, run: Callable[..., Result]) -> None:
    archive = Archive(lab.archive_path)
    whole_lab(archive)
    best = data(run("leaderboard", "--json", "--top", "2"))
    assert [row["rank"] for row in best] == [1, 2]
    assert best == archive.leaderboard()[:2]


def test_leaderboard_shows_what_is_missing_as_dashes(lab: Lab, run: Callable[..., Result]) -> None:
    record_scores(Archive(lab.archive_path), {("[red]x", "mqar", 0): None})
    shown = text(run("leaderboard"))
    assert "[red]x" in shown
    assert "-" in shown


# show


@pytest.mark.parametrize(
    ("what", "record", "expected"),
    [
        ("paper", "paper", "Parallelizing Linear Transformers"),
        ("insight", "insight", "the delta rule helps recall"),
        ("gap", "gap", "does a vector decay help recall?"),
        ("first", "candidate", "design-aaaa"),
        ("trial", "trial", "status: ok"),
        ("finding", "finding", "candidates with a vector decay"),
        ("cycle", "cycle", "design-aaaa"),
    ],
)
def test_show_each_kind_of_record(
    lab: Lab, run: Callable[..., Result], what: str, record: str, expected: str
) -> None:
    ids = whole_lab(Archive(lab.archive_path))
    assert expected in text(run("show", ids[what]))
    assert data(run("show", ids[what], "--json"))["record"] == record
    assert data(run("show", ids[what][:12], "--json"))["record"] == record


def test_show_a_design_with_its_source_audit_and_trials(
    lab: Lab, run: Callable[..., Result]
) -> None:
    ids = whole_lab(Archive(lab.archive_path))
    source = lab.candidates / f"{ids['second']}.py"
    source.write_text("# a mixer\n")
    found = data(run("show", ids["second"], "--json"))
    assert found["path"] == str(source)
    assert found["design"]["parents"] == [ids["first"], "human_deltanet"]
    assert [audit["accepted"] for audit in found["audits"]] == [True]
    assert len(found["trials"]) == 9
    assert found["standings"][0]["rank"] == 2
    shown = text(run("show", ids["second"]))
    for part in (str(source), "mutation of decay", "accepted", "causal: ok", "rank 2", "0.610"):
        assert part in shown


def test_show_takes_a_name_and_an_evidence(lab: Lab, run: Callable[..., Result]) -> None:
    ids = whole_lab(Archive(lab.archive_path))
    found = data(run("show", "deltanet", "--json"))
    assert (found["candidate_id"], found["kind"], found["design"]) == (
        "human_deltanet",
        "human",
        None,
    )
    assert data(run("show", f"finding:{ids['finding']}", "--json"))["finding_id"] == ids["finding"]


def test_a_prefix_of_several_records_is_refused_with_a_choice(
    lab: Lab, run: Callable[..., Result]
) -> None:
    whole_lab(Archive(lab.archive_path))
    result = run("show", "human_")
    assert isinstance(result.exception, NotFound)
    assert "human_deltanet" in str(result.exception)
    assert "human_softmax_attention" in str(result.exception)


def test_a_name_that_begins_another_is_itself(lab: Lab, run: Callable[..., Result]) -> None:
    archive = Archive(lab.archive_path)
    record_scores(archive, {("a", "mqar", 0): 0.5})

    archive.record_candidates(
        [make_human("x").model_copy(update={"candidate_id": i}) for i in ("abc", "abcd")]
    )
    assert data(run("show", "abc", "--json"))["candidate_id"] == "abc"


def test_a_diverged_loss_is_null_in_json(lab: Lab, run: Callable[..., Result]) -> None:
    (trial_id,) = write_trials(lab.trials, [make_trial("d", "mqar", 0, None, "diverged")])
    (lab.trials / trial_id / "curve.csv").write_text("step,loss,seconds\n1,nan,0.5\n")
    Archive(lab.archive_path).record_trials(lab.trials, [trial_id])
    assert data(run("show", trial_id, "--json"))["curve"] == [{"step": 1, "loss": None}]
    assert "it diverged" in text(run("show", trial_id))


# lineage


def test_lineage_reaches_gap_finding_paper_and_parents(
    lab: Lab, run: Callable[..., Result]
) -> None:
    archive = Archive(lab.archive_path)
    ids = whole_lab(archive)
    archive.record_gap_outcome(make_outcome(ids["gap"], statement="refuted, by a little"))
    found = data(run("lineage", ids["second"], "--json"))
    assert (found["kind"], found["candidate_id"], found["cycle"]) == ("design", ids["second"], 2)
    assert (found["gap"]["gap_id"], found["gap"]["outcome"]) == (ids["later_gap"], None)
    assert [one["finding_id"] for one in found["findings"]] == [ids["finding"]]
    assert found["gap"]["evidence_for"][0]["evidence"] == f"finding:{ids['finding']}"
    assert [one["candidate_id"] for one in found["ancestors"]] == [ids["first"], "human_deltanet"]
    assert found["standing"]["difference"] == pytest.approx(0.1)
    first = data(run("lineage", ids["first"], "--json"))
    assert first["gap"]["evidence_for"][0]["paper"]["paper_id"] == ids["paper"]
    assert first["gap"]["outcome"]["verdict"] == "refuted"
    assert [one["candidate_id"] for one in first["children"]] == [ids["second"]]
    shown = text(run("lineage", ids["second"]))
    for part in (ids["later_gap"], ids["finding"], "not answered yet", "deltanet", "+0.100"):
        assert part in shown
    shown = text(run("lineage", ids["first"]))
    for part in ("Parallelizing", "arXiv 2406.06484", "refuted, by a little", "children, 1"):
        assert part in shown


def test_lineage_of_a_human_mixer_is_what_was_made_of_it(
    lab: Lab, run: Callable[..., Result]
) -> None:
    ids = whole_lab(Archive(lab.archive_path))
    found = data(run("lineage", "deltanet", "--json"))
    assert (found["kind"], found["gap"], found["ancestors"]) == ("human", None, [])
    assert [one["candidate_id"] for one in found["children"]] == [ids["second"], ids["first"]]


def test_lineage_survives_missing_and_circular_parents(
    lab: Lab, run: Callable[..., Result]
) -> None:
    archive = Archive(lab.archive_path)
    archive.record_designs(
        [
            make_design("a", make_axes(), parents=("b", "gone")),
            make_design("b", make_axes(), parents=("a",)),
        ]
    )
    found = data(run("lineage", "a", "--json"))
    assert {one["candidate_id"]: one["kind"] for one in found["ancestors"]} == {
        "b": "design",
        "gone": "unknown",
    }
    assert [one["candidate_id"] for one in found["children"]] == ["b"]
    assert "not trained" in text(run("lineage", "a"))


def test_thirty_generations_are_thirty_lines(lab: Lab, run: Callable[..., Result]) -> None:
    archive = Archive(lab.archive_path)
    archive.record_candidates([make_human("deltanet", make_axes(**DELTA))])
    chain = ["human_deltanet", *(f"generation{number:02}" for number in range(1, 32))]
    archive.record_designs(
        [
            make_design(name, make_axes(), cycle, parents=(chain[cycle - 1],))
            for cycle, name in enumerate(chain)
            if cycle
        ]
    )
    lines = text(run("lineage", "generation31")).splitlines()
    start = next(n for n, line in enumerate(lines) if "ancestors, 31" in line)
    ancestors = lines[start + 1 :]
    assert len(ancestors) == 31
    assert "cycle 30  design-generation30" in ancestors[0]
    assert "from design-generation29" in ancestors[0]
    assert "human  deltanet" in ancestors[-1]
    assert len({len(line) - len(line.lstrip("│ ├└─")) for line in ancestors}) == 1, "one depth"


def test_of_a_wide_family_the_newest_are_listed(lab: Lab, run: Callable[..., Result]) -> None:
    archive = Archive(lab.archive_path)
    archive.record_candidates([make_human("deltanet", make_axes(**DELTA))])
    archive.record_designs(
        [
            make_design(f"child{n:02}", make_axes(), n, parents=("human_deltanet",))
            for n in range(1, 41)
        ]
    )
    shown = text(run("lineage", "deltanet", "--most", "3"))
    assert "children, the newest 3 of 40" in shown
    assert "child40" in shown and "child37" not in shown
    found = data(run("lineage", "deltanet", "--json", "--most", "3"))
    assert (len(found["children"]), found["child_count"]) == (3, 40)


def test_lineage_shows_what_the_parts_contribute(lab: Lab, run: Callable[..., Result]) -> None:
    archive = Archive(lab.archive_path)
    archive.record_designs([make_design("whole", make_axes())])
    ablated = make_finding(
        kind="ablation", subject="whole", baseline="less", statement="the gate adds 0.100"
    )
    archive.record_findings([ablated])
    assert "the gate adds 0.100" in text(run("lineage", "whole"))


def test_lineage_of_a_gap_is_refused(lab: Lab, run: Callable[..., Result]) -> None:
    ids = whole_lab(Archive(lab.archive_path))
    result = run("lineage", ids["gap"])
    assert isinstance(result.exception, UsageError)
    assert "noctuary show" in str(result.exception)


# gaps


def test_gaps_newest_first_with_what_was_tried(lab: Lab, run: Callable[..., Result]) -> None:
    ids = whole_lab(Archive(lab.archive_path))
    rows = data(run("gaps", "--json"))
    assert [row["gap_id"] for row in rows] == [ids["later_gap"], ids["gap"]]
    assert [row["designs"] for row in rows] == [1, 1]
    assert rows[0]["best_difference"] == pytest.approx(0.1)
    shown = text(run("gaps"))
    for part in ("does a vector decay help recall?", "and now?", "+0.100", "refuted if"):
        assert part in shown
