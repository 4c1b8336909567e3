"""The bench's tasks: deterministic, with the alphabet they claim, and harder by the level.

That they are solvable, and not by less than the context, is shown in `test_task_solvers`.
"""

import hashlib
import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from noctuary.bench.suite import STANDARD, SUITES, suite_by_name
from noctuary.bench.tasks import IGNORED, LEVELS, Task, seen_before
from noctuary.bench.tasks.copying import Compression, SelectiveCopy
from noctuary.bench.tasks.extrapolation import LengthExtrapolation
from noctuary.bench.tasks.memorisation import Memorisation
from noctuary.bench.tasks.mqar import Mqar
from noctuary.bench.tasks.recall import FuzzyRecall, InContextRecall, NoisyRecall
from noctuary.bench.tasks.state_tracking import S3, S5, ModCounter, Parity
from noctuary.bench.tasks.text import ByteText, Part, corpus
from noctuary.canonical import content_id
from noctuary.domain import Capability
from noctuary.errors import UsageError

Quantity = Callable[[Any], float]
HARDER: dict[type[Any], tuple[Quantity, ...]] = {
    Mqar: (lambda task: task.pairs,),
    InContextRecall: (lambda task: task.keys,),
    NoisyRecall: (lambda task: task.noise, lambda task: task.keys),
    FuzzyRecall: (lambda task: task.motif * task.keys,),
    SelectiveCopy: (lambda task: task.tokens,),
    Compression: (lambda task: task.tokens,),
    Memorisation: (lambda task: task.keys,),
    Parity: (lambda task: task.flips,),
    ModCounter: (lambda task: task.modulus,),
    S3: (lambda task: task.generators,),
    S5: (lambda task: task.generators,),
    LengthExtrapolation: (lambda task: task.factor,),
    ByteText: (lambda task: -task.train_share,),
}
"""What grows with the level, for every class of tasks."""

DEFAULTS = [make.at_level(2, 64) for make in HARDER]
TASKS = [
    *(task for suite in SUITES.values() for task in suite.tasks),
    *DEFAULTS,
    ByteText(64, name="text_packages", part="packages"),
    LengthExtrapolation(ByteText(32), factor=3, name="long_text"),
]
every_class = pytest.mark.parametrize("make", HARDER, ids=lambda make: make.__name__)

DIGEST = "dea75657dbaaedda"
"""Of sequences of all tasks but text, as every machine makes them."""


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.name}-{task.length}")
def test_the_seed_the_name_and_the_split_decide_and_the_alphabet_holds(task: Task) -> None:
    inputs, targets = task.sequences(16, 3, "train")
    again, same = task.sequences(16, 3, "train")
    assert (inputs == again).all()
    assert (targets == same).all()
    assert inputs.shape == targets.shape == (16, task.length)
    assert inputs.dtype == targets.dtype == np.int64
    renamed = replace(task, name=f"{task.name}_b").sequences(16, 3, "train")[0]
    test_inputs, test_targets = task.sequences(16, 3, "test")
    assert test_inputs.shape == test_targets.shape == (16, task.test_length)
    for other in (task.sequences(16, 4, "train")[0], test_inputs[:, : task.length], renamed):
        assert (inputs != other).any()
    for read, wanted in ((inputs, targets), (test_inputs, test_targets)):
        scored = wanted[wanted != IGNORED]
        assert len(scored) > 0
        assert min(read.min(), scored.min()) >= 0
        assert max(read.max(), scored.max()) < task.vocab_size


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.name}-{task.length}")
def test_a_task_says_what_it_measures_and_what_chance_is(task: Task) -> None:
    assert task.capability in get_args(Capability)
    assert re.fullmatch(r"[a-z][a-z0-9_]*", task.name)
    assert 0 < task.chance_accuracy < 1
    assert 0 < task.chance_loss <= math.log(task.vocab_size)
    assert content_id(asdict(task))
    assert hash(task) == hash(replace(task))


def test_default_names_are_all_different() -> None:
    assert len({task.name for task in DEFAULTS}) == len(HARDER)


def test_every_machine_makes_the_same_sequences() -> None:
    digest = hashlib.sha256()
    for task in DEFAULTS:
        if not isinstance(task, ByteText):
            for tokens in task.sequences(32, 7, "test"):
                digest.update(tokens.astype("<i8").tobytes())
    assert digest.hexdigest()[:16] == DIGEST


@every_class
@pytest.mark.parametrize("length", [16, 64, 100])
def test_a_level_is_strictly_harder_than_the_one_below(make: type[Any], length: int) -> None:
    tasks = [make.at_level(level, length, "mine") for level in LEVELS]
    assert {(task.name, task.length) for task in tasks} == {("mine", length)}
    for quantity in HARDER[make]:
        sizes = [quantity(task) for task in tasks]
        assert all(below < above for below, above in pairwise(sizes))
    assert len({repr(asdict(task)) for task in tasks}) == 5


@every_class
@pytest.mark.parametrize("level", [0, 6, -1])
def test_there_are_five_levels(make: type[Any], level: int) -> None:
    with pytest.raises(ValueError, match=f"level {level}; expected 1 .* to 5"):
        make.at_level(level, 64)


def test_the_second_level_of_mqar_is_the_one_of_the_literature_here() -> None:
    assert Mqar.at_level(2, 64) == Mqar(length=64, pairs=8, keys=16, values=16)


@pytest.mark.parametrize(
    ("make", "numbers", "complaint"),
    [
        (Mqar, {"length": 8, "pairs": 4, "keys": 8, "values": 8}, "length >= 3"),
        (NoisyRecall, {"length": 8, "noise": 0.9, "keys": 4}, "room for two pairs"),
        (NoisyRecall, {"length": 8, "noise": 1.0, "keys": 4}, "below 1"),
        (FuzzyRecall, {"length": 32, "motif": 1, "keys": 9, "alphabet": 8}, "2 to 8 keys"),
        (SelectiveCopy, {"length": 8, "tokens": 5}, "1 to 4 tokens"),
        (Compression, {"length": 8, "tokens": 5}, "1 to 4 tokens"),
        (Memorisation, {"length": 8, "keys": 20, "values": 16}, "multiple"),
        (Parity, {"length": 8, "flips": 0.7}, r"up to 0\.5, not 0\.7"),
        (ModCounter, {"length": 8, "modulus": 1}, "at least 2"),
        (S3, {"length": 8, "generators": 7}, "2 to 6 generators"),
        (LengthExtrapolation, {"inner": Parity(8), "factor": 1}, "at least 2"),
        (ByteText, {"length": 8, "train_share": 0.0}, "train_share"),
    ],
)
def test_a_task_that_cannot_be_is_refused(
    make: type[Any], numbers: dict[str, int], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        make(**numbers)


@pytest.mark.parametrize("make", [Mqar, SelectiveCopy, Compression])
def test_lengths_that_have_no_five_levels_are_refused(make: type[Any]) -> None:
    with pytest.raises(ValueError, match="length 15; expected at least 16"):
        make.at_level(1, 15)


def test_mqar_asks_each_key_once() -> None:
    task = Mqar(length=40, pairs=5, keys=9, values=7)
    inputs, targets = task.sequences(64, 0, "train")
    assert ((targets != IGNORED).sum(1) == task.pairs).all()
    for row in inputs:
        keys = row[0 : 2 * task.pairs : 2]
        assert len(set(keys)) == task.pairs
        assert sorted(row[2 * task.pairs :][row[2 * task.pairs :] > 0]) == sorted(keys)


def test_seen_before_is_what_a_set_remembers() -> None:
    symbols = np.random.default_rng(0).integers(0, 7, (20, 12))
    for row, flags in zip(symbols.tolist(), seen_before(symbols, 7).tolist(), strict=True):
        assert flags == [symbol in row[:place] for place, symbol in enumerate(row)]


@pytest.mark.parametrize(
    "inner",
    [Parity(16, 0.2), ModCounter(16, 5), SelectiveCopy(16, 4), ByteText(16), Mqar(24, 4, 8, 8)],
    ids=lambda inner: inner.name,
)
def test_extrapolation_scores_only_what_training_never_reached(inner: Task) -> None:
    task = LengthExtrapolation(inner, factor=4)
    inputs, targets = task.sequences(64, 0, "test")
    assert (targets[:, : inner.length] == IGNORED).all()
    whole = replace(inner, length=4 * inner.length, name=task.name).sequences(64, 0, "test")
    assert (inputs == whole[0]).all()
    assert (targets[:, inner.length :] == whole[1][:, inner.length :]).all()
    assert (targets != IGNORED).any()
    assert task.sequences(8, 0, "train")[0].shape == (8, inner.length)
    assert (task.vocab_size, task.chance_loss) == (inner.vocab_size, inner.chance_loss)
    assert task.capability == "length_extrapolation"
    assert content_id(asdict(task)) != content_id(asdict(replace(task, factor=3)))


def test_extrapolation_is_versioned_by_the_text_behind_it() -> None:
    assert LengthExtrapolation(ByteText(16), 2).corpus_hash == ByteText(16).corpus_hash
    assert LengthExtrapolation(Parity(16), 2).corpus_hash is None


@pytest.mark.parametrize("part", ["modules", "packages"])
def test_text_is_real_and_its_splits_share_nothing(part: str) -> None:
    task = ByteText(length=64, part=part)
    text = corpus(part).tobytes()
    assert b"import" in text
    assert len(text) == 2 * 2**20
    assert task.chance_loss == math.log(256)
    assert task.chance_accuracy == text.count(b" ") / len(text)
    inputs, targets = task.sequences(8, 0, "train")
    assert (inputs[:, 1:] == targets[:, :-1]).all()
    border = int(len(text) * 0.9)
    for split, where in (("train", text[:border]), ("test", text[border:])):
        for row in task.sequences(8, 0, split)[0]:
            assert row.astype(np.uint8).tobytes() in where


def test_the_two_parts_of_the_library_share_no_text() -> None:
    modules, packages = (set(corpus(part).tobytes().split(b"\n")) for part in get_args(Part))
    long = {line for line in packages if len(line) > 60}
    assert len(long & modules) < 0.02 * len(long)
    assert ByteText(64).corpus_hash != ByteText(64, part="packages").corpus_hash


def test_the_file_decides_about_a_text_and_not_its_path(tmp_path: Path) -> None:
    words = b"the owl reads while the lab is asleep\n" * 200
    for name in ("a.bin", "b.bin"):
        (tmp_path / name).write_bytes(words)
    (tmp_path / "c.bin").write_bytes(words + b"!")
    a, b, c = (ByteText(16, path=str(tmp_path / name)) for name in ("a.bin", "b.bin", "c.bin"))
    assert a.corpus_hash == b.corpus_hash == hashlib.sha256(words).hexdigest()
    assert a.corpus_hash != c.corpus_hash
    assert (a.sequences(4, 0, "test")[0] == b.sequences(4, 0, "test")[0]).all()
    assert bytes(a.sequences(1, 0, "train")[0][0].tolist()) in words
    assert a.chance_accuracy == words.count(b" ") / len(words)


def test_a_smaller_share_of_text_is_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "bytes.bin"
    path.write_bytes(bytes(range(250)) * 4)
    inputs, targets = ByteText(8, path=str(path), train_share=0.25).sequences(500, 0, "train")
    assert max(inputs.max(), targets.max()) < 225  # of 900 bytes for training, the first quarter
    assert ByteText(8, path=str(path)).sequences(500, 0, "train")[0].max() == 249


def test_a_text_that_is_missing_or_too_short_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        ByteText(16, path=str(tmp_path / "none.bin")).sequences(1, 0, "train")
    short = tmp_path / "short.bin"
    short.write_bytes(b"x" * 100)
    with pytest.raises(UsageError, match=r"test part .* has 10 bytes; expected at least 18"):
        ByteText(16, path=str(short)).sequences(1, 0, "test")


def test_making_tasks_needs_no_torch() -> None:
    modules = ", ".join({f"{make.__module__}" for make in HARDER})
    check = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_a_suite_is_versioned_by_its_content() -> None:
    first, *others = STANDARD.rungs
    changed = replace(STANDARD, rungs=(replace(first, steps=first.steps + 1), *others))
    assert changed.version != STANDARD.version
    assert suite_by_name(STANDARD.version) == suite_by_name(STANDARD.name) == STANDARD
    with pytest.raises(UsageError, match=STANDARD.name):
        suite_by_name("gold")
    with pytest.raises(UsageError, match="mqar"):
        STANDARD.task("chess")
