"""Every task has an exact answer, and nothing short of the context gives it.

The solvers here are plain Python, written apart from the generators, and see only the tokens up
to the position that is scored. Text has no solver.
"""

import math
from collections import Counter, defaultdict
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noctuary.bench.tasks import IGNORED, Task, Tokens
from noctuary.bench.tasks.copying import Compression, SelectiveCopy
from noctuary.bench.tasks.extrapolation import LengthExtrapolation
from noctuary.bench.tasks.memorisation import Memorisation
from noctuary.bench.tasks.mqar import Mqar
from noctuary.bench.tasks.recall import FuzzyRecall, InContextRecall, NoisyRecall
from noctuary.bench.tasks.state_tracking import S3, S5, ModCounter, Parity, elements

PERMUTATIONS = (S3, S5)
CLASSES = [
    *(Mqar, InContextRecall, NoisyRecall, FuzzyRecall, SelectiveCopy, Compression, Memorisation),
    *(Parity, ModCounter, S3, S5, LengthExtrapolation),
]
SOLVABLE: list[Task] = [make.at_level(2, 32) for make in CLASSES]
SOLVABLE += [
    LengthExtrapolation(inner, factor=4, name=f"long_{inner.name}")
    for inner in (ModCounter(16, 5), SelectiveCopy(16, 3), Parity(16, 0.2), S3(16, 2))
]
by_name = pytest.mark.parametrize("task", SOLVABLE, ids=lambda task: task.name)


def after_the_first(seen: list[int]) -> int:
    """What followed when the last token came for the first time."""
    place = seen.index(seen[-1])
    assert place < len(seen) - 1
    return seen[place + 1]


def motifs(seen: list[int], alphabet: int) -> list[tuple[list[int], list[int]]]:
    """The runs of key tokens and of value tokens, in pairs."""
    pairs: list[tuple[list[int], list[int]]] = []
    was_key = False
    for token in seen:
        is_key = token < alphabet
        if is_key and not was_key:
            pairs.append(([], []))
        pairs[-1][0 if is_key else 1].append(token)
        was_key = is_key
    return pairs


def fuzzy(seen: list[int], alphabet: int) -> int:
    *earlier, (key, begun) = motifs(seen, alphabet)
    meaning = next(value for known, value in earlier if known == key)
    assert meaning[: len(begun)] == begun
    return meaning[len(begun)]


def copied(seen: list[int]) -> int:
    """The content before the last marker, at the place that the marker's distance says."""
    marker = len(seen) - 1 - seen[::-1].index(1)
    content: list[int] = []
    for token in seen[:marker]:
        content = [] if token == 1 else content + [token] * (token > 1)
    return content[len(seen) - 1 - marker]


def composed(seen: list[int], degree: int) -> int:
    state = list(range(degree))
    for token in seen:
        state = [state[i] for i in elements(degree)[token]]
    return elements(degree).index(tuple(state))


def trained_map(task: Task, seed: int) -> dict[int, int]:
    inputs, targets = task.sequences(64, seed, "train")
    return dict(zip(inputs.ravel().tolist(), targets.ravel().tolist(), strict=True))


def answer(task: Task, seen: list[int], seed: int) -> int:
    match task:
        case Mqar() | InContextRecall() | NoisyRecall():
            return after_the_first(seen)
        case FuzzyRecall():
            return fuzzy(seen, task.alphabet)
        case SelectiveCopy() | Compression():
            return copied(seen)
        case Memorisation():
            return trained_map(task, seed)[seen[-1]]
        case Parity() | ModCounter():
            return sum(seen) % task.answers
        case S3() | S5():
            return composed(seen, task.degree)
        case LengthExtrapolation():
            return answer(task.inner, seen, seed)
    raise AssertionError(task)


def assert_solved(task: Task, seed: int, rows: int) -> int:
    scored = 0
    inputs, targets = task.sequences(rows, seed, "test")
    for row, wanted in zip(inputs.tolist(), targets.tolist(), strict=True):
        for place, target in enumerate(wanted):
            if target != IGNORED:
                assert answer(task, row[: place + 1], seed) == target
                scored += 1
    return scored


@by_name
def test_what_is_scored_follows_from_the_tokens_so_far(task: Task) -> None:
    assert assert_solved(task, seed=5, rows=12) >= 12


@settings(max_examples=60, deadline=None)
@given(
    make=st.sampled_from([make for make in CLASSES if make is not Memorisation]),
    level=st.integers(1, 5),
    length=st.integers(16, 80),
    seed=st.integers(0, 2**31),
)
def test_all_levels_and_lengths_are_solved(
    make: type[Any], level: int, length: int, seed: int
) -> None:
    task = make.at_level(level, length)
    assert_solved(task, seed, rows=2)
    inputs, targets = task.sequences(3, seed, "train")
    assert inputs.shape == targets.shape == (3, length)
    assert inputs.min() >= 0
    assert max(inputs.max(), targets.max()) < task.vocab_size


def hits(guess: dict[int, int], cues: Tokens, targets: Tokens) -> float:
    pairs = zip(cues.tolist(), targets.tolist(), strict=True)
    return sum(guess.get(cue, -1) == target for cue, target in pairs) / len(targets)


def learnt(cues: Tokens, targets: Tokens) -> dict[int, int]:
    """The commonest target after each cue."""
    counts: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for cue, target in zip(cues.tolist(), targets.tolist(), strict=True):
        counts[cue][target] += 1
    return {cue: counter.most_common(1)[0][0] for cue, counter in counts.items()}


def cues_and_targets(task: Task, seed: int, *, of: str) -> tuple[Tokens, Tokens]:
    inputs, targets = task.sequences(500, seed, "test")
    scored = targets != IGNORED
    places = np.broadcast_to(np.arange(inputs.shape[1]), inputs.shape)
    return (places if of == "place" else inputs)[scored], targets[scored]


@by_name
def test_the_best_guess_from_the_position_alone_has_chance_accuracy(task: Task) -> None:
    guess = learnt(*cues_and_targets(task, 1, of="place"))
    reached = hits(guess, *cues_and_targets(task, 2, of="place"))
    assert reached == pytest.approx(task.chance_accuracy, abs=0.025)


@by_name
def test_the_last_token_alone_gives_little_more_than_chance(task: Task) -> None:
    seed = 3
    guess = learnt(*cues_and_targets(task, 1, of="token"))
    reached = hits(guess, *cues_and_targets(task, seed, of="token"))
    first = 1 / task.test_length  # where a product has one factor, the token is the answer
    assert reached < task.chance_accuracy + first + 0.04


@by_name
def test_a_uniform_guess_over_the_answers_has_chance_loss(task: Task) -> None:
    counts = np.array(list(Counter(cues_and_targets(task, 1, of="token")[1].tolist()).values()))
    assert math.log(len(counts)) == pytest.approx(task.chance_loss)
    share = counts / counts.sum()
    assert -(share * np.log(share)).sum() == pytest.approx(task.chance_loss, rel=0.05)


@pytest.mark.parametrize("generators", [2, 3, 6])
@pytest.mark.parametrize("length", [1, 4])
def test_chance_of_a_word_problem_is_that_of_all_words(generators: int, length: int) -> None:
    right = 0.0
    for size in range(1, length + 1):
        ends = Counter(composed(list(word), 3) for word in product(range(generators), repeat=size))
        right += ends.most_common(1)[0][1] / generators**size
    assert S3(length, generators).chance_accuracy == pytest.approx(right / length)


@pytest.mark.parametrize("flips", [0.1, 0.3, 0.5])
def test_chance_of_parity_is_that_of_all_words(flips: float) -> None:
    even = 0.0
    for size in range(1, 7):
        for word in product((0, 1), repeat=size):
            if sum(word) % 2 == 0:
                even += math.prod(flips if bit else 1 - flips for bit in word)
    assert Parity(6, flips).chance_accuracy == pytest.approx(even / 6)


@pytest.mark.parametrize("make", PERMUTATIONS)
def test_two_generators_reach_the_whole_group(make: type[S3 | S5]) -> None:
    group = elements(make.degree)
    assert len(set(group)) == math.factorial(make.degree)
    assert all(sorted(element) == list(range(make.degree)) for element in group)
    states = make(64, 2).sequences(4000, 0, "train")[1][:, -1]
    assert set(states.tolist()) == set(range(len(group)))


def test_memorised_maps_are_of_the_seed_and_balanced() -> None:
    task = Memorisation(length=64, keys=32, values=4)
    one, two = trained_map(task, 1), trained_map(task, 2)
    assert one != two
    assert Counter(Counter(one.values()).values()) == {8: 4}  # four values, each of eight keys


@pytest.mark.parametrize("level", [1, 3, 5])
def test_no_fuzzy_key_is_the_beginning_of_another(level: int) -> None:
    task = FuzzyRecall.at_level(level, 64)
    sizes = set()
    for row in task.sequences(64, 0, "train")[0].tolist():
        whole = motifs(row, task.alphabet)[:-1]
        keys = {tuple(key) for key, _ in whole}
        assert len(keys) <= task.keys
        assert not any(a != b and b[: len(a)] == a for a in keys for b in keys)
        sizes |= {len(motif) for pair in whole for motif in pair}
    assert sizes == set(range(1, task.motif + 1))


def test_noise_stays_between_the_pairs() -> None:
    task = NoisyRecall(length=64, noise=0.4, keys=8)
    gaps = Counter()
    for row in task.sequences(64, 0, "train")[0].tolist():
        kinds = [(token >= task.keys) + (token >= task.keys + task.values) for token in row]
        assert kinds.count(0) == kinds.count(1) == task.pairs
        assert all(kinds[place + 1] == 1 for place, kind in enumerate(kinds) if kind == 0)
        gaps[kinds[0]] += 1
    assert set(gaps) == {0, 2}  # a sequence begins with a pair or with noise
