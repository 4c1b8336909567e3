"""The grammar proposer: which ideas it has. Whether they are any good is not its business."""

from collections import Counter
from itertools import islice
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searching import SPACE

from noctuary.proposers import Idea, Proposer
from noctuary.proposers.grammar import GrammarProposer
from noctuary.search.history import Parent
from noctuary.search.moves import CHANCES, Moves
from noctuary.search.plateau import PATIENCE, Plateau
from noctuary.space.features import MECHANISMS
from noctuary.space.genome import Genome
from noctuary.space.naming import design_name
from noctuary.space.operators import contains, distance, insert, neighbours

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("steady")


def parent(number: int) -> Parent:
    return Parent(f"c{number}", design_name(SPACE[number]), SPACE[number], number / 1000)


def ideas(
    parents: list[Parent],
    *mechanisms: str,
    count: int = 60,
    seed: int = 0,
    moves: Moves | None = None,
) -> list[Idea]:
    proposer: Proposer = GrammarProposer()
    chosen = moves or Moves()
    return list(islice(proposer.ideas(parents, chosen, Random(seed), mechanisms), count))


parents_lists = st.lists(st.integers(0, len(SPACE) - 1), max_size=5, unique=True).map(
    lambda numbers: [parent(n) for n in numbers]
)


@given(parents_lists, st.sampled_from(MECHANISMS), st.integers(0, 99))
def test_all_ideas_are_mixers_with_what_was_asked_for(
    parents: list[Parent], mechanism: str, seed: int
) -> None:
    found = ideas(parents, mechanism, seed=seed)
    assert len(found) == 60
    for idea in found:
        assert Genome.model_validate(idea.genome.model_dump()) == idea.genome
        assert contains(idea.genome, (mechanism,))
        assert set(idea.parents) <= set(parents)
    assert found == ideas(parents, mechanism, seed=seed)
    assert all(idea.move in (*CHANCES, "insert") for idea in found)


def test_the_first_ideas_are_the_parents_with_the_mechanisms_and_nothing_else() -> None:
    parents = [parent(0), parent(50)]
    first, second = ideas(parents, "decay=vector", "short_conv=conv4", count=2)
    for idea, origin in ((first, parents[0]), (second, parents[1])):
        assert (idea.genome, idea.operator) == insert(
            origin.genome, "decay=vector", "short_conv=conv4"
        )
        assert (idea.move, idea.parents) == ("insert", (origin,))


def test_all_operators_come_up_and_say_whom_they_met() -> None:
    found = ideas([parent(0), parent(50), parent(100)], count=400)
    assert set(Counter(idea.move for idea in found)) == set(CHANCES)
    for idea in found:
        assert len(idea.parents) == {"draw": 0, "cross": 2, "interpolate": 2}.get(idea.move, 1)
        if idea.move == "mutate":
            assert idea.genome != idea.parents[0].genome


def test_a_single_parent_is_mutated_where_others_would_be_crossed() -> None:
    found = ideas([parent(0)], count=200)
    assert {"cross", "interpolate"}.isdisjoint(idea.move for idea in found)


def test_without_parents_ideas_are_drawn_from_the_space() -> None:
    found = ideas([], count=50)
    assert {idea.move for idea in found} == {"draw"}
    assert len({idea.genome for idea in found}) == 50


def test_on_a_plateau_mutations_reach_further() -> None:
    far = Moves(Plateau(cycles=6 * PATIENCE, best=0.5))
    origin = parent(0)

    def beyond_one_change(moves: Moves | None) -> int:
        around = set(neighbours(origin.genome))
        found = ideas([origin], count=300, moves=moves)
        mutated = [i.genome for i in found if i.move == "mutate" and i.genome not in around]
        return sum(distance(genome, origin.genome) for genome in mutated) // max(1, len(mutated))

    assert beyond_one_change(far) > beyond_one_change(None)


def test_mechanisms_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="no mixer combines"):
        ideas([parent(0)], "update=additive", "beta_range=double")
