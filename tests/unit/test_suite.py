"""The suites: what their versions hang on, and that they keep the protocol's promises."""

from dataclasses import replace
from pathlib import Path

import pytest

from noctuary.bench.suite import STANDARD, SUITES, TINY, Suite, suite_by_name
from noctuary.bench.tasks.text import ByteText
from noctuary.canonical import content_id
from noctuary.config import Settings, TrainingSettings
from noctuary.corpus import prepare_corpus
from noctuary.errors import UsageError
from noctuary.lab import Lab
from noctuary.plan import suite_of, with_text

EVERY_SUITE = pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.bin"
    path.write_bytes(b"to be or not to be, that is the question. " * 4000)
    return path


@EVERY_SUITE
def test_tasks_have_names_of_their_own_and_held_out_ones_are_apart(suite: Suite) -> None:
    names = [task.name for task in (*suite.tasks, *suite.held_out)]
    assert len(set(names)) == len(names)
    assert suite.held_out
    for task in (*suite.tasks, *suite.held_out):
        assert suite.task(task.name) is task
    with pytest.raises(UsageError, match="'gold' is no task"):
        suite.task("gold")


@EVERY_SUITE
def test_the_last_rung_is_at_least_three_times_the_first(suite: Suite) -> None:
    budgets = [rung.steps * rung.tokens_per_step for rung in suite.rungs]
    assert budgets == sorted(budgets)
    assert budgets[suite.top] >= 3 * budgets[0]


@EVERY_SUITE
def test_the_parts_of_the_score_add_up_to_one(suite: Suite) -> None:
    weights = suite.weights
    assert weights.loss + weights.accuracy + weights.learning == pytest.approx(1)


def test_the_standard_suite_measures_four_capabilities() -> None:
    assert set(STANDARD.capabilities) == {
        "recall",
        "compression",
        "state_tracking",
        "language_modelling",
    }


def test_every_number_is_in_the_version() -> None:
    first = TINY.rungs[0]
    changed = [
        replace(TINY, learning_rates=(1e-3,)),
        replace(TINY, rungs=(replace(first, steps=5), *TINY.rungs[1:])),
        replace(TINY, weights=replace(TINY.weights, loss=0.5)),
        replace(TINY, held_out=()),
        replace(TINY, solved_share=0.2),
    ]
    assert len({TINY.version, *(suite.version for suite in changed)}) == len(changed) + 1


def test_another_text_is_another_version_wherever_it_lies(text: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.bin"
    elsewhere.write_bytes(text.read_bytes())
    first, second = TINY.with_text(text), TINY.with_text(elsewhere)
    assert first.version == second.version != TINY.version
    assert first.with_text(None).version == TINY.version
    assert suite_by_name(first.version, elsewhere).version == first.version
    assert suite_by_name(TINY.name, text).version == first.version
    with pytest.raises(UsageError, match="is no suite"):
        suite_by_name(first.version)


def test_a_text_of_ones_own_is_what_the_text_task_reads(text: Path) -> None:
    [task] = [t for t in TINY.with_text(text).tasks if isinstance(t, ByteText)]
    inputs, _ = task.sequences(4, 0, "train")
    assert all(bytes(row.astype("uint8").tolist()) in text.read_bytes() for row in inputs)


def test_settings_name_a_folder_and_the_lab_keeps_its_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "books"
    folder.mkdir()
    (folder / "one.txt").write_text("call me anything. " * 5000)
    lab = Lab.create_or_open(tmp_path / "lab")
    asked = Settings(training=TrainingSettings(suite=TINY.name, text=str(folder)))
    found = with_text(asked, lab)
    kept = Path(found.training.text)
    assert kept.parent == lab.corpora
    assert b"call me anything" in kept.read_bytes()
    before = suite_of(found.training).version
    (folder / "one.txt").write_text("something else entirely. " * 5000)
    assert suite_of(found.training).version == before, "the lab's own copy decides"
    assert suite_of(with_text(asked, lab).training).version != before
    assert with_text(Settings(), lab) == Settings()


def test_a_relative_folder_is_one_of_the_lab(tmp_path: Path) -> None:
    lab = Lab.create_or_open(tmp_path / "lab")
    (lab.root / "books").mkdir()
    (lab.root / "books" / "one.txt").write_text("call me anything. " * 5000)
    found = with_text(Settings(training=TrainingSettings(text="books")), lab)
    assert Path(found.training.text).parent == lab.corpora


def test_a_dataset_that_was_fetched_is_not_asked_for_again(text: Path, tmp_path: Path) -> None:
    lab = Lab.create_or_open(tmp_path / "lab")
    asked = Settings(training=TrainingSettings(text="hf:owner/name"))
    with pytest.raises(UsageError, match="--offline forbids to fetch it"):
        with_text(asked, lab, offline=True)
    kept = prepare_corpus(str(text), lab.corpora)
    note = lab.corpora / f"{content_id({'source': 'hf:owner/name'})}.txt"
    note.write_text(kept.name)  # as the first run leaves it
    assert with_text(asked, lab, offline=True).training.text == str(kept)
    kept.unlink()
    with pytest.raises(UsageError, match="--offline forbids to fetch it"):
        with_text(asked, lab, offline=True)
