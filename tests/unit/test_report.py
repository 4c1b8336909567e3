"""The account of a cycle for people: the table's formats, and the picture of the curves."""

from pathlib import Path
from typing import Any

from builders import make_human, make_trial, write_trials

from noctuary.report.curves import curves_png
from noctuary.report.cycle import leaderboard_rows

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


def test_a_cycle_without_trials_has_an_empty_picture(tmp_path: Path) -> None:
    assert curves_png([], [], tmp_path).startswith(PNG)
