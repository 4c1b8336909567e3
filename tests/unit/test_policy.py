"""The rules of a lab: their file, what is used up, what stops a night, and what people said."""

from pathlib import Path
from random import Random

import pytest
from builders import make_design

from noctuary.archive import Archive
from noctuary.archive.rows import candidate_of
from noctuary.canonical import content_id
from noctuary.cli.rerun import parameters_of
from noctuary.config import Settings
from noctuary.consent import (
    Answer,
    answer_to,
    answers_of,
    cycle_question,
    keep,
    promotion_question,
)
from noctuary.designing import make_designs
from noctuary.domain import Cycle
from noctuary.errors import Stopped, UsageError
from noctuary.gap import synthesise_gap
from noctuary.knowledge import Knowledge
from noctuary.lab import Lab, write_atomically
from noctuary.night import CycleRun
from noctuary.plan import first_rung, later_rung, rung_seeds, suite_of
from noctuary.policy import BudgetPolicy, Policy, Spent, load_policy, used_up
from noctuary.search.pipeline import search_by
from noctuary.space.genome import Genome
from noctuary.stopping import folder_mb, heed_disk_budget, heed_stop_file

ROOT = Path(__file__).parents[2]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.create_or_open(tmp_path / "lab")


def run_in(lab: Lab, policy: Policy = Policy()) -> CycleRun:  # noqa: B008 - frozen
    cycle = Cycle(number=1, seed=0, settings="s")
    return CycleRun(lab=str(lab.root), cycle=cycle, settings=Settings(), policy=policy)


def policy_of(tmp_path: Path, text: str) -> Policy:
    path = tmp_path / "policy.toml"
    path.write_text(text, encoding="utf-8")
    return load_policy(path)


# The file


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    assert load_policy(tmp_path / "policy.toml") == Policy()


def test_the_example_holds_the_defaults() -> None:
    assert load_policy(ROOT / "deployments" / "policy.toml") == Policy()


def test_the_example_offers_every_rule(tmp_path: Path) -> None:
    text = (ROOT / "deployments" / "policy.toml").read_text(encoding="utf-8")
    lines = [line.removeprefix("# ") if " = " in line else line for line in text.split("\n")]
    offered = policy_of(tmp_path, "\n".join(lines))
    sections = [getattr(offered, name) for name in ("budget", "code", "sandbox", "consent")]
    for rules in (offered, *sections):
        assert rules.model_fields_set == set(type(rules).model_fields)


def test_all_problems_are_named_at_once_with_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        policy_of(
            tmp_path,
            'colour = 1\nstop_file = "../x"\n[budget]\ntrials = true\n[code]\n'
            'forbidden = ["decay=no", "x"]\nimports = ["torch.nn"]\n'
            '[sandbox]\ndemanded = ["moat"]\n[consent]\nbefore = ["lunch"]\n',
        )
    told = str(refused.value)
    for word in (
        "'colour' (known here: budget,",
        "'../x'",
        "budget.trials",
        "decay=vector",
        "output_gate",
        "'torch.nn'",
        "'moat': Input should be 'group'",
        "'lunch': Input should be 'cycle', 'promotion' or 'discovery'",
    ):
        assert word in told
    assert "\n" not in told


@pytest.mark.parametrize("text", ["[budget", "budget = 3", "[code]\nimports = 'torch'"])
def test_what_is_no_policy_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"policy\.toml"):
        policy_of(tmp_path, text)


def test_a_policy_that_leaves_no_mixer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no mixer is left"):
        policy_of(
            tmp_path,
            '[code]\nforbidden = ["decay=none", "decay=fixed", "decay=scalar", "decay=vector"]',
        )


def test_the_id_is_of_the_rules_and_not_of_how_they_are_written(tmp_path: Path) -> None:
    one = policy_of(tmp_path, '[budget]\ntime = "90m"\ntrials = 5\n')
    assert policy_of(tmp_path, 'stop_file="stop"\n[budget]\ntrials=5\ntime="1h30m"\n') == one
    assert one.policy_id == content_id(one.model_dump(mode="json")) != Policy().policy_id


def test_a_cycle_that_was_begun_keeps_what_a_candidate_may_be_and_nothing_else(
    tmp_path: Path,
) -> None:
    begun = policy_of(tmp_path, "[budget]\nparameters = 7\ndisk_mb = 1\n[code]\nquadratic = true\n")
    now = policy_of(tmp_path, '[budget]\ndisk_mb = 9\n[consent]\nbefore = ["cycle"]\n')
    found = now.for_cycle_begun_under(begun)
    assert found.code == begun.code
    assert (found.budget.parameters, found.budget.disk_mb) == (7, 9)
    assert found.consent == now.consent


def test_a_rerun_has_the_rules_of_now_and_the_code_of_then(lab: Lab) -> None:
    begun = run_in(lab, policy_of(lab.root, "[code]\nquadratic = true\n"))
    name = begun.cycle.cycle_id
    write_atomically(lab.cycles / f"{name}.json", begun.model_dump_json())
    policy_of(lab.root, '[sandbox]\ndemanded = ["group"]\n')
    policy = parameters_of(lab, {"cycle_id": name}).policy
    assert policy.code.quadratic
    assert policy.sandbox.demanded == ("group",)


# Budgets


@pytest.mark.parametrize(
    ("budget", "before", "after"),
    [
        ({"time": 60}, Spent(seconds=59), Spent(seconds=60)),
        ({"trials": 5}, Spent(trials=4), Spent(trials=5)),
        ({"tokens": 5}, Spent(tokens=4), Spent(tokens=5)),
        ({"money": 0.5}, Spent(money=0.4), Spent(money=0.5)),
        ({"tokens": 0}, Spent(trials=99), Spent(tokens=1)),
        ({"money": 0}, Spent(trials=99), Spent(money=0.01)),
    ],
)
def test_a_budget_is_used_up_when_it_is_spent(
    budget: dict[str, float], before: Spent, after: Spent
) -> None:
    rules = BudgetPolicy.model_validate(budget)
    assert used_up(rules, before) == ""
    assert "policy allows" in used_up(rules, after)


def test_without_a_budget_nothing_is_used_up() -> None:
    assert used_up(BudgetPolicy(), Spent(seconds=1e9, trials=10**9, tokens=10**9, money=1e9)) == ""


def test_a_lab_that_takes_more_than_the_policy_allows_stops_the_night(lab: Lab) -> None:
    heed_disk_budget(lab, policy_of(lab.root, "[budget]\ndisk_mb = 3\n"))
    (lab.trials / "t").mkdir()
    (lab.trials / "t" / "weights").write_bytes(b"x" * 3 * 2**20)
    with pytest.raises(Stopped, match=r"the lab takes 3 MB \(policy allows 3\)"):
        heed_disk_budget(lab, policy_of(lab.root, "[budget]\ndisk_mb = 3\n"))
    heed_disk_budget(lab, policy_of(lab.root, "[budget]\ndisk_mb = 5\n"))


def test_a_link_counts_as_a_link(lab: Lab, tmp_path: Path) -> None:
    before = folder_mb(lab.root)
    (tmp_path / "large").write_bytes(b"x" * 2**21)
    (lab.trials / "link").symlink_to(tmp_path / "large")
    assert folder_mb(lab.root) - before < 0.1


# The stop file


def test_the_stop_file_of_the_policy_stops_and_another_does_not(lab: Lab) -> None:
    policy = policy_of(lab.root, 'stop_file = "enough"\n')
    (lab.root / "stop").touch()
    heed_stop_file(lab, policy)
    (lab.root / "enough").touch()
    with pytest.raises(Stopped, match=r"stopped by .*enough; remove it and run the same command"):
        heed_stop_file(lab, policy)


# Forbidden mechanisms


def test_no_gap_asks_about_a_forbidden_mechanism_and_no_design_has_one(lab: Lab) -> None:
    forbidden = ("decay=vector", "decay=scalar", "short_conv=conv4")
    archive, cycle = Archive(lab.archive_path), Cycle(number=1, seed=3, settings="s")
    archive.migrate()
    for seed in range(5):
        knowledge = Knowledge(archive, cycle, Settings().training)
        gap = synthesise_gap(
            knowledge.known((), ()),
            earlier=(),
            outcomes=(),
            cycle=1,
            rng=Random(seed),
            forbidden=forbidden,
        )
        assert not set(gap.mechanisms) & set(forbidden)
        designs = make_designs(
            cycle.model_copy(update={"seed": seed}),
            gap,
            (),
            (),
            (),
            knowledge,
            search_by(Settings().search),
            published={},
            count=4,
            forbidden=forbidden,
        ).made
        assert len(designs) == 4
        for design in designs:
            assert not set(Genome.model_validate(design.axes).mechanisms) & set(forbidden)


# Consent


def test_an_answer_counts_for_the_same_question_alone(lab: Lab) -> None:
    run = run_in(lab)
    first, second = (candidate_of(make_design(name, {})) for name in ("first", "second"))
    question = promotion_question(run, [first], 2, 12)
    assert answer_to(lab, question) is None
    keep(lab, Answer(question=question, approved=True, note="ann"))
    found = answer_to(lab, promotion_question(run, [first], 2, 5))
    assert found is not None
    assert (found.approved, found.note) == (True, "ann")
    assert answer_to(lab, promotion_question(run, [first, second], 2, 12)) is None
    assert answer_to(lab, cycle_question(run)) is None
    assert [answer.note for answer in answers_of(lab, run.cycle.cycle_id)] == ["ann"]


def test_a_question_says_what_it_costs(lab: Lab) -> None:
    run = run_in(lab)
    training, suite = run.settings.training, suite_of(run.settings.training)
    rates = dict.fromkeys((task.name for task in suite.tasks), 0.01)
    trials = [*first_rung("c", suite, suite.tasks, "t")]
    for rung in range(1, suite.top + 1):
        seeds = rung_seeds(suite, rung, training.seeds)
        trials += later_rung("c", suite, rung, seeds, rates, "t")
    designs, each = run.settings.search.designs, len(trials)
    text = cycle_question(run).text
    assert f"{designs} new designs of {each} trials each" in text
    assert f"{designs * each} in all" in text
    candidate = candidate_of(make_design("climber", {}))
    text = promotion_question(run, [candidate], 2, 12).text
    assert "1 design " in text
    assert "12 trials: design-climber?" in text
