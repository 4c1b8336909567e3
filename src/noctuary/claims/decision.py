"""How a claim is decided, from the scores on its drawn seeds and from nothing else.

For each scale and each baseline, the differences in score are averaged over the held-out tasks,
seed by seed. Then

- refuted, where for a comparison the sign-flip test shows that the mean is below the smallest
  effect of interest, at alpha over the number of comparisons;
- verified, where for every comparison it shows that the mean is above zero, at alpha: all have to
  hold, so that more comparisons make a false discovery rarer, and need no correction;
- inconclusive else, and always where a planned score is missing or another one is among them.

Refuted comes first: what is shown to be too small to matter is no discovery. The seen tasks are
compared at the base scale, for the record, and decide nothing. `docs/adr/0016` has the reasons.
Reads no file and draws no seed: `seeds` and `registration` do.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from noctuary.claims.sign_flips import STEPS_A_POINT, lower_bound, positive_p, steps_of
from noctuary.domain import ClaimVerdict, Comparison, Entrant, Plan, Scale
from noctuary.evaluation import Scores, differences

ClaimScores = Mapping[tuple[Scale, str], Scores]
"""(scale, candidate id) -> (task, seed) -> score."""

SCALES: tuple[Scale, ...] = ("base", "wide", "long")
"""In the order in which comparisons are listed; a plan may have fewer."""


def decide(
    plan: Plan,
    scores: ClaimScores,
    trials: Mapping[str, str],
    failed: Sequence[str],
    seeds: Sequence[int],
) -> ClaimVerdict:
    """Return the verdict on a claim.

    Args:
        scores: what is not between 0 and 1 is no score.
        trials: trial id -> SHA-256 of its `result.json`, for the record.
        failed: a line for each planned trial that gave no score: which, and why.
        seeds: those that were drawn.
    """
    scores = {
        where: {key: score for key, score in found.items() if 0 <= score <= 1}
        for where, found in scores.items()
    }
    comparisons = (*_decisive(plan, scores), *_reported(plan, scores))
    wrong = (*failed, *_wrong_scores(plan, scores, seeds))
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        status, reason = "inconclusive", f"not as planned: {wrong[0]}{more}"
    else:
        status, reason = ruling(plan, [each for each in comparisons if each.decisive])
    return ClaimVerdict.model_validate(
        {
            "claim_id": plan.claim_id,
            "status": status,
            "reason": reason,
            "comparisons": comparisons,
            "trials": dict(trials),
        }
    )


def planned_scores(
    plan: Plan, seeds: Sequence[int]
) -> dict[tuple[Scale, str], set[tuple[str, int]]]:
    """Return (scale, candidate id) -> the (task, seed) of every score that the plan demands."""
    return {
        (scale, entrant.candidate_id): {
            (task, seed) for task in tasks_at(plan, scale) for seed in seeds
        }
        for scale in scales_of(plan)
        for entrant in (plan.candidate, *plan.baselines)
    }


def scales_of(plan: Plan) -> tuple[Scale, ...]:
    return tuple(scale for scale in SCALES if scale in plan.suites)


def tasks_at(plan: Plan, scale: Scale) -> tuple[str, ...]:
    """Return the tasks that are trained on at a scale; the seen ones at the base alone."""
    return (*plan.held_out, *plan.seen) if scale == "base" else plan.held_out


def comparisons_of(plan: Plan) -> int:
    """Return how many comparisons decide."""
    return len(plan.baselines) * len(plan.suites)


def _decisive(plan: Plan, scores: ClaimScores) -> Iterator[Comparison]:
    for scale in scales_of(plan):
        for baseline in plan.baselines:
            yield from _compare(plan, scores, baseline, scale, plan.held_out, decisive=True)


def _reported(plan: Plan, scores: ClaimScores) -> Iterator[Comparison]:
    for baseline in plan.baselines if plan.seen else ():
        yield from _compare(plan, scores, baseline, "base", plan.seen, decisive=False)


def _compare(
    plan: Plan,
    scores: ClaimScores,
    baseline: Entrant,
    scale: Scale,
    tasks: tuple[str, ...],
    *,
    decisive: bool,
) -> Iterator[Comparison]:
    """Yield the comparison; none where no seed has a score of both on all the tasks."""
    mine = scores.get((scale, plan.candidate.candidate_id), {})
    theirs = scores.get((scale, baseline.candidate_id), {})
    found = differences(mine, theirs, tasks)
    if not found:
        return
    steps = steps_of(found)
    low = lower_bound(steps, plan.alpha)
    high = lower_bound(-steps, plan.alpha / comparisons_of(plan))
    yield Comparison(
        baseline=baseline.candidate_id,
        scale=scale,
        tasks=tasks,
        decisive=decisive,
        n=len(found),
        effect=fmean(found),
        low=None if low is None else low / STEPS_A_POINT,
        high=None if high is None else -high / STEPS_A_POINT,
        p=positive_p(steps),
    )


def _wrong_scores(plan: Plan, scores: ClaimScores, seeds: Sequence[int]) -> Iterator[str]:
    """Yield what is missing of the planned scores, and what is there beside them."""
    if len(set(seeds)) != plan.seeds:
        yield f"{len(set(seeds))} seeds; the plan has {plan.seeds}"
    planned = planned_scores(plan, seeds)
    for where in sorted({*planned, *scores}):
        wanted = planned.get(where, set())
        found = set(scores.get(where, {}))
        for task, seed in sorted(wanted - found):
            yield f"no score of {_name(plan, where[1])} on {task} at {where[0]}, seed {seed}"
        for task, seed in sorted(found - wanted):
            yield (
                f"a score of {_name(plan, where[1])} on {task} at {where[0]}, seed {seed}, "
                "which is not planned"
            )


def ruling(plan: Plan, decisive: Sequence[Comparison]) -> tuple[str, str]:
    """Return status and reason; each comparison has all its pairs."""
    smallest = plan.smallest_effect
    worst = min(decisive, key=lambda each: each.effect)
    for each in sorted(decisive, key=lambda each: each.effect):
        if each.high is not None and each.high < smallest:
            return "refuted", (
                f"against {_place(plan, each)} the difference is {_seen(each)}: an effect of "
                f"{smallest:g} is not there"
            )
    for each in sorted(decisive, key=lambda each: -each.p):
        if each.p > plan.alpha:
            return "inconclusive", (
                f"against {_place(plan, each)} the difference is {_seen(each)}: not shown "
                f"(p {each.p:.2g}, above {plan.alpha:.2g}), and an effect of {smallest:g} is not "
                "excluded"
            )
    return "verified", (
        f"above every baseline at {', '.join(scales_of(plan))}; least against "
        f"{_place(plan, worst)}, by {_seen(worst)}"
    )


def _seen(each: Comparison) -> str:
    low = "-inf" if each.low is None else f"{each.low:+.4f}"
    high = "inf" if each.high is None else f"{each.high:+.4f}"
    return f"{each.effect:+.4f} ({low} to {high})"


def _place(plan: Plan, each: Comparison) -> str:
    return f"{_name(plan, each.baseline)} at {each.scale}"


def _name(plan: Plan, candidate_id: str) -> str:
    names = {one.candidate_id: one.name for one in (plan.candidate, *plan.baselines)}
    return names.get(candidate_id, candidate_id)
