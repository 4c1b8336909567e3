"""Suites at the scales of a claim: what changes with the scale, and what must not."""

import pytest

from noctuary.bench.suite import STANDARD, SUITES, TINY, Suite, suite_by_name
from noctuary.domain import Scale
from noctuary.errors import UsageError

EVERY_SUITE = pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)
LARGER: tuple[Scale, ...] = ("wide", "long")


def test_the_versions_of_the_search_are_what_they_were() -> None:
    """All trials so far stand under them."""
    assert STANDARD.version == "standard-2-7f11e668"
    assert TINY.version == "tiny-2-6f601b09"


@EVERY_SUITE
def test_each_scale_is_a_suite_of_its_own_that_is_found_by_name_and_version(suite: Suite) -> None:
    assert suite.scaled("base") is suite
    scaled = [suite.scaled(scale) for scale in LARGER]
    assert len({one.version for one in (suite, *scaled)}) == 3
    for one in scaled:
        assert suite_by_name(one.version) == suite_by_name(one.name) == one
        assert one.name not in SUITES
        with pytest.raises(UsageError, match="has no scale 'wide'"):
            one.scaled("wide")


@EVERY_SUITE
def test_wide_doubles_the_width_and_keeps_that_of_a_head(suite: Suite) -> None:
    wide = suite.scaled("wide")
    assert wide.shape.d_model == 2 * suite.shape.d_model
    assert wide.shape.d_model // wide.shape.n_heads == suite.shape.d_model // suite.shape.n_heads
    assert wide.shape.parameter_budget == 4 * suite.shape.parameter_budget
    assert wide.shape.n_layers == suite.shape.n_layers
    assert (wide.tasks, wide.held_out) == (suite.tasks, suite.held_out)


@EVERY_SUITE
def test_long_doubles_every_task_and_keeps_the_tokens(suite: Suite) -> None:
    long = suite.scaled("long")
    assert long.shape == suite.shape
    assert long.rungs == suite.rungs
    for short in (*suite.tasks, *suite.held_out):
        task = long.task(short.name)
        assert (task.length, task.test_length) == (2 * short.length, 2 * short.test_length)
        assert task.vocab_size == short.vocab_size
        for split, length in (("train", task.length), ("test", task.test_length)):
            inputs, targets = task.sequences(2, 1_000_000, split)  # type: ignore[arg-type]
            assert inputs.shape == targets.shape == (2, length)


def test_a_version_of_another_machine_is_refused() -> None:
    with pytest.raises(UsageError, match="is no suite"):
        suite_by_name("tiny-2-wide-00000000")
