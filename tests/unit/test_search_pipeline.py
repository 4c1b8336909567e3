"""Whole batches: what the search proposes, that it is new, and that it finds good designs.

Covers the search on worlds made up here; how fast it is on trained designs is measured in
`bench/search.py`.
"""

import logging
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searching import EFFECTS, SPACE, attempt, climbed, gap_about, worth

from noctuary.config import SearchSettings
from noctuary.proposers.grammar import GrammarProposer
from noctuary.search.history import Attempt, History
from noctuary.search.novelty import Novelty
from noctuary.search.pipeline import HEARD, Batch, Search, search_by
from noctuary.search.plateau import PATIENCE
from noctuary.space.features import MECHANISMS
from noctuary.space.genome import Genome
from noctuary.space.human import HUMAN
from noctuary.space.naming import design_name
from noctuary.space.operators import as_axes, completed, contains, distance, draw, simplifications

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=8)
settings.load_profile("steady")

GAP = gap_about("decay=vector", "short_conv=conv4")
SEARCH = search_by(SearchSettings())
HUMANS = [Attempt(name, name, "human", genome, None) for name, genome in HUMAN.items()]

pairs = st.tuples(st.sampled_from(MECHANISMS), st.sampled_from(MECHANISMS)).filter(
    lambda pair: (
        pair[0].split("=")[0] != pair[1].split("=")[0]
        and completed(dict(name.split("=") for name in pair), {}) is not None
    )
)


@given(pairs, st.integers(0, 40), st.integers(1, 8), st.integers(0, 99))
def test_a_batch_answers_the_gap_and_is_new_and_says_why(
    pair: tuple[str, str], tried: int, count: int, seed: int
) -> None:
    history = History([*HUMANS, *climbed(tried).attempts])
    batch = SEARCH.propose(history, count, Random(seed), gap=gap_about(*pair))
    genomes = [proposal.genome for proposal in batch.proposals]
    assert len(set(genomes)) == len({p.name for p in batch.proposals}) == count
    assert not set(genomes) & {one.genome for one in history.attempts}
    assert 2 * sum(contains(genome, pair) for genome in genomes) >= count
    for proposal in batch.proposals:
        assert Genome.model_validate(proposal.genome.model_dump()) == proposal.genome
        assert set(proposal.parents) <= {one.candidate_id for one in history.attempts}
        assert bool(proposal.parents) == (proposal.move != "draw")
        assert proposal.name == design_name(proposal.genome)
        assert proposal.operator in proposal.motivation
        assert f"expects a score of {proposal.expected:.3f}" in proposal.motivation


def test_the_batch_is_diverse() -> None:
    batch = SEARCH.propose(climbed(60), 8, Random(0))
    genomes = [proposal.genome for proposal in batch.proposals]
    assert min(distance(a, b) for a in genomes for b in genomes if a is not b) >= 2


def test_refusals_are_counted_by_reason() -> None:
    history = History([*HUMANS, attempt(1, 0.5, genome=HUMAN["gla"])])
    batch = SEARCH.propose(history, 4, Random(0), gap=GAP)
    assert any(reason.startswith(("known", "tried")) for reason in batch.refused)
    assert list(batch.refused.values()) == sorted(batch.refused.values(), reverse=True)


@given(st.sets(st.sampled_from(MECHANISMS), max_size=40), st.integers(0, 99))
def test_what_is_forbidden_is_not_proposed(forbidden: set[str], seed: int) -> None:
    possible = completed({}, {}, forbidden) is not None
    answers = completed(as_axes(GAP.mechanisms), {}, forbidden) is not None
    batch = SEARCH.propose(climbed(8), 4, Random(seed), gap=GAP, forbidden=forbidden)
    for proposal in batch.proposals:
        assert forbidden.isdisjoint(proposal.genome.mechanisms)
    assert bool(batch.proposals) == possible
    assert answers == any(contains(p.genome, GAP.mechanisms) for p in batch.proposals)
    if not answers:
        assert batch.refused["forbidden by the policy"] > 0


def test_a_space_with_nothing_new_gives_fewer_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gla = HUMAN["gla"]
    other = {name for name in MECHANISMS if name not in gla.mechanisms}
    known = Novelty(History(), published={"gla": gla.axes})
    with caplog.at_level(logging.WARNING):
        batch = SEARCH.propose(History(), 4, Random(0), novelty=known, forbidden=other)
    assert batch.proposals == ()
    assert list(batch.refused) == ["known: the human baseline gla"]
    assert "0 designs proposed instead of 4" in caplog.text


def test_the_winner_of_the_last_cycle_is_ablated() -> None:
    settled = climbed(40)
    winner = attempt(400, 2.0, genome=HUMAN["gated_delta_net"], cycle=11)
    batch = SEARCH.propose(History([*settled.attempts, winner]), 4, Random(0))
    ablated = [proposal for proposal in batch.proposals if proposal.move == "ablate"]
    [proposal] = ablated
    assert proposal.parents == (winner.candidate_id,)
    assert proposal.genome in {genome for genome, _ in simplifications(HUMAN["gated_delta_net"])}
    assert "to see what the part contributes" in proposal.motivation


def test_who_did_not_win_is_not_ablated_and_neither_where_nobody_asks() -> None:
    settled = climbed(40)
    loser = attempt(400, 0.0, genome=HUMAN["gated_delta_net"], cycle=11)
    winner = loser._replace(score=2.0)
    without = Search(GrammarProposer(), ablations=0)
    for search, last in ((SEARCH, loser), (without, winner)):
        batch = search.propose(History([*settled.attempts, last]), 4, Random(0))
        assert all(proposal.move != "ablate" for proposal in batch.proposals)


def test_a_plateau_is_told_and_widens_the_search() -> None:
    still = History(attempt(n, 0.5, cycle=n + 1) for n in range(6 * PATIENCE))
    batch = SEARCH.propose(still, 4, Random(0))
    assert batch.plateau is not None
    assert SEARCH.propose(climbed(4), 4, Random(0)).plateau is None


# --- what the parts are for


def best_of(search: Search, cycles: int, seed: int, prior: np.ndarray | None = None) -> float:
    """Return the best worth that a search finds in so many cycles of four designs."""
    rng, noise = Random(seed), np.random.default_rng(seed)
    attempts = [one._replace(score=worth(one.genome)) for one in HUMANS if one.genome]
    best = 0.0
    for cycle in range(1, cycles + 1):
        batch = search.propose(History(attempts), 4, rng, prior=prior)
        for n, proposal in enumerate(batch.proposals):
            value = worth(proposal.genome)
            best = max(best, value)
            attempts.append(
                attempt(
                    4 * cycle + n,
                    value + float(noise.normal(0, 0.005)),
                    genome=proposal.genome,
                    cycle=cycle,
                    parents=proposal.parents,
                    move=proposal.move,
                )
            )
    return best


def test_the_search_finds_in_40_trials_what_chance_does_not_find_in_400() -> None:
    rng = Random(0)
    chance = max(worth(draw(rng)[0]) for _ in range(400))
    found = [best_of(SEARCH, 10, seed) for seed in range(4)]
    assert min(found) > chance


def test_a_good_prior_helps_from_the_first_cycle_on() -> None:
    told = [best_of(SEARCH, 1, seed, EFFECTS) for seed in range(4)]
    untold = [best_of(Search(GrammarProposer(), findings=False), 1, seed) for seed in range(4)]
    assert np.mean(told) > np.mean(untold)


@pytest.mark.parametrize("switch", ["findings", "surrogate"])
def test_each_part_can_be_left_out(switch: str) -> None:
    whole, without = SEARCH, Search(GrammarProposer(), **{switch: False})  # type: ignore[arg-type]

    def names(batch: Batch) -> list[str]:
        return [proposal.name for proposal in batch.proposals]

    history = climbed(40)
    assert len(without.propose(history, 4, Random(1)).proposals) == 4
    assert names(without.propose(history, 4, Random(1))) != names(
        whole.propose(history, 4, Random(1))
    )


def test_of_a_long_history_the_best_are_not_forgotten() -> None:
    bad = [attempt(n, 0.1, genome=SPACE[n % 300], cycle=2 + n // 4) for n in range(2 * HEARD)]
    good = attempt(999, 0.9, genome=HUMAN["gated_delta_net"], cycle=1)
    batch = SEARCH.propose(History([good, *bad]), 4, Random(0))
    assert max(proposal.expected or 0.0 for proposal in batch.proposals) > 0.2


# --- one seed

PROGRAM = """
from random import Random
from searching import climbed, gap_about
from noctuary.config import SearchSettings
from noctuary.search.parents import POLICIES
from noctuary.search.pipeline import search_by

for policy in POLICIES:
    search = search_by(SearchSettings(parents_by=policy))
    batch = search.propose(climbed(40), 6, Random(7), gap=gap_about("decay=vector"))
    print(*(proposal.model_dump_json() for proposal in batch.proposals), batch.refused, sep="\\n")
"""


def test_the_same_seed_gives_the_same_batch_in_every_process() -> None:
    here = Path(__file__).parent
    printed = set()
    for hash_seed in ("0", "12345"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": f"{here.parents[1] / 'src'}:{here}",
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        printed.add(done.stdout)
    assert len(printed) == 1
    assert printed.pop().count("\n") == 6 * 7


def test_the_order_of_the_attempts_does_not_matter() -> None:
    attempts = list(climbed(40).attempts)
    expected = SEARCH.propose(History(attempts), 4, Random(1), gap=GAP).proposals
    Random(0).shuffle(attempts)
    assert SEARCH.propose(History(attempts), 4, Random(1), gap=GAP).proposals == expected
    assert len(SPACE) == 300
