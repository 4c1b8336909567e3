"""Parents: what each policy chooses, that it looks at the history alone, and what may be one."""

from collections import Counter
from random import Random
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searching import SPACE, attempt

from noctuary.config import ParentsBy
from noctuary.search.history import Attempt, History, genome_of
from noctuary.search.parents import POLICIES, WINDOW, aging, map_elites, ranked, ucb1
from noctuary.space.human import HUMAN
from noctuary.space.operators import distance, mutate

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("steady")


def names(history: History, policy: str, count: int, seed: int = 0) -> list[str]:
    return [parent.candidate_id for parent in POLICIES[policy](history, count, Random(seed))]


def ranking(*attempts: Attempt) -> list[str]:
    return [parent.candidate_id for parent in History(attempts).ranked(Random(0))]


def test_each_policy_of_the_settings_exists() -> None:
    assert set(POLICIES) == set(get_args(ParentsBy))


@pytest.mark.parametrize("policy", POLICIES)
def test_any_policy_chooses_different_candidates_that_do_not_depend_on_their_order(
    policy: str,
) -> None:
    attempts = [attempt(n, (n % 7) / 7, cycle=n // 4, tasks={"t": n / 60}) for n in range(60)]
    chosen = names(History(attempts), policy, 5, seed=3)
    assert len(set(chosen)) == len(chosen) <= 5
    assert chosen == names(History(reversed(attempts)), policy, 5, seed=3)
    assert POLICIES[policy](History(attempts), 0, Random(0)) == ()


@pytest.mark.parametrize("policy", POLICIES)
def test_before_anything_has_a_score_the_human_mixers_are_parents(policy: str) -> None:
    humans = [Attempt(name, name, "human", genome, None) for name, genome in sorted(HUMAN.items())]
    chosen = names(History(humans), policy, 4)
    assert len(set(chosen)) == 4
    assert set(chosen) <= set(HUMAN)
    assert names(History(), policy, 4) == []


# --- who can be a parent, and in which order


def test_who_cannot_be_a_parent() -> None:
    softmax = Attempt("s", "softmax", "human", None, 1.0)
    failed = attempt(1, None, reason="rejected: not causal")
    assert ranking(softmax, failed, attempt(3, 0.1)) == ["c003"]
    assert genome_of({"decay": "infinite"}) is None
    assert genome_of({"update": "delta", "beta_range": "none"}) is None
    assert genome_of(None) is None
    assert genome_of(HUMAN["gla"].telling) == HUMAN["gla"]


def test_candidates_without_a_score_come_last_and_equal_genomes_count_once() -> None:
    twin = attempt(7, 0.2, genome=SPACE[3])
    assert ranking(attempt(5, None), attempt(3, 0.3), twin) == ["c003", "c005"]


def test_finalists_share_their_places_by_what_they_did_on_the_last_rung() -> None:
    attempts = [
        attempt(0, 0.9, final=0.4),
        attempt(1, 0.8),
        attempt(2, 0.7, final=0.6),
        attempt(3, 0.6),
        attempt(4, 0.5, final=0.5),
        attempt(5, None),
    ]
    assert ranking(*attempts) == ["c002", "c001", "c004", "c003", "c000", "c005"]
    scores = [parent.score for parent in History(attempts).ranked(Random(0))]
    assert scores == [0.6, 0.8, 0.5, 0.6, 0.4, None]


@given(st.lists(st.none() | st.integers(0, 99), min_size=2, max_size=9, unique_by=id))
def test_who_did_not_get_to_the_last_rung_keeps_its_place(finals: list[int | None]) -> None:
    attempts = [
        attempt(n, 1 - n / 10, final=None if final is None else final + n / 10)
        for n, final in enumerate(finals)
    ]
    found = ranking(*attempts)
    by_id = {one.candidate_id: one for one in attempts}
    for place, one in enumerate(attempts):
        assert (by_id[found[place]].final is None) == (one.final is None)
        assert one.final is not None or found[place] == one.candidate_id
    reached = [final for one in found if (final := by_id[one].final) is not None]
    assert reached == sorted(reached, reverse=True)


# --- the policies


def test_the_default_takes_the_best_and_others_by_rank_and_distance() -> None:
    near = [mutate(SPACE[0], Random(seed))[0] for seed in (1, 2)]
    far = max(SPACE, key=lambda genome: distance(genome, SPACE[0]))
    history = History(
        [
            attempt(0, 0.9),
            attempt(1, 0.8, genome=near[0]),
            attempt(2, 0.8, genome=far),
            attempt(3, 0.1, genome=near[1]),
        ]
    )
    chosen = [ranked(history, 2, Random(seed)) for seed in range(200)]
    assert {pair[0].candidate_id for pair in chosen} == {"c000"}
    seconds = Counter(pair[1].candidate_id for pair in chosen)
    assert seconds["c002"] > 120
    assert seconds["c001"] > seconds["c003"] > 0


def test_ucb1_counts_the_children_of_a_parent_and_so_leaves_it() -> None:
    scores = [0.9, 0.85, 0.2]
    attempts = [attempt(n, score) for n, score in enumerate(scores)]
    assert names(History(attempts), "ucb1", 1) == ["c000"]
    for child in range(10, 60):
        [parent] = ucb1(History(attempts), 1, Random(child))
        attempts.append(attempt(child, None, parents=(parent.candidate_id,), cycle=2))
    visits = Counter(parent for one in attempts for parent in one.parents)
    assert visits["c000"] > visits["c001"] > visits["c002"] > 0
    assert sum(visits.values()) == 50


def test_aging_forgets_the_old_however_good_they_are() -> None:
    old = attempt(0, 1.0, cycle=1)
    young = [attempt(n, n / 1000, cycle=1 + n) for n in range(1, WINDOW + 1)]
    for seed in range(30):
        chosen = aging(History([old, *young]), 3, Random(seed))
        assert "c000" not in {parent.candidate_id for parent in chosen}
        assert max(parent.score or 0 for parent in chosen) > 0.07  # of a tournament of 25
    assert "c000" in names(History([old, *young[:20]]), "aging", 3)


def test_map_elites_keeps_the_best_of_each_behaviour() -> None:
    additive = [genome for genome in SPACE if (genome.update, genome.decay) == ("additive", "none")]
    delta = [genome for genome in SPACE if (genome.update, genome.decay) == ("delta", "none")]
    recalls, tracks = {"recall": 0.9, "states": 0.1}, {"recall": 0.1, "states": 0.2}
    history = History(
        [
            attempt(0, 0.50, genome=additive[0], tasks=recalls),
            attempt(1, 0.45, genome=additive[1], tasks=recalls),
            attempt(2, 0.15, genome=additive[2], tasks=tracks),
            attempt(3, 0.40, genome=delta[0], tasks=recalls),
            attempt(4, 0.30, genome=delta[1], tasks=recalls),
        ]
    )
    chosen = {parent.candidate_id for parent in map_elites(history, 9, Random(0))}
    assert chosen == {"c000", "c002", "c003"}
