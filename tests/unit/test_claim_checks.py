"""A claim is decided as it was registered, or not at all: what is refused before any training."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import make_trial, write_trials
from claiming import claimed

from noctuary.archive import Archive
from noctuary.attesting import flush
from noctuary.claims.verification import planned, require_as_registered
from noctuary.cli.verify import find_claim
from noctuary.config import Settings, TrainingSettings
from noctuary.domain import Claim
from noctuary.errors import LedgerBroken, NoctuaryError, NotFound, UsageError
from noctuary.lab import Lab
from noctuary.ledger.log import Ledger

SETTINGS = TrainingSettings(suite="tiny-2")


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Claim]:
    lab = Lab.create_or_open(tmp_path_factory.mktemp("registered") / "lab")
    lab.settings_path.write_text('[training]\nsuite = "tiny-2"\n', encoding="utf-8")
    return lab, claimed(lab)


@pytest.fixture
def lab(registered: tuple[Lab, Claim], tmp_path: Path) -> Lab:
    """A copy, which tests may tamper with."""
    return Lab(Path(shutil.copytree(registered[0].root, tmp_path / "lab")))


@pytest.fixture
def claim(registered: tuple[Lab, Claim]) -> Claim:
    return registered[1]


def check(lab: Lab, claim: Claim, settings: TrainingSettings = SETTINGS) -> None:
    require_as_registered(lab, Archive(lab.archive_path), claim, settings)


def redrawn(claim: Claim, **changes: object) -> Claim:
    assert claim.draw is not None
    return claim.model_copy(update={"draw": claim.draw.model_copy(update=changes)})


def replanned(claim: Claim, **changes: object) -> Claim:
    """Return the claim with another plan, and all else made to fit it."""
    plan = claim.plan.model_copy(update=changes)
    return redrawn(claim.model_copy(update={"plan": plan}), claim_id=plan.claim_id)


def test_what_is_as_it_was_registered_may_be_decided(lab: Lab, claim: Claim) -> None:
    check(lab, claim)


def later_head(lab: Lab) -> str:
    """Return a head from which the seeds could have been drawn again."""
    archive = Archive(lab.archive_path)
    with archive.attested("evaluation", {"of": "something else"}):
        pass
    flush(lab, archive, Settings().ledger)
    with Ledger.read(lab.ledger) as ledger:
        return ledger.head()


@pytest.mark.parametrize(
    ("tamper", "told"),
    [
        (lambda _lab, c: redrawn(c, seeds=(1_000_000, 1_000_001)), "are not those drawn"),
        (lambda _lab, c: redrawn(c, seeds=c.draw.seeds[:1]), "are not those drawn"),
        (lambda _lab, c: redrawn(c, seeds=c.draw.seeds[::-1]), "are not those drawn"),
        (lambda _lab, c: redrawn(c, randomness="ab"), "are not those drawn"),
        (lambda lab, c: redrawn(c, head=later_head(lab)), "not from the first tree head"),
        (lambda _lab, c: redrawn(c, entry=0), "entry 0 of the ledger is not the plan"),
        (lambda _lab, c: replanned(c, smallest_effect=0.001), "is not the plan of claim"),
        (lambda _lab, c: replanned(c, held_out=("recall",)), "is not the plan of claim"),
    ],
    ids=["seeds", "fewer", "order", "randomness", "head", "entry", "effect", "tasks"],
)
def test_another_plan_or_draw_than_the_ledgers_is_refused(
    lab: Lab, claim: Claim, tamper: Callable[[Lab, Claim], Claim], told: str
) -> None:
    changed = tamper(lab, claim)
    with pytest.raises(LedgerBroken, match=told):
        check(lab, changed)


@pytest.mark.parametrize("whose", ["candidate", "baseline"])
def test_a_mixer_that_was_edited_after_the_registration_is_refused(
    lab: Lab, claim: Claim, whose: str
) -> None:
    entrant = claim.plan.candidate if whose == "candidate" else claim.plan.baselines[0]
    path = lab.candidates / f"{entrant.candidate_id}.py"
    for tamper in (lambda: path.write_bytes(path.read_bytes() + b"\n"), path.unlink):
        tamper()
        with pytest.raises(LedgerBroken, match=f"registered {entrant.name}: restore the file"):
            check(lab, claim)


def test_another_trainer_or_suite_is_no_damage_but_cannot_decide(lab: Lab, claim: Claim) -> None:
    salted = SETTINGS.model_copy(update={"test_salt": "public"})
    with pytest.raises(UsageError, match=r"claim .* registered lightning-3-portable"):
        check(lab, claim, salted)
    text = lab.root / "text.bin"
    text.write_bytes(b"to be or not to be, that is the question. " * 4000)
    with pytest.raises(UsageError, match=f"no suite {claim.plan.suites['base']} here"):
        check(lab, claim, SETTINGS.model_copy(update={"text": str(text)}))


def test_a_recorded_trial_that_was_edited_is_named(lab: Lab, claim: Claim) -> None:
    archive = Archive(lab.archive_path)
    spec = planned(claim, claim.plan.candidate, "wide")[0]
    trial = make_trial(spec.candidate_id, spec.task, spec.seed, 0.5).model_copy(
        update={"spec": spec}
    )
    archive.record_trials(lab.trials, write_trials(lab.trials, [trial]))
    check(lab, claim)
    path = lab.trials / spec.trial_id / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "score": 0.9}))
    with pytest.raises(LedgerBroken, match=f"{spec.trial_id} is .* as it was recorded"):
        check(lab, claim)


def test_a_claim_is_found_by_number_id_and_the_beginning_of_one(lab: Lab, claim: Claim) -> None:
    other = claimed(lab)
    claims = Archive(lab.archive_path).claims()
    assert find_claim(claims, "2", lab) == find_claim(claims, other.claim_id[:9], lab) == other
    for text in ("3", "", "zz"):
        with pytest.raises(NotFound, match=f"there are 1 {claim.claim_id}") as refused:
            find_claim(claims, text, lab)
        assert isinstance(refused.value, NoctuaryError)
    with pytest.raises(NotFound, match="register one with `noctuary claim"):
        find_claim([], "1", lab)
