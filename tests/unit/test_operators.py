"""The design space: every move leads to a valid genome, says what it did, and can be had again.

Covers the operators and the features. Does not cover names (`test_naming`) or how a genome reads
as Python.
"""

import itertools
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from noctuary.space.features import COLUMN, MECHANISMS, encoded
from noctuary.space.genome import Genome, contradictions, plainest, repaired
from noctuary.space.human import HUMAN
from noctuary.space.mechanisms import AXES, ORDERED, RULES, broken_rules
from noctuary.space.operators import (
    completed,
    contains,
    cross,
    distance,
    draw,
    insert,
    interpolate,
    mutate,
    neighbours,
    simplifications,
    simplify,
)

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("steady")

any_axes = st.fixed_dictionaries({axis: st.sampled_from(list(v)) for axis, v in AXES.items()})
randoms = st.integers(0, 2**32).map(Random)
genomes = randoms.map(lambda rng: draw(rng)[0]) | st.sampled_from(list(HUMAN.values()))
mechanisms = st.sampled_from(MECHANISMS)


def is_valid(genome: Genome) -> bool:
    """Check anew: `model_copy` and friends could have gone round the validator."""
    return Genome.model_validate(genome.model_dump()) == genome and not contradictions(genome.axes)


def naive_completions(axes: tuple[str, ...], around: Genome) -> set[tuple[str, ...]]:
    """Return the valid values of a few axes while the others stay: all combinations, tried."""
    return {
        values
        for values in itertools.product(*(AXES[axis] for axis in axes))
        if not contradictions(around.axes | dict(zip(axes, values, strict=True)))
    }


def test_the_genome_has_the_axes_and_values_of_the_mechanisms() -> None:
    assert list(Genome.model_fields) == list(AXES)
    for axis, field in Genome.model_fields.items():
        assert field.annotation.__args__ == tuple(AXES[axis])  # type: ignore[union-attr]


@given(any_axes)
def test_a_repaired_genome_is_valid_and_keeps_the_update_rule(axes: dict[str, str]) -> None:
    genome = repaired(axes)
    assert is_valid(genome)
    assert genome.update == axes["update"]
    assert repaired(genome.axes) == genome


@given(any_axes)
def test_repairing_leaves_what_is_valid_alone(axes: dict[str, str]) -> None:
    if not contradictions(axes):
        assert repaired(axes).axes == axes
    else:
        with pytest.raises(ValidationError):
            Genome.model_validate(axes)


# --- draw


@given(any_axes)
def test_the_broken_rules_are_those_that_say_so_one_by_one(axes: dict[str, str]) -> None:
    assert broken_rules(axes) == [rule for rule in RULES if rule.broken(axes)]


def test_draws_are_valid_and_reach_every_mechanism() -> None:
    drawn = [draw(Random(seed))[0] for seed in range(1500)]
    assert all(map(is_valid, drawn[:100]))
    assert set(MECHANISMS) == {name for genome in drawn for name in genome.mechanisms}


# --- mutate


@given(genomes, randoms, st.integers(1, 6))
def test_a_mutation_is_valid_and_different_and_says_so(genome: Genome, rng: Random, n: int) -> None:
    child, words = mutate(genome, rng, n)
    assert is_valid(child)
    assert child != genome
    for axis, value in child.axes.items():
        changed = f"{axis} {genome.axes[axis]} -> {value}"
        assert (changed in words) == (value != genome.axes[axis])


def test_a_mutation_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        mutate(HUMAN["gla"], Random(0), 0)


@settings(max_examples=10)
@given(genomes, st.integers(0, 2**32))
def test_single_mutations_are_the_neighbours_all_of_them(genome: Genome, seed: int) -> None:
    around = neighbours(genome)
    assert all(map(is_valid, around))
    assert len(set(around)) == len(around)
    assert genome not in around
    rng = Random(seed)
    assert {mutate(genome, rng)[0] for _ in range(30)} <= set(around)
    for axis in AXES:
        stands = {child.axes[axis] for child in around} - {genome.axes[axis]}
        alone = {v for (v,) in naive_completions((axis,), genome)} - {genome.axes[axis]}
        assert alone <= stands


# --- cross


@given(genomes, genomes, randoms)
def test_a_cross_is_valid_and_takes_from_both(a: Genome, b: Genome, rng: Random) -> None:
    child, words = cross(a, b, rng)
    assert is_valid(child)
    assert child.update in (a.update, b.update)
    repairs = words.partition("; repaired ")[2]
    for axis, value in child.axes.items():
        assert value in (a.axes[axis], b.axes[axis]) or f"{axis} " in repairs
    if distance(a, b) < 2:
        assert child == a


# --- insert


@given(genomes, st.lists(mechanisms, min_size=1, max_size=3, unique=True))
def test_an_insert_has_the_mechanisms_or_none_can(genome: Genome, wanted: list[str]) -> None:
    asked = dict(name.split("=") for name in wanted)
    possible = len(asked) == len(wanted) and completed(asked, {}) is not None
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


def test_an_insert_changes_the_update_rule_only_where_nothing_else_will_do() -> None:
    additive = HUMAN["gla"]
    assert insert(additive, "short_conv=conv4")[0].update == "additive"
    turned, words = insert(additive, "beta_range=double")
    assert turned.update == "delta"
    assert "update additive -> delta" in words


def test_an_insert_names_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="no mechanism"):
        insert(Genome(output_norm="rms"), "decay=infinite")
    with pytest.raises(ValueError, match="cannot be both"):
        insert(Genome(output_norm="rms"), "decay=fixed", "decay=none")


@settings(max_examples=30)
@given(genomes, st.lists(st.sampled_from(list(AXES)), min_size=3, max_size=3, unique=True))
def test_completing_finds_what_trying_all_combinations_finds(
    genome: Genome, open_axes: list[str]
) -> None:
    fixed = {axis: value for axis, value in genome.axes.items() if axis not in open_axes}
    possible = naive_completions(tuple(open_axes), genome)
    for forbidden_axis in open_axes:
        forbidden = {f"{forbidden_axis}={genome.axes[forbidden_axis]}"}
        place = open_axes.index(forbidden_axis)
        left = {v for v in possible if v[place] != genome.axes[forbidden_axis]}
        found = completed(fixed, genome.axes, forbidden)
        if found is None:
            assert not left
        else:
            assert tuple(found.axes[axis] for axis in open_axes) in left
    assert completed(fixed, genome.axes) == genome


# --- simplify and interpolate


@given(genomes, randoms)
def test_a_simplification_takes_one_part_away(genome: Genome, rng: Random) -> None:
    simpler = simplifications(genome)
    assert len({child for child, _ in simpler}) == len(simpler)
    for child, words in simpler:
        assert is_valid(child)
        assert len(child.telling) < len(genome.telling)
        lost = [axis for axis in genome.telling if axis not in child.telling]
        assert any(f"{axis} {genome.axes[axis]} -> {plainest(axis)}" in words for axis in lost)
    child, words = simplify(genome, rng)
    assert (child, words) in simpler or (child == genome and not simpler)


def test_the_parts_of_a_known_mixer_are_taken_away_one_by_one() -> None:
    lost = {words.split()[1] for _, words in simplifications(HUMAN["gated_delta_net"])}
    assert lost == {"update", "decay", "feature_map", "short_conv", "output_gate", "output_norm"}
    assert simplify(repaired({}), Random(0))[0] == repaired({})


@given(genomes, genomes)
def test_interpolation_goes_along_the_lines_only(a: Genome, b: Genome) -> None:
    child, words = interpolate(a, b)
    assert is_valid(child)
    for axis, line in ORDERED.items():
        start, end, value = a.axes[axis], b.axes[axis], child.axes[axis]
        if {start, end, value} <= set(line):
            places = sorted([line.index(start), line.index(end)])
            assert places[0] <= line.index(value) <= places[1]
    assert (child == a) == ("nothing between" in words)


def test_between_slow_and_fast_there_is_medium() -> None:
    def decaying(speed: str) -> Genome:
        return insert(HUMAN["gla"], f"decay_init={speed}")[0]

    slow, medium, fast = map(decaying, ("slow", "medium", "fast"))
    assert interpolate(slow, fast)[0] == interpolate(fast, slow)[0] == medium
    assert interpolate(slow, medium)[0] == medium
    assert interpolate(HUMAN["gla"], fast)[0] == HUMAN["gla"]  # "plain" lies on no line


# --- distance, features, seeds


@given(genomes, genomes)
def test_distance_counts_axes_and_the_features_agree(a: Genome, b: Genome) -> None:
    assert distance(a, b) == distance(b, a) == len(set(a.mechanisms) - set(b.mechanisms))
    points = encoded([a, b])
    assert points.sum(axis=1).tolist() == [len(AXES), len(AXES)]
    assert distance(a, b) == len(AXES) - points[0] @ points[1]
    assert all(points[0][COLUMN[name]] == 1 for name in a.mechanisms)


def test_the_features_of_no_genome_are_an_empty_table() -> None:
    assert encoded([]).shape == (0, len(MECHANISMS))
    assert np.array_equal(encoded([Genome(output_norm="rms")])[0][:3], [1, 0, 0])


@given(genomes, genomes, st.integers(0, 2**32))
def test_the_same_seed_makes_the_same_moves(a: Genome, b: Genome, seed: int) -> None:
    assert draw(Random(seed)) == draw(Random(seed))
    assert mutate(a, Random(seed), 2) == mutate(a, Random(seed), 2)
    assert cross(a, b, Random(seed)) == cross(a, b, Random(seed))
    assert simplify(a, Random(seed)) == simplify(a, Random(seed))
