"""The account of a cycle for people: the table's formats, and the picture of the curves."""

import io
from pathlib import Path
from typing import Any

from builders import make_finding, make_human, make_trial, write_trials
from matplotlib.image import imread

from noctuary.analysis.failures import Failure, Prone
from noctuary.report.curves import curves_png
from noctuary.report.cycle import MOST_ROWS, cycle_markdown, leaderboard_rows, shown
from noctuary.report.sections import (
    ablations_section,
    effects_section,
    failures_section,
    search_section,
)

PNG = b"\x89PNG\r\n"


def row(**changes: Any) -> dict[str, Any]:
    plain = {
        "rank": 2,
        "name": "delta-elu-rms",
        "kind": "design",
        "reference": False,
        "score": 0.83205,
        "difference": -0.0179,
        "low": -0.0631,
        "high": 0.0272,
        "n_seeds": 3,
        "failed": 0,
    }
    return {**plain, **changes}


def test_the_leaderboard_for_people() -> None:
    assert leaderboard_rows([row()]) == [
        {
            "rank": 2,
            "mixer": "delta-elu-rms",
            "kind": "design",
            "score": "0.8320",
            "to best human": "-0.0179",
            "95 % interval": "-0.063 to +0.027",
            "seeds": "3",
        }
    ]


def test_what_is_not_known_is_left_empty() -> None:
    nothing: dict[str, Any] = {"rank": None, "score": None, "difference": None}
    [shown] = leaderboard_rows([row(**nothing, low=None, high=None, n_seeds=2, failed=1)])
    assert (shown["score"], shown["to best human"], shown["95 % interval"]) == ("", "", "")
    assert shown["seeds"] == "2, 1 failed"


def test_a_reference_is_called_one() -> None:
    [shown] = leaderboard_rows([row(kind="human", reference=True)])
    assert shown["kind"] == "reference"


def test_curves_of_every_task_are_one_picture(tmp_path: Path) -> None:
    humans = [make_human(f"mixer{number}") for number in range(9)]
    trials = [
        make_trial(human.candidate_id, task, seed, 0.5)
        for human in humans[:-1]  # the last has not been trained
        for task in ("mqar", "text")
        for seed in (0, 1)
    ]
    trials.append(make_trial(humans[0].candidate_id, "recall", 0, None, "diverged"))
    write_trials(tmp_path, trials)
    assert curves_png(humans, trials, tmp_path).startswith(PNG)


def test_long_names_are_not_cut_off_at_the_edges_of_the_picture(tmp_path: Path) -> None:
    humans = [make_human(f"additive-vector-softmax-window-alternate-{n:013d}") for n in range(8)]
    trials = [make_trial(human.candidate_id, "mqar", 0, 0.5) for human in humans]
    trials += [make_trial(humans[0].candidate_id, task, 0, 0.5) for task in ("text", "recall")]
    write_trials(tmp_path, trials)
    pixels = imread(io.BytesIO(curves_png(humans, trials, tmp_path)))[..., :3]  # (y, x, 3)
    assert pixels.min() < 0.5
    assert (pixels[:, [0, 1, -2, -1]] == 1).all()
    assert (pixels[[0, 1, -2, -1]] == 1).all()


def test_a_cycle_without_trials_has_an_empty_picture(tmp_path: Path) -> None:
    assert curves_png([], [], tmp_path).startswith(PNG)


def test_of_a_long_board_the_best_all_humans_and_the_own_designs_are_shown() -> None:
    board = [row(rank=rank, candidate_id=f"d{rank}") for rank in range(1, 200)]
    board.append(row(rank=200, kind="human", candidate_id="human"))
    board.append(row(rank=None, candidate_id="own"))
    ids = [one["candidate_id"] for one in shown(board, {"own", "d120"})]
    assert ids == [*(f"d{rank}" for rank in range(1, MOST_ROWS + 1)), "d120", "human", "own"]


def test_effects_are_listed_largest_first_with_a_word_on_their_number() -> None:
    findings = [
        make_finding(task="all", effect=0.01, statement="small"),
        make_finding(task="all", effect=-0.3, low=-0.4, high=-0.2, statement="large"),
        make_finding(task="all", effect=0.9, low=None, high=None, statement="no interval"),
        make_finding(task="mqar", statement="of one task"),
    ]
    lines = effects_section(findings)
    assert [line for line in lines if line.startswith("- ")] == ["- large", "- small", "- None."]
    assert any("not corrected" in line and "2 intervals 2 exclude zero" in line for line in lines)
    assert "- Too few yet." in effects_section([])


def test_the_pair_that_was_asked_about_comes_first() -> None:
    kind = {"kind": "interaction", "subject": "decay=vector+output_gate=silu"}
    findings = [
        make_finding(**kind, effect=0.3, statement="found (q = 0.010)"),
        make_finding(**kind, effect=0.0, statement="asked about beforehand"),
    ]
    lines = [line for line in effects_section(findings) if line.startswith("- ")]
    assert lines == ["- Too few yet.", "- asked about beforehand", "- found (q = 0.010)"]


def test_an_ablation_is_one_line_with_its_tasks() -> None:
    kind = {"kind": "ablation", "subject": "whole", "baseline": "less", "rung": 1}
    lines = ablations_section(
        [
            make_finding(**kind, task="all", statement="`whole` scores 0.100 above `less`"),
            make_finding(**kind, task="mqar", effect=0.15),
            make_finding(**kind, task="text", effect=0.05),
        ]
    )
    assert lines[-1] == (
        "- `whole` scores 0.100 above `less`. Rung 1; by task: mqar +0.150, text +0.050."
    )
    assert "Nothing was taken apart" in ablations_section([])[-1]


def test_failures_say_how_many_why_and_what_goes_with_them() -> None:
    failed = [Failure("trained", "oom", ("one", "two"), "killed\nat 2 GB")]
    prone = [Prone("decay=vector", 12, 9, 40, 1, 0.001)]
    lines = failures_section(failed, prone, designs=4)
    assert "- training, oom: 2 of 4 designs (`one`, `two`): killed at 2 GB" in lines
    assert any("9 of 12 with it, 1 of 40 without" in line for line in lines)
    nothing = failures_section([], [], designs=4)
    assert "- None of the 4 designs of this cycle." in nothing
    assert any("No mechanism stands out" in line for line in nothing)


def test_what_was_refused_and_a_plateau_are_said() -> None:
    lines = search_section({"tried in cycle 2": 3}, "Plateau: 4 cycles.")
    assert "- tried in cycle 2: 3 ideas" in lines
    assert lines[-1] == "Plateau: 4 cycles."
    assert "- No idea was refused." in search_section({}, "")


def test_the_account_holds_every_section_in_order() -> None:
    text = cycle_markdown(
        3,
        "it won",
        "refuted",
        [row(candidate_id="d")],
        [["## A", "", "a"], ["## B"]],
        ["rule"],
        "# Gap",
    )
    parts = [
        "# Cycle 3",
        "**it won**",
        "refuted",
        "| delta-elu-rms |",
        "## A",
        "## B",
        "- rule",
        "# Gap",
    ]
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
