"""The design space: every move leads to a valid genome, and the space can be listed.

Covers genome, operators and names. Does not cover how a genome reads as Python.
"""

import itertools
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from noctuary.space.genome import Genome, contradictions, repaired
from noctuary.space.mechanisms import AXES
from noctuary.space.naming import design_name
from noctuary.space.operators import (
    contains,
    cross,
    distance,
    every_genome,
    insert,
    mutate,
    neighbours,
)

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

any_axes = st.fixed_dictionaries({axis: st.sampled_from(list(v)) for axis, v in AXES.items()})
genomes = st.sampled_from(every_genome())
randoms = st.integers(0, 2**32).map(Random)
MECHANISMS = [f"{axis}={value}" for axis, values in AXES.items() for value in values]


def naive_count() -> int:
    """Count the valid points without the house's own rules: loops and plain conditions."""
    count = 0
    for _, _, update, beta, _, qk, _, norm in itertools.product(*AXES.values()):
        if update == "delta":
            count += beta != "none" and qk == "l2"
        else:
            count += beta == "none" and norm == "rms"
    return count


def is_valid(genome: Genome) -> bool:
    """Check anew: `model_copy` and friends could have gone round the validator."""
    return Genome.model_validate(genome.model_dump()) == genome and not contradictions(genome.axes)


def test_the_genome_has_the_axes_and_values_of_the_mechanisms() -> None:
    assert list(Genome.model_fields) == list(AXES)
    for axis, field in Genome.model_fields.items():
        assert field.annotation.__args__ == tuple(AXES[axis])  # type: ignore[union-attr]


def test_the_whole_space_is_listed_once() -> None:
    assert len(every_genome()) == len(set(every_genome())) == naive_count() == 960


def test_every_name_of_the_space_is_different_and_readable() -> None:
    names = [design_name(genome) for genome in every_genome()]
    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").isalnum() and name == name.lower() for name in names)


def test_a_name_says_what_is_not_plain() -> None:
    genome = Genome(
        feature_map="relu",
        decay="vector",
        update="delta",
        beta_range="unit",
        short_conv="conv4",
        qk_norm="l2",
        output_gate="sigmoid",
        output_norm="none",
    )
    assert design_name(genome) == "delta-vector-relu-conv4-sigmoid"


@given(any_axes)
def test_a_repaired_genome_is_valid_and_keeps_update_and_decay(axes: dict[str, str]) -> None:
    genome = repaired(axes)
    assert is_valid(genome)
    assert (genome.update, genome.decay) == (axes["update"], axes["decay"])


@given(any_axes)
def test_repairing_twice_changes_nothing_more(axes: dict[str, str]) -> None:
    assert repaired(repaired(axes).axes) == repaired(axes)


@given(any_axes)
def test_repairing_leaves_what_is_valid_alone(axes: dict[str, str]) -> None:
    if not contradictions(axes):
        assert repaired(axes).axes == axes
    else:
        with pytest.raises(ValidationError):
            Genome.model_validate(axes)


@given(genomes, randoms, st.integers(1, 8))
def test_a_mutation_is_valid_and_different_and_says_so(genome: Genome, rng: Random, n: int) -> None:
    child, words = mutate(genome, rng, n)
    assert is_valid(child)
    assert child != genome
    for axis, value in child.axes.items():
        changed = f"{axis} {genome.axes[axis]} -> {value}"
        assert (changed in words) == (value != genome.axes[axis])


def test_a_mutation_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        mutate(every_genome()[0], Random(0), 0)


def test_mutations_reach_every_genome() -> None:
    seen = edge = {every_genome()[0]}
    while edge:
        edge = set(itertools.chain(*map(neighbours, edge))) - seen
        seen = seen | edge
    assert seen == set(every_genome())


@given(genomes, randoms)
def test_a_single_mutation_leads_to_a_neighbour(genome: Genome, rng: Random) -> None:
    assert mutate(genome, rng)[0] in neighbours(genome)


@given(genomes)
def test_neighbours_are_valid_different_and_listed_once(genome: Genome) -> None:
    around = neighbours(genome)
    assert all(map(is_valid, around))
    assert len(set(around)) == len(around)
    assert genome not in around


@given(genomes, genomes, randoms)
def test_a_cross_is_valid_and_takes_from_both(a: Genome, b: Genome, rng: Random) -> None:
    child, words = cross(a, b, rng)
    assert is_valid(child)
    assert child.update in (a.update, b.update)
    assert child.decay in (a.decay, b.decay)
    repairs = words.partition("; repaired ")[2]
    for axis, value in child.axes.items():
        assert value in (a.axes[axis], b.axes[axis]) or f"{axis} " in repairs
    if distance(a, b) < 2:
        assert child == a


@given(genomes, st.lists(st.sampled_from(MECHANISMS), min_size=1, max_size=3, unique=True))
def test_an_insert_has_the_mechanisms_or_none_can(genome: Genome, mechanisms: list[str]) -> None:
    wanted = tuple(mechanisms)
    possible = any(contains(g, wanted) for g in every_genome())
    try:
        child, words = insert(genome, *wanted)
    except ValueError:
        assert not possible
        return
    assert possible
    assert is_valid(child)
    assert contains(child, wanted)
    if contains(genome, wanted):
        assert child == genome
        assert "already" in words


@given(genomes, st.sampled_from(MECHANISMS))
def test_an_insert_keeps_the_decay_and_the_update_where_it_can(genome: Genome, new: str) -> None:
    child, _ = insert(genome, new)
    assert child.decay == genome.decay or new.startswith("decay=")
    same = any(contains(g, (new, f"update={genome.update}")) for g in every_genome())
    assert child.update == genome.update or not same


def test_an_insert_names_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="no mechanism"):
        insert(every_genome()[0], "decay=infinite")
    with pytest.raises(ValueError, match="cannot be both"):
        insert(every_genome()[0], "decay=fixed", "decay=none")


@given(genomes, genomes)
def test_distance_counts_axes(a: Genome, b: Genome) -> None:
    assert distance(a, b) == distance(b, a) == len(set(a.mechanisms) - set(b.mechanisms))


@given(genomes, genomes, st.integers(0, 2**32))
def test_the_same_seed_makes_the_same_moves(a: Genome, b: Genome, seed: int) -> None:
    assert mutate(a, Random(seed), 2) == mutate(a, Random(seed), 2)
    assert cross(a, b, Random(seed)) == cross(a, b, Random(seed))
