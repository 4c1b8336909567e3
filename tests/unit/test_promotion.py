"""What becomes of a decided claim: the account of all three verdicts, and the promotion."""

import hashlib
from pathlib import Path

import pytest

from noctuary.bench.suite import TINY
from noctuary.claims.promotion import discovered_folder, promote, promoted
from noctuary.claims.verification import all_planned, planned
from noctuary.consent import Answer, answer_to, answers_of, discovery_question, keep
from noctuary.domain import Claim, ClaimVerdict, Comparison, Draw, Entrant, Plan
from noctuary.errors import CheckFailed, LedgerBroken
from noctuary.lab import Lab
from noctuary.report.claims import claims_section, comparison_rows, verdict_markdown

SOURCE = b'"""A mixer of a test."""\n'
PROOF = '{"format": "of a test"}\n'
SEEDS = (1_000_123, 2_000_000_000)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.create_or_open(tmp_path / "lab")


def entrant(identity: str, name: str, source: bytes = SOURCE) -> Entrant:
    rates = {task.name: 5e-3 for task in (*TINY.tasks, *TINY.held_out)}
    digest = hashlib.sha256(source).hexdigest()
    return Entrant(candidate_id=identity, name=name, source=digest, rates=rates)


def make_claim(number: int = 1, name: str = "delta_of_night", source: bytes = SOURCE) -> Claim:
    plan = Plan(
        number=number,
        candidate=entrant(hashlib.sha256(source).hexdigest()[:16], name, source),
        baselines=(entrant("b" * 16, "gla"), entrant("c" * 16, "retnet")),
        suites={"base": TINY.version, "wide": TINY.scaled("wide").version},
        held_out=("recall",),
        seen=("mqar", "parity"),
        rung=1,
        trainer="lightning-3-portable",
        seeds=2,
        smallest_effect=0.02,
        spread=0.01,
        spread_from="a test",
        power=0.8,
        campaign_alpha=0.05,
        alpha=0.025,
    )
    draw = Draw(claim_id=plan.claim_id, entry=1, head="a head\n\n- signed\n", seeds=SEEDS)
    return Claim(plan=plan, draw=draw)


def decided(claim: Claim, status: str, reason: str = "by the numbers") -> Claim:
    comparison = Comparison(
        baseline="b" * 16,
        scale="wide",
        tasks=("recall",),
        decisive=True,
        n=2,
        effect=0.03125,
        low=None,
        high=0.05,
        p=0.25,
    )
    verdict = ClaimVerdict.model_validate(
        {
            "claim_id": claim.claim_id,
            "status": status,
            "reason": reason,
            "comparisons": (comparison,),
            "trials": {},
        }
    )
    return claim.model_copy(update={"verdict": verdict})


def put(lab: Lab, claim: Claim, source: bytes = SOURCE) -> Path:
    path = lab.candidates / f"{claim.plan.candidate.candidate_id}.py"
    path.write_bytes(source)
    return path


def test_every_entrant_has_a_trial_for_each_scale_task_and_drawn_seed() -> None:
    claim = make_claim()
    specs = [spec for _, _, spec in all_planned(claim)]
    assert len({spec.trial_id for spec in specs}) == len(specs) == 3 * 2 * (3 + 1)
    assert {spec.seed for spec in specs} == set(SEEDS)
    assert {spec.trainer for spec in specs} == {claim.plan.trainer}
    wide = [spec for spec in specs if spec.suite == TINY.scaled("wide").version]
    assert {spec.task for spec in wide} == {"recall"}, "the seen tasks are for the base scale alone"


def test_a_seed_of_the_search_decides_nothing() -> None:
    claim = make_claim()
    assert claim.draw is not None
    drawn = claim.draw.model_copy(update={"seeds": (999_999, SEEDS[0])})
    with pytest.raises(ValueError, match="seed 999999 is for the search"):
        planned(claim.model_copy(update={"draw": drawn}), claim.plan.candidate, "base")


def test_a_verified_design_is_promoted_to_the_byte_with_its_proof(lab: Lab) -> None:
    claim = decided(make_claim(), "verified")
    put(lab, claim)
    assert promoted(lab, claim) is None
    path = promote(lab, claim, PROOF)
    assert path == lab.root / "architectures" / "discovered" / "delta_of_night.py"
    assert path.read_bytes() == SOURCE
    assert path.with_name("delta_of_night.claim.json").read_text() == PROOF
    assert promoted(lab, claim) == path == promote(lab, claim, PROOF)


def test_two_designs_of_one_name_do_not_share_a_file(lab: Lab) -> None:
    first, other = decided(make_claim(), "verified"), b"# another design\n"
    second = decided(make_claim(2, source=other), "verified")
    put(lab, first)
    put(lab, second, other)
    paths = [promote(lab, first, PROOF), promote(lab, second, PROOF)]
    assert [path.read_bytes() for path in paths] == [SOURCE, other]
    assert [promoted(lab, claim) for claim in (first, second)] == paths


def test_a_name_that_is_no_module_gives_way_to_the_id(lab: Lab) -> None:
    claim = decided(make_claim(name="../delta of night"), "verified")
    put(lab, claim)
    assert promote(lab, claim, PROOF).name == f"{claim.plan.candidate.candidate_id}.py"


@pytest.mark.parametrize("status", ["refuted", "inconclusive"])
def test_what_is_not_verified_is_not_promoted(lab: Lab, status: str) -> None:
    claim = decided(make_claim(), status)
    put(lab, claim)
    with pytest.raises(CheckFailed, match=f"is {status}; expected verified"):
        promote(lab, claim, PROOF)
    assert promoted(lab, claim) is None


def test_a_file_that_is_not_the_registered_one_is_not_promoted(lab: Lab) -> None:
    claim = decided(make_claim(), "verified")
    path = put(lab, claim)
    for tamper in (lambda: path.write_bytes(SOURCE + b" "), path.unlink):
        tamper()
        with pytest.raises(LedgerBroken, match=claim.plan.candidate.source):
            promote(lab, claim, PROOF)
    assert not discovered_folder(lab).exists()


def test_the_lab_of_a_checkout_promotes_into_the_checkout(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    inside, outside = Lab(tmp_path / "data" / "lab"), Lab(tmp_path.parent / "lab")
    assert discovered_folder(inside, tmp_path) == tmp_path / "architectures" / "discovered"
    assert discovered_folder(outside, tmp_path) == outside.root / "architectures" / "discovered"


def test_what_was_said_before_a_discovery_is_kept_under_the_claim(lab: Lab) -> None:
    claim = decided(make_claim(), "verified", "above every baseline")
    question = discovery_question(claim, discovered_folder(lab))
    for text in ("delta_of_night", "claim 1", "above every baseline", "discovered"):
        assert text in question.text
    assert answer_to(lab, question) is None
    keep(lab, Answer(question=question, approved=False, note="ann"))
    assert answers_of(lab, claim.claim_id) == (answer_to(lab, question),)


def test_all_three_verdicts_and_open_claims_are_in_the_account() -> None:
    claims = [
        decided(make_claim(1), "verified", "above every baseline"),
        decided(make_claim(2), "refuted", "an effect of 0.02 is not there"),
        decided(make_claim(3), "inconclusive", "not shown"),
        make_claim(4),
        make_claim(5).model_copy(update={"draw": None}),
    ]
    head, _, *lines = claims_section(claims)
    assert head == "## Claims"
    for claim, line in zip(claims, lines, strict=True):
        assert line.startswith(f"- Claim {claim.plan.number} (`{claim.claim_id}`), delta_of_night")
        if claim.verdict is not None:
            assert f"**{claim.status}**; {claim.verdict.reason}." in line
    assert "is not decided yet" in lines[3]
    assert "not drawn yet" in lines[4]
    assert claims_section([])[-1] == "- None was registered."


def test_a_verdict_for_people() -> None:
    claim = decided(make_claim(), "refuted", "an effect of 0.02 is not there")
    assert claim.verdict is not None
    assert comparison_rows(claim.plan, claim.verdict) == [
        {
            "scale": "wide",
            "baseline": "gla",
            "tasks": "held out",
            "decides": "yes",
            "seeds": "2",
            "difference": "+0.0312",
            "interval": "-inf to +0.0500",
            "p": "0.25",
        }
    ]
    page = verdict_markdown(claim, claim.verdict)
    assert page.startswith("# Claim 1: refuted\n\n**an effect of 0.02 is not there**")
    assert "| wide | gla | held out | yes | 2 | +0.0312 | -inf to +0.0500 | 0.25 |" in page
    assert "over all of them" in page
