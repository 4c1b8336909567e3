"""`noctuary claim`: registered with its whole plan, then drawn, and all of it in the account."""

import json
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from searched_lab import LEVELS, searched_lab

from noctuary.archive import Archive
from noctuary.attesting import agreement
from noctuary.claims.registration import document, draw, register
from noctuary.claims.seeds import draw_seeds
from noctuary.config import load_settings
from noctuary.domain import Claim
from noctuary.errors import LabInUse, LedgerBroken, NotFound, UsageError
from noctuary.lab import Lab
from noctuary.ledger.log import Ledger
from noctuary.ledger.verify import verify_ledger

LARGE = ("--smallest-effect", "0.2")


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return searched_lab(tmp_path_factory.mktemp("claims") / "lab", {**LEVELS, "delta_net": 0.6})


@pytest.fixture
def lab(tmp_path: Path, searched: Lab) -> Lab:
    return Lab(shutil.copytree(searched.root, tmp_path / "lab"))


@pytest.fixture
def run(lab: Lab) -> Callable[..., Result]:
    command = import_module("noctuary.cli.claim").command

    def runs(*arguments: str) -> Result:
        return CliRunner().invoke(command, [*arguments, "--lab", str(lab.root)])

    return runs


def data(result: Result) -> Any:
    assert result.exception is None, result.exception
    return json.loads(result.stdout)


def require_account(lab: Lab) -> None:
    key = (lab.ledger / "key.pub").read_text(encoding="utf-8")
    assert verify_ledger(lab.ledger, key).problems == ()
    with Ledger.read(lab.ledger) as ledger:
        assert agreement(lab, Archive(lab.archive_path), ledger).problems == ()


def kinds(lab: Lab) -> list[str]:
    with Ledger.read(lab.ledger) as ledger:
        found = [ledger.statement(index)["predicateType"] for index in range(ledger.size)]
    return [one.removeprefix("urn:noctuary:").removesuffix(":1") for one in found]


def test_a_plan_is_signed_before_its_seeds_exist(lab: Lab, run: Callable[..., Result]) -> None:
    found = data(run("delta_net", *LARGE, "--json"))
    [claim] = Archive(lab.archive_path).claims()
    assert claim.draw is not None
    assert (found["claim"], found["status"]) == (claim.claim_id, "drawn")
    assert found["draw"]["seeds"] == list(claim.draw.seeds)
    assert kinds(lab)[-2:] == ["registration", "draw"]
    with Ledger.read(lab.ledger) as ledger:
        entry = claim.draw.entry
        facts = ledger.statement(entry)["predicate"]
        assert facts["document"] == document(claim.plan)
        assert entry == ledger.size - 2
        head = ledger.head_containing(entry)
        names = {one["name"] for one in ledger.statement(entry)["subject"]}
    assert claim.draw.seeds == draw_seeds(head, claim.claim_id, claim.plan.seeds)
    entrants = (claim.plan.candidate, *claim.plan.baselines)
    assert {f"file:candidates/{one.candidate_id}.py" for one in entrants} < names
    require_account(lab)


def test_to_register_again_until_the_draw_pleases_shows_and_costs(
    lab: Lab, run: Callable[..., Result]
) -> None:
    claims = [data(run("delta_net", *LARGE, "--json")) for _ in range(2)]
    assert [one["plan"]["number"] for one in claims] == [1, 2]
    assert [one["plan"]["alpha"] for one in claims] == [0.05 / 2, 0.05 / 6]
    seeds = [seed for one in claims for seed in one["draw"]["seeds"]]
    assert len(set(seeds)) == len(seeds)
    assert kinds(lab).count("registration") == 2
    listed = data(run("--json"))
    assert [(one["plan"]["number"], one["status"]) for one in listed] == [
        (1, "drawn"),
        (2, "drawn"),
    ]
    require_account(lab)


def test_the_plan_is_told_in_words(lab: Lab, run: Callable[..., Result]) -> None:
    said = " ".join(run("delta_net", "--against", "retnet", *LARGE).stdout.split())
    [claim] = Archive(lab.archive_path).claims()
    assert claim.draw is not None
    for part in (
        "delta_net scores above retnet and linear_attention on the mean over recall: as it is, "
        "at twice the width, at twice the length.",
        "linear_attention is a baseline too",
        f"{claim.plan.seeds} seeds: a difference of 0.2 everywhere is shown with a chance of 80% "
        "at alpha 0.025",
        "It takes 144 trials. At 1.5 s, as in the search, that is 0.1 hours of one core",
        "refuted where one excludes an effect of 0.2",
        f"Its seeds: {', '.join(map(str, claim.draw.seeds))}.",
        "`noctuary verify 1` decides it.",
    ):
        assert part in said, said
    listed = run().stdout
    assert claim.claim_id in listed
    assert "drawn" in listed


def test_a_dry_run_shows_the_plan_and_registers_nothing(
    lab: Lab, run: Callable[..., Result]
) -> None:
    before = kinds(lab)
    found = data(run("delta_net", *LARGE, "--dry-run", "--json"))
    assert found["plan"]["seeds"] == 8
    assert "claim" not in found
    assert kinds(lab) == before
    assert "No claims" in run().stdout


def test_an_interrupted_draw_goes_on_with_the_same_seeds(
    lab: Lab, run: Callable[..., Result]
) -> None:
    planned = data(run("delta_net", *LARGE, "--dry-run", "--json"))
    settings, archive = load_settings(lab.settings_path).ledger, Archive(lab.archive_path)
    plan = Claim.model_validate({"plan": planned["plan"]}).plan
    claim = register(lab, archive, settings, plan)
    assert claim.status == archive.claims()[0].status == "registered"
    data(run("gla", *LARGE, "--json"))  # what comes in between changes nothing
    drawn = draw(lab, archive, settings, claim)
    assert drawn.draw is not None
    with Ledger.read(lab.ledger) as ledger:
        head = ledger.head_containing(drawn.draw.entry)
    assert drawn.draw.seeds == draw_seeds(head, claim.claim_id, plan.seeds)
    assert draw(lab, archive, settings, drawn) == drawn
    assert kinds(lab).count("draw") == 2
    require_account(lab)


def test_a_plan_that_was_overtaken_is_refused(lab: Lab, run: Callable[..., Result]) -> None:
    plan = Claim.model_validate(
        {"plan": data(run("delta_net", *LARGE, "--dry-run", "--json"))["plan"]}
    ).plan
    data(run("gla", *LARGE, "--json"))
    settings, archive = load_settings(lab.settings_path).ledger, Archive(lab.archive_path)
    with pytest.raises(UsageError, match="the plan is of claim 1, and 1 are registered"):
        register(lab, archive, settings, plan)


def test_a_plan_that_was_changed_after_its_registration_has_no_seeds(
    lab: Lab, run: Callable[..., Result]
) -> None:
    plan = Claim.model_validate(
        {"plan": data(run("delta_net", *LARGE, "--dry-run", "--json"))["plan"]}
    ).plan
    settings, archive = load_settings(lab.settings_path).ledger, Archive(lab.archive_path)
    register(lab, archive, settings, plan)
    easier = Claim(plan=plan.model_copy(update={"smallest_effect": 0.5}))
    with pytest.raises(LedgerBroken, match="not in the ledger"):
        draw(lab, archive, settings, easier)


@pytest.mark.parametrize("name", ["nobody", "", "beta"])
def test_who_is_no_mixer_cannot_be_claimed(run: Callable[..., Result], name: str) -> None:
    result = run(name, *LARGE)
    assert isinstance(result.exception, NotFound)
    assert "expected an id" in str(result.exception)


def test_a_trial_is_no_mixer(lab: Lab, run: Callable[..., Result]) -> None:
    trial = Archive(lab.archive_path).records("trials")[0]["trial_id"]
    result = run(trial)
    assert isinstance(result.exception, NotFound)
    assert "is a trial; expected a mixer" in str(result.exception)


@pytest.mark.parametrize("value", ["0", "1.5", "nothing"])
def test_an_effect_that_no_score_can_have_is_wrong_usage(
    run: Callable[..., Result], value: str
) -> None:
    assert run("delta_net", "--smallest-effect", value).exit_code == 2


def test_nothing_is_registered_while_a_night_works(lab: Lab, run: Callable[..., Result]) -> None:
    with lab.lock():
        result = run("delta_net", *LARGE)
    assert isinstance(result.exception, LabInUse)
    assert Archive(lab.archive_path).claims() == ()
