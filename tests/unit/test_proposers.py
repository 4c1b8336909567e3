"""Parents, novelty and the grammar proposer.

Covers that proposals answer the gap, are new, and depend on the seed alone, across processes
too. Does not cover whether they are any good.
"""

import logging
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noctuary.domain import Axes, Gap, Paper
from noctuary.gap import Tried, combinable_pairs
from noctuary.proposers import Proposal, Proposer
from noctuary.proposers.grammar import GrammarProposer
from noctuary.selection import Parent, ParentPolicy, Scored, choose_parents, is_known
from noctuary.space.genome import Genome
from noctuary.space.naming import design_name
from noctuary.space.operators import contains, every_genome

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

SPACE = every_genome()


def gap_about(*mechanisms: str) -> Gap:
    return Gap(
        cycle=1,
        question="?",
        mechanisms=mechanisms,
        capability="recall",
        evidence_for=(),
        evidence_against=(),
        findings=(),
        papers_covering=0,
        trials_covering=0,
        expected_effect=0.0,
        refuted_if="!",
    )


def parent(number: int, score: float | None = 0.5) -> Parent:
    genome = SPACE[number]
    return Parent(candidate_id=f"c{number}", name=design_name(genome), genome=genome, score=score)


def scored(
    number: int, score: float | None, axes: Axes | None = None, final: float | None = None
) -> Scored:
    return Scored(
        candidate_id=f"c{number}",
        name=f"n{number}",
        kind="design",
        axes=axes or SPACE[number].axes,
        score=score,
        final=final,
    )


def unknown(_: Genome) -> str | None:
    return None


gaps = st.sampled_from(combinable_pairs()).map(lambda pair: gap_about(*pair))
numbers = st.integers(0, len(SPACE) - 1)
parents_lists = st.lists(numbers, max_size=5, unique=True).map(lambda ns: [*map(parent, ns)])


def propose(
    gap: Gap,
    parents: list[Parent],
    known: set[Genome] = frozenset(),  # type: ignore[assignment]
    count: int = 4,
    seed: int = 0,
) -> tuple[Proposal, ...]:
    def refusal(genome: Genome) -> str | None:
        return "known" if genome in known else None

    proposer: Proposer = GrammarProposer()
    return proposer.propose(gap, parents, refusal, count, Random(seed))


@given(gaps, parents_lists, st.sets(numbers, max_size=300), st.integers(1, 12), st.integers(0, 99))
def test_proposals_answer_the_gap_and_are_new(
    gap: Gap, parents: list[Parent], known: set[int], count: int, seed: int
) -> None:
    tried = {SPACE[n] for n in known}
    proposals = propose(gap, parents, tried, count, seed)
    genomes = [p.genome for p in proposals]
    left = sum(contains(g, gap.mechanisms) and g not in tried for g in SPACE)
    assert len(proposals) == min(count, 2 * left if parents else left)
    assert len(set(genomes)) == len({p.name for p in proposals}) == len(genomes)
    assert not tried & set(genomes)
    assert 2 * sum(contains(g, gap.mechanisms) for g in genomes) >= len(genomes)
    assert all(Genome.model_validate(g.model_dump()) == g for g in genomes)
    origins = {p.candidate_id for p in parents}
    for proposal in proposals:
        assert set(proposal.parents) <= origins
        assert bool(proposal.parents) == bool(parents)
        assert proposal.name == design_name(proposal.genome)
        assert proposal.operator in proposal.motivation


def test_the_first_proposals_are_the_parents_with_the_mechanisms_and_nothing_else() -> None:
    gap = gap_about("decay=vector", "short_conv=conv4")
    plain = [n for n, g in enumerate(SPACE) if (g.decay, g.short_conv) == ("none", "none")]
    parents = [parent(plain[0], 0.75), parent(plain[50], None)]
    first, second, *_ = propose(gap, parents)
    for proposal, origin in ((first, parents[0]), (second, parents[1])):
        expected = origin.genome.axes | {"decay": "vector", "short_conv": "conv4"}
        assert proposal.genome.axes == expected
        assert proposal.parents == (origin.candidate_id,)
    assert "decay none -> vector" in first.operator
    assert f"{parents[0].name} (score 0.750)" in first.motivation
    assert "not yet scored" in second.motivation


def test_the_rest_varies_the_parents() -> None:
    gap = gap_about("decay=vector", "short_conv=conv4")
    proposals = propose(gap, [parent(0), parent(500)], count=12)
    kinds = {proposal.operator.split()[0].strip(",") for proposal in proposals}
    assert {"inserted", "mutated", "crossed"} <= kinds
    assert any(len(proposal.parents) == 2 for proposal in proposals)
    assert not all(contains(proposal.genome, gap.mechanisms) for proposal in proposals)


def test_an_exhausted_space_gives_fewer_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    gap = gap_about("decay=vector", "short_conv=conv4")
    answering = [g for g in SPACE if contains(g, gap.mechanisms)]
    with caplog.at_level(logging.WARNING):
        assert len(propose(gap, [parent(0)], set(answering[:-1]))) == 2
        assert propose(gap, [parent(0)], set(answering)) == ()
        assert propose(gap, [parent(0)], set(SPACE)) == ()
    assert "2 designs proposed instead of 4" in caplog.text
    assert "0 designs proposed instead of 4" in caplog.text
    caplog.clear()
    assert len(propose(gap, [parent(0)])) == 4
    assert caplog.text == ""


def test_when_only_answers_are_left_the_rest_are_answers_too() -> None:
    gap = gap_about("decay=vector", "short_conv=conv4")
    others = {g for g in SPACE if not contains(g, gap.mechanisms)}
    proposals = propose(gap, [parent(0)], others, count=6)
    assert len(proposals) == 6


def test_a_whole_space_can_be_proposed_cycle_by_cycle() -> None:
    gap, known = gap_about("decay=vector", "update=delta"), set[Genome]()
    answering = {g for g in SPACE if contains(g, gap.mechanisms)}
    while proposals := propose(gap, [parent(0)], known, 64, seed=len(known)):
        genomes = {p.genome for p in proposals}
        assert not genomes & known
        known |= genomes
    assert answering <= known


def test_mechanisms_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="no mixer combines"):
        propose(gap_about("update=additive", "beta_range=double"), [parent(0)])


# --- parents


def test_the_best_is_always_a_parent_and_the_best_come_first() -> None:
    candidates = [scored(n, n / 1000) for n in range(0, 900, 30)]
    chosen = choose_parents(candidates, 4, Random(0))
    assert chosen[0].candidate_id == "c870"
    assert len(chosen) == len({p.genome for p in chosen}) == 4
    assert [p.score for p in chosen] == sorted((p.score for p in chosen), reverse=True)  # type: ignore[type-var]


def ranking(candidates: list[Scored]) -> list[str]:
    return [parent.candidate_id for parent in choose_parents(candidates, 99, Random(0))]


def test_finalists_share_their_places_by_what_they_did_on_the_last_rung() -> None:
    candidates = [
        scored(0, 0.9, final=0.4),
        scored(30, 0.8),
        scored(60, 0.7, final=0.6),
        scored(90, 0.6),
        scored(120, 0.5, final=0.5),
        scored(150, None),
    ]
    assert ranking(candidates) == ["c60", "c30", "c120", "c90", "c0", "c150"]
    chosen = choose_parents(candidates, 99, Random(0))
    assert [parent.score for parent in chosen] == [0.6, 0.8, 0.5, 0.6, 0.4, None]


@given(st.lists(st.none() | st.integers(0, 99), min_size=2, max_size=9, unique_by=id))
def test_who_did_not_get_to_the_last_rung_keeps_its_place(finals: list[int | None]) -> None:
    candidates = [
        scored(30 * n, 1 - n / 10, final=None if final is None else final + n / 10)
        for n, final in enumerate(finals)
    ]
    found = ranking(candidates)
    by_id = {candidate.candidate_id: candidate for candidate in candidates}
    for place, candidate in enumerate(candidates):
        is_finalist = by_id[found[place]].final is not None
        assert is_finalist == (candidate.final is not None)
        assert is_finalist or found[place] == candidate.candidate_id
    reached = [by_id[one].final for one in found if by_id[one].final is not None]
    assert reached == sorted(reached, reverse=True)  # type: ignore[type-var]


def test_rank_and_diversity_both_pull() -> None:
    near = [n for n, g in enumerate(SPACE) if g.axes | {"output_gate": "none"} == SPACE[0].axes]
    far = next(n for n, g in enumerate(SPACE) if not set(g.mechanisms) & set(SPACE[0].mechanisms))
    candidates = [scored(near[0], 0.9), scored(near[1], 0.8), scored(far, 0.8)]
    seconds = [choose_parents(candidates, 2, Random(s))[1].candidate_id for s in range(200)]
    assert seconds.count(f"c{far}") > 150
    assert f"c{near[1]}" in seconds


def test_who_cannot_be_a_parent() -> None:
    softmax = Scored(candidate_id="s", name="softmax", kind="human", axes=None, score=1.0)
    odd = scored(1, 0.9, axes=SPACE[1].axes | {"decay": "infinite"})
    partial = scored(2, 0.9, axes={"decay": "none"})
    contradictory = scored(4, 0.9, axes=SPACE[0].axes | {"update": "delta", "beta_range": "none"})
    candidates = [softmax, odd, partial, contradictory, scored(3, 0.1)]
    chosen = choose_parents(candidates, 4, Random(0))
    assert [p.candidate_id for p in chosen] == ["c3"]
    assert choose_parents([softmax], 4, Random(0)) == ()
    assert choose_parents(candidates, 0, Random(0)) == ()


def test_candidates_without_a_score_come_last_and_equal_genomes_count_once() -> None:
    twin = scored(7, 0.2, axes=SPACE[3].axes)
    chosen = choose_parents([scored(5, None), scored(3, 0.3), twin], 4, Random(0))
    assert [p.candidate_id for p in chosen] == ["c3", "c5"]


@given(st.permutations(range(0, 900, 90)), st.integers(0, 99))
def test_the_order_of_the_candidates_does_not_matter(order: list[int], seed: int) -> None:
    policy: ParentPolicy = choose_parents
    expected = policy([scored(n, (n % 3) / 3) for n in range(0, 900, 90)], 3, Random(seed))
    assert policy([scored(n, (n % 3) / 3) for n in order], 3, Random(seed)) == expected


# --- novelty


def test_known_designs_are_refused_with_the_reason() -> None:
    axes = SPACE[0].axes
    paper = Paper(
        paper_id="arxiv:2312.06635",
        title="Gated Linear Attention",
        authors=("A. Author",),
        year=2023,
        venue="ICML",
        arxiv_id="2312.06635",
        account="",
        axes=axes,
        source="snapshot",
    )
    unlisted = paper.model_copy(update={"arxiv_id": None})
    design = Tried(name="delta-relu", kind="design", axes=axes, cycle=3, trials=0)
    human = Tried(name="gla", kind="human", axes=axes, cycle=1, trials=9)
    assert is_known(SPACE[0], [paper], [design]) == (
        "known: Gated Linear Attention (arXiv 2312.06635)"
    )
    assert is_known(SPACE[0], [unlisted], []) == "known: Gated Linear Attention (ICML 2023)"
    assert is_known(SPACE[0], [], [design]) == "tried in cycle 3 as delta-relu"
    assert is_known(SPACE[0], [], [human]) == "known: the human baseline gla"
    assert is_known(SPACE[1], [paper], [design, human]) is None


# --- the same seed in another process

PROGRAM = """
from random import Random
from noctuary.domain import Insight
from noctuary.gap import synthesise_gap
from noctuary.proposers.grammar import GrammarProposer
from noctuary.selection import Scored, choose_parents
from noctuary.space.operators import every_genome

rng = Random(7)
claims = [
    Insight(statement=str(n), mechanisms=(g.mechanisms[n % 8],), capability="recall",
            direction=(-1, 0, 1)[n % 3], strength=n / 20, cycle=1 if n % 2 else None,
            evidence=f"finding:{n}" if n % 2 else f"arxiv:{n}")
    for n, g in enumerate(every_genome()[:960:60])
]
scored = [Scored(candidate_id=f"c{n}", name=f"n{n}", kind="design", axes=g.axes, score=n % 4)
          for n, g in enumerate(every_genome()[::50])]
gap = synthesise_gap(papers=[], insights=claims, tried=[], earlier=[], cycle=2, rng=rng,
                     capabilities=("recall",))
parents = choose_parents(scored, 4, rng)
proposals = GrammarProposer().propose(gap, parents, lambda genome: None, 12, rng)
print(gap.gap_id, *(p.model_dump_json() for p in (*parents, *proposals)), sep="\\n")
"""


def test_the_same_seed_gives_the_same_cycle_in_every_process() -> None:
    source = str(Path(__file__).parents[2] / "src")
    printed = set()
    for hash_seed in ("0", "1", "12345"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": source}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        printed.add(done.stdout)
    assert len(printed) == 1
    assert printed.pop().count("\n") == 17
