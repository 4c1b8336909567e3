"""What a cycle knows: the search's history from the archive, and the designs made from it.

Covers that only earlier cycles count, and that a rerun of a cycle makes the same designs.
"""

from pathlib import Path

import pytest
from builders import TRAINER, make_design, make_gap, make_human, make_trial, record_trials
from searching import SPACE

from noctuary.archive.store import Archive
from noctuary.config import SearchSettings, TrainingSettings
from noctuary.designing import make_designs
from noctuary.domain import Audit, Check, Cycle, Design, Trial
from noctuary.knowledge import Knowledge
from noctuary.plan import suite_of, trainer_of
from noctuary.search.history import Attempt
from noctuary.search.pipeline import search_by
from noctuary.space.human import HUMAN

SETTINGS = TrainingSettings(suite="tiny-2")
SUITE = suite_of(SETTINGS)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(tmp_path / "noctuary.duckdb")
    made.migrate()
    return made


def trials(candidate: str, score: float, rung: int = 0, seed: int = 0) -> list[Trial]:
    return [
        make_trial(
            candidate, task.name, seed, score, suite=SUITE.version, rung=rung, trainer=TRAINER
        )
        for task in SUITE.tasks
    ]


def study(archive: Archive) -> list[Design]:
    """Record a human mixer and five designs: scored, later, rejected, broken, and waiting."""
    designs = [
        make_design("scored", SPACE[0].telling, 1, parents=("human_gla",), move="cross"),
        make_design("later", SPACE[1].telling, 2),
        make_design("rejected", SPACE[2].telling, 1),
        make_design("broken", SPACE[3].telling, 1),
        make_design("waiting", SPACE[4].telling, 1),
    ]
    archive.record_candidates([make_human("gla", HUMAN["gla"].telling), make_human("odd")])
    archive.record_designs(designs)
    check = Check(name="causal", passed=False, detail="the future moved")
    archive.record_audits(
        [Audit(candidate_id="rejected", suite=SUITE.version, checks=(check,))], cycle=1
    )
    [first, *others] = trials("broken", 0.4)
    record_trials(
        archive,
        [
            *trials("human_gla", 0.3),
            *trials("scored", 0.5),
            *trials("later", 0.6),
            first.model_copy(update={"status": "oom", "score": None}),
            *others,
        ],
    )
    return designs


def knowledge_of(archive: Archive, number: int) -> Knowledge:
    return Knowledge(archive, Cycle(number=number, seed=1, settings="s"), SETTINGS)


def attempts_of(archive: Archive, number: int) -> dict[str, Attempt]:
    history = knowledge_of(archive, number).history()
    return {attempt.candidate_id: attempt for attempt in history.attempts}


def test_the_history_is_what_earlier_cycles_left(archive: Archive) -> None:
    assert trainer_of(SETTINGS) == TRAINER
    study(archive)
    assert knowledge_of(archive, 1).history().attempts == ()
    assert knowledge_of(archive, 1).measured() == {}
    second = attempts_of(archive, 2)
    assert set(second) == {"human_gla", "scored", "rejected", "broken", "waiting"}
    assert "later" in attempts_of(archive, 3)

    scored = second["scored"]
    assert (scored.genome, scored.kind, scored.cycle) == (SPACE[0], "design", 1)
    assert (scored.parents, scored.move) == (("human_gla",), "cross")
    assert scored.score == pytest.approx(0.5)
    assert set(scored.tasks) == {task.name for task in SUITE.tasks}
    assert (second["human_gla"].cycle, second["human_gla"].kind) == (0, "human")


def test_what_has_no_score_says_why(archive: Archive) -> None:
    study(archive)
    history = attempts_of(archive, 2)
    assert history["rejected"].reason == "rejected: causal: the future moved"
    assert history["broken"].reason == "oom"
    assert (history["waiting"].reason, history["waiting"].score) == ("", None)
    assert history["scored"].reason == ""


def designs_of(archive: Archive, number: int, seed: int = 1) -> tuple[Design, ...]:
    cycle = Cycle(number=number, seed=seed, settings="s")
    return make_designs(
        cycle,
        make_gap(number, mechanisms=("decay=vector", "short_conv=conv4")),
        (),
        (),
        [make_human("gla", HUMAN["gla"].telling)],
        Knowledge(archive, cycle, SETTINGS),
        search_by(SearchSettings()),
        published={name: genome.telling for name, genome in HUMAN.items()},
        count=4,
    ).made


def test_the_first_cycle_starts_from_the_human_mixers(archive: Archive) -> None:
    designs = [design for seed in range(3) for design in designs_of(archive, 1, seed)]
    assert len({design.design_id for design in designs}) == 12
    # one that is drawn from the space has no parents
    assert {design.parents for design in designs} == {(), ("human_gla",)}
    assert all(design.move for design in designs)


def test_a_rerun_of_a_cycle_makes_the_same_designs(archive: Archive) -> None:
    study(archive)
    before = designs_of(archive, 2)
    archive.record_designs(before)
    record_trials(archive, [t for one in before for t in trials(one.design_id, 0.9)])
    assert designs_of(archive, 2) == before
    assert not {one.name for one in designs_of(archive, 3)} & {one.name for one in before}
