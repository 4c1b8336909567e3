"""The plan of a claim: from what the search holds, and never against weak baselines alone."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from searched_lab import LEVELS, RATES, searched_lab

from noctuary.archive import Archive
from noctuary.bench.suite import TINY
from noctuary.candidates import human_candidates
from noctuary.claims.planning import Proposal, plan_claim
from noctuary.config import load_settings
from noctuary.domain import Candidate
from noctuary.errors import LedgerBroken, UsageError
from noctuary.lab import Lab
from noctuary.plan import trainer_of


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    levels = {**LEVELS, "delta_net": 0.6}
    return searched_lab(tmp_path_factory.mktemp("claims") / "lab", levels)


def mixer(lab: Lab, name: str) -> Candidate:
    return human_candidates(lab, [name])[0]


def plan(lab: Lab, name: str = "delta_net", **asked: Any) -> Proposal:
    asked = {"smallest_effect": 0.15, **asked}
    settings = load_settings(lab.settings_path)
    return plan_claim(lab, Archive(lab.archive_path), settings, mixer(lab, name), **asked)


def names(proposal: Proposal) -> list[str]:
    return [one.name for one in proposal.plan.baselines]


def test_the_default_is_the_two_best_human_mixers_at_all_scales_on_all_held_out_tasks(
    lab: Lab,
) -> None:
    found = plan(lab).plan
    assert [one.name for one in found.baselines] == ["linear_attention", "gla"]
    assert found.suites == {
        "base": TINY.version,
        "wide": TINY.scaled("wide").version,
        "long": TINY.scaled("long").version,
    }
    assert found.held_out == ("recall",)
    assert found.seen == ("mqar", "parity", "text")
    assert found.rung == TINY.top
    settings = load_settings(lab.settings_path)
    assert found.trainer == trainer_of(settings.training, "portable")
    assert (found.number, found.campaign_alpha, found.alpha) == (1, 0.05, 0.025)


def test_the_rates_are_the_searchs_and_their_median_where_nobody_tuned(lab: Lab) -> None:
    for entrant in (plan(lab).plan.candidate, *plan(lab).plan.baselines):
        assert entrant.rates == {**RATES, "recall": 1e-2}
        text = (lab.candidates / f"{entrant.candidate_id}.py").read_bytes()
        assert entrant.source == hashlib.sha256(text).hexdigest()


def test_the_candidate_is_no_baseline_of_its_own(lab: Lab) -> None:
    assert names(plan(lab, "linear_attention")) == ["delta_net", "gla"]
    with pytest.raises(UsageError, match="gla is the candidate and a baseline"):
        plan(lab, "gla", against=[mixer(lab, "gla")])


def test_against_weak_baselines_alone_the_best_is_added_and_said(lab: Lab) -> None:
    proposal = plan(lab, against=[mixer(lab, "retnet"), mixer(lab, "retnet")])
    assert names(proposal) == ["retnet", "linear_attention"]
    assert proposal.notes == (
        "linear_attention is a baseline too: the best human mixer here, above all that were named",
    )


def test_the_best_one_alone_is_enough_and_so_is_a_better_one(lab: Lab) -> None:
    assert names(plan(lab, against=[mixer(lab, "linear_attention")])) == ["linear_attention"]
    assert names(plan(lab, "gla", against=[mixer(lab, "delta_net")])) == ["delta_net"]
    assert names(plan(lab, against=[mixer(lab, "softmax_attention")])) == ["softmax_attention"]


def test_the_trials_are_those_of_all_entrants_scales_tasks_and_seeds(lab: Lab) -> None:
    proposal = plan(lab)
    assert proposal.trials == 3 * (3 * 1 + 3) * proposal.plan.seeds
    assert proposal.seconds == 1.5


def test_more_seeds_may_be_asked_for(lab: Lab) -> None:
    fewest = plan(lab).plan.seeds
    assert plan(lab, seeds=fewest + 3).plan.seeds == fewest + 3
    with pytest.raises(UsageError, match=f"takes {fewest}; expected as many"):
        plan(lab, seeds=fewest - 1)


def test_a_small_effect_takes_more_seeds_than_are_drawn(lab: Lab) -> None:
    with pytest.raises(UsageError, match="--smallest-effect"):
        plan(lab, smallest_effect=0.001)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"held_out": ["mqar"]}, "it is one of the search's of tiny-2"),
        ({"held_out": ["chess"]}, "it is no task of tiny-2; expected one .*: recall"),
        ({"rung": 2}, "--rung 2: tiny-2 has the rungs 0 to 1"),
    ],
)
def test_what_cannot_be_planned_is_refused(lab: Lab, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        plan(lab, **asked)


def test_a_mixer_that_was_never_tuned_cannot_be_claimed_nor_held_against(lab: Lab) -> None:
    for asked in ({"name": "hgrn2"}, {"against": [mixer(lab, "hgrn2")]}):
        with pytest.raises(UsageError, match="hgrn2 has no learning rate for mqar, parity, text"):
            plan(lab, **asked)


def test_a_lab_without_human_mixers_has_nothing_to_claim_against(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no human mixer has a score on the last rung"):
        plan(searched_lab(tmp_path / "lab", {"delta_net": 0.6, "softmax_attention": 0.9}))


@pytest.mark.parametrize(
    ("change", "said"),
    [("+", "expected .*: restore the file"), (None, "cannot be read")],
)
def test_another_file_under_a_mixers_name_is_found(
    tmp_path: Path, change: str | None, said: str
) -> None:
    lab = searched_lab(tmp_path / "lab", {"delta_net": 0.6, "gla": 0.4})
    path = Path(mixer(lab, "delta_net").path)
    if change is None:
        path.unlink()
    else:
        path.write_text(path.read_text() + "\nmore = 1\n")
    settings, archive = load_settings(lab.settings_path), Archive(lab.archive_path)
    [known] = [one for one in archive.candidates() if one.name == "delta_net"]
    with pytest.raises(LedgerBroken, match=said):
        plan_claim(lab, archive, settings, known, smallest_effect=0.2)
