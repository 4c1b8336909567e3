"""Verified, refuted, inconclusive: what the rule says of scores, and what never verifies."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from noctuary.claims.decision import ClaimScores, decide, planned_scores
from noctuary.domain import ClaimVerdict, Entrant, Plan, Scale

SEEDS = tuple(range(1_000_000, 1_000_012))
HELD_OUT = ("recall", "s3")


def make_plan(**changes: Any) -> Plan:
    def entrant(name: str) -> Entrant:
        rates = dict.fromkeys((*HELD_OUT, "mqar"), 5e-3)
        return Entrant(candidate_id=f"id_{name}", name=name, source="0" * 64, rates=rates)

    content: dict[str, Any] = {
        "number": 1,
        "candidate": entrant("new"),
        "baselines": (entrant("gla"), entrant("delta")),
        "suites": {"base": "tiny-2-1", "wide": "tiny-2-wide-1", "long": "tiny-2-long-1"},
        "held_out": HELD_OUT,
        "seen": ("mqar",),
        "rung": 1,
        "trainer": "lightning-3-portable",
        "seeds": len(SEEDS),
        "smallest_effect": 0.02,
        "spread": 0.03,
        "spread_from": "a test",
        "power": 0.8,
        "campaign_alpha": 0.05,
        "alpha": 0.025,
    }
    return Plan.model_validate({**content, **changes})


Scores = dict[tuple[Scale, str], dict[tuple[str, int], float]]


def make_scores(
    plan: Plan, above: Callable[[Scale, str], float] = lambda _scale, _who: 0.1, noise: float = 0.01
) -> Scores:
    """Return all planned scores: the candidate's at a half, the baselines' so much below."""
    rng = np.random.default_rng(3)
    found: Scores = {}
    for (scale, who), keys in planned_scores(plan, SEEDS).items():
        mean = 0.5 - (0 if who == "id_new" else above(scale, who))
        found[scale, who] = {key: mean + float(rng.normal(0, noise)) for key in sorted(keys)}
    return found


def verdict_on(
    scores: ClaimScores, plan: Plan | None = None, seeds: tuple[int, ...] = SEEDS
) -> ClaimVerdict:
    return decide(plan or make_plan(), scores, {"trial": "ab"}, (), seeds)


def test_above_every_baseline_at_every_scale_is_verified() -> None:
    plan = make_plan()
    verdict = verdict_on(make_scores(plan))
    assert verdict.status == "verified"
    assert verdict.claim_id == plan.claim_id
    assert verdict.trials == {"trial": "ab"}
    decisive = [each for each in verdict.comparisons if each.decisive]
    assert [(each.scale, each.baseline) for each in decisive] == [
        (scale, who) for scale in ("base", "wide", "long") for who in ("id_gla", "id_delta")
    ]
    for each in decisive:
        assert each.tasks == HELD_OUT
        assert each.n == len(SEEDS)
        assert each.p == 2.0**-12
        assert each.low is not None
        assert each.high is not None
        assert 0 < each.low < each.effect < each.high
        assert each.effect == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("scale", ["base", "wide", "long"])
@pytest.mark.parametrize("who", ["id_gla", "id_delta"])
def test_one_comparison_without_an_effect_refutes_it(scale: Scale, who: str) -> None:
    plan = make_plan()
    scores = make_scores(plan, lambda s, w: 0.0 if (s, w) == (scale, who) else 0.1)
    verdict = verdict_on(scores)
    assert verdict.status == "refuted"
    assert f"against {who.removeprefix('id_')} at {scale}" in verdict.reason
    assert "an effect of 0.02 is not there" in verdict.reason


def test_a_mixer_against_itself_is_refuted() -> None:
    verdict = verdict_on(make_scores(make_plan(), lambda _scale, _who: 0.0, noise=0.0))
    assert verdict.status == "refuted"
    assert {each.p for each in verdict.comparisons} == {1.0}


def test_what_is_neither_shown_nor_excluded_is_inconclusive() -> None:
    verdict = verdict_on(make_scores(make_plan(), lambda _scale, _who: 0.01, noise=0.08))
    assert verdict.status == "inconclusive"
    assert "not shown" in verdict.reason
    assert "0.02 is not excluded" in verdict.reason


def test_what_is_shown_to_be_too_small_to_matter_is_no_discovery() -> None:
    verdict = verdict_on(make_scores(make_plan(), lambda _scale, _who: 0.004, noise=0.001))
    assert all(each.p <= 0.025 for each in verdict.comparisons)
    assert verdict.status == "refuted"


def test_the_bounds_say_what_the_verdict_says() -> None:
    for above in (-0.02, 0.0, 0.01, 0.015, 0.02, 0.03, 0.05):
        plan = make_plan()
        for noise in (0.001, 0.02, 0.05):
            verdict = verdict_on(make_scores(plan, lambda _s, _w, above=above: above, noise=noise))
            decisive = [each for each in verdict.comparisons if each.decisive]
            refuted = any(e.high is not None and e.high < 0.02 for e in decisive)
            shown = all(e.low is not None and e.low > 0 for e in decisive)
            expected = "refuted" if refuted else "verified" if shown else "inconclusive"
            assert verdict.status == expected


def test_the_seen_tasks_are_reported_and_decide_nothing() -> None:
    plan = make_plan()
    scores = make_scores(plan)
    for seed in SEEDS:
        scores["base", "id_new"]["mqar", seed] = 0.0
    verdict = verdict_on(scores)
    seen = [each for each in verdict.comparisons if not each.decisive]
    assert verdict.status == "verified"
    assert [(each.scale, each.tasks) for each in seen] == [("base", ("mqar",))] * 2
    assert all(each.effect < -0.3 for each in seen)


def test_few_seeds_have_no_bounds_and_show_nothing() -> None:
    plan, seeds = make_plan(seeds=3), SEEDS[:3]
    scores = {
        where: {key: score for key, score in found.items() if key[1] in seeds}
        for where, found in make_scores(plan).items()
    }
    verdict = verdict_on(scores, plan, seeds)
    assert verdict.status == "inconclusive"
    assert {(each.low, each.high) for each in verdict.comparisons} == {(None, None)}


def _without_one(scores: Scores) -> None:
    del scores["wide", "id_new"]["s3", SEEDS[4]]


def _not_a_number(scores: Scores) -> None:
    scores["wide", "id_new"]["s3", SEEDS[4]] = float("nan")


def _one_more_seed(scores: Scores) -> None:
    scores["base", "id_gla"]["s3", 1_000_099] = 0.1


def _a_foreign_mixer(scores: Scores) -> None:
    scores["base", "id_other"] = {("s3", SEEDS[0]): 0.1}


def _a_task_that_is_not_planned(scores: Scores) -> None:
    scores["long", "id_new"]["mqar", SEEDS[0]] = 0.9


def _nothing_at_a_scale(scores: Scores) -> None:
    del scores["long", "id_delta"]


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (_without_one, "no score of new on s3 at wide, seed 1000004"),
        (_not_a_number, "no score of new on s3 at wide, seed 1000004"),
        (_one_more_seed, "a score of gla on s3 at base, seed 1000099, which is not planned"),
        (_a_foreign_mixer, "a score of id_other on s3 at base, seed 1000000"),
        (_a_task_that_is_not_planned, "a score of new on mqar at long, seed 1000000"),
        (_nothing_at_a_scale, "no score of delta on recall at long, seed 1000000 (and 23 more)"),
    ],
)
def test_what_is_not_as_planned_is_never_verified(
    tamper: Callable[[Scores], None], said: str
) -> None:
    scores = make_scores(make_plan())
    tamper(scores)
    verdict = verdict_on(scores)
    assert verdict.status == "inconclusive"
    assert said in verdict.reason


def test_fewer_seeds_than_planned_are_never_enough() -> None:
    scores = {
        where: {key: score for key, score in found.items() if key[1] != SEEDS[-1]}
        for where, found in make_scores(make_plan()).items()
    }
    verdict = verdict_on(scores, seeds=SEEDS[:-1])
    assert verdict.status == "inconclusive"
    assert "11 seeds; the plan has 12" in verdict.reason


def test_the_same_seed_twice_is_one() -> None:
    verdict = verdict_on(make_scores(make_plan()), seeds=(*SEEDS[:-1], SEEDS[0]))
    assert verdict.status == "inconclusive"
    assert "11 seeds" in verdict.reason


def test_other_seeds_than_drawn_are_named() -> None:
    drawn = tuple(seed + 500 for seed in SEEDS)
    verdict = verdict_on(make_scores(make_plan()), seeds=drawn)
    assert verdict.status == "inconclusive"
    assert "seed 1000500" in verdict.reason


def test_a_failed_trial_is_named_with_its_reason() -> None:
    scores = make_scores(make_plan())
    _without_one(scores)
    failed = ("new on s3 at wide, seed 1000004: oom: more than 4096 MB",)
    verdict = decide(make_plan(), scores, {}, failed, SEEDS)
    assert verdict.status == "inconclusive"
    assert verdict.reason.startswith("not as planned: new on s3 at wide, seed 1000004: oom")
    wide = [each for each in verdict.comparisons if each.scale == "wide"]
    assert [each.n for each in wide] == [11, 11]  # what there is, is shown


def test_the_order_of_scores_and_seeds_does_not_count() -> None:
    scores = make_scores(make_plan())
    turned = {where: dict(reversed(found.items())) for where, found in reversed(scores.items())}
    assert verdict_on(turned, seeds=SEEDS[::-1]) == verdict_on(scores)
