"""A claim from its registration to its end: real trials, a kill in between, and consent.

The plan, the rule, and what is refused are tested elsewhere.
"""

import json
import subprocess
import sys
from collections.abc import Mapping

from claiming import LEARNS, STANDS_STILL, claimed
from night_process import kill_tree
from prefect_api import PATIENCE, Api, trials_that_ran, wait_for_event

from noctuary.archive import Archive
from noctuary.attesting import agreement
from noctuary.journal import Journal
from noctuary.lab import Lab
from noctuary.ledger.bundle import check_bundle, read_bundle
from noctuary.ledger.log import Ledger
from noctuary.ledger.verify import verify_ledger


def start(lab: Lab, environment: Mapping[str, str], *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", "from noctuary.cli import main; main()", "verify"]
    return subprocess.Popen(
        [*command, *arguments, "--lab", str(lab.root)],
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end_of(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Return exit status and output of a command that ends by itself."""
    try:
        output, errors = process.communicate(timeout=PATIENCE)
    finally:
        if process.poll() is None:
            kill_tree(process)  # type: ignore[arg-type]
    return process.returncode, output, errors


def require_account(lab: Lab, kinds: list[str]) -> None:
    """Assert that archive, files and ledger agree, and which kinds of entries there are."""
    key = (lab.ledger / "key.pub").read_text(encoding="utf-8")
    assert verify_ledger(lab.ledger, key).problems == ()
    with Ledger.read(lab.ledger) as ledger:
        assert agreement(lab, Archive(lab.archive_path), ledger).problems == ()
        found = [ledger.statement(index)["predicateType"] for index in range(ledger.size)]
    assert list(dict.fromkeys(found)) == [f"urn:noctuary:{kind}:1" for kind in kinds]


def test_a_killed_verification_goes_on_and_its_design_is_promoted_after_consent(
    fresh_lab: Lab, server: Api, prefect_environment: dict[str, str]
) -> None:
    lab = fresh_lab
    lab.policy_path.write_text('[consent]\nbefore = ["discovery"]\n', encoding="utf-8")
    claim = claimed(lab)
    process = start(lab, prefect_environment, claim.claim_id[:6])
    try:
        wait_for_event(lab, 0, "trials recorded")
    finally:
        kill_tree(process)  # type: ignore[arg-type]
    first = trials_that_ran(lab)
    assert 0 < len(first) < 16

    since = Journal(lab.journal_path).end()
    process = start(lab, prefect_environment, claim.claim_id[:6])
    try:
        asked = wait_for_event(lab, since, "consent asked", before="discovery")
        assert server.run(asked["flow_run"])["state_type"] == "PAUSED"
        decided = Archive(lab.archive_path).claims()[0]
        assert decided.status == "verified", "the verdict waits for nobody"
        said = {"decision": "approve", "note": "ann"}
        server.post(f"flow_runs/{asked['flow_run']}/resume", {"run_input": said})
    except BaseException:
        kill_tree(process)  # type: ignore[arg-type]
        raise
    status, output, errors = end_of(process)
    assert status == 0, errors
    assert "linear_attention is verified" in output
    assert "trial 1" in output, "the display counts"

    assert claim.draw is not None
    assert decided.verdict is not None
    assert {one.n for one in decided.verdict.comparisons} == {2}
    ran = trials_that_ran(lab)
    assert len(ran) == len(set(ran)) == len(decided.verdict.trials) == 16
    trials = Archive(lab.archive_path).records("trials")
    assert {row["trial_id"] for row in trials} == set(ran)
    assert {row["seed"] for row in trials} == set(claim.draw.seeds)
    assert Archive(lab.archive_path).leaderboard() == [], "it is no search"

    promoted = lab.root / "architectures" / "discovered" / "linear_attention.py"
    own = lab.candidates / f"{claim.plan.candidate.candidate_id}.py"
    assert promoted.read_bytes() == own.read_bytes()
    bundle = read_bundle(promoted.with_name("linear_attention.claim.json").read_text())
    assert check_bundle(bundle, (lab.ledger / "key.pub").read_text()) == ()
    require_account(
        lab,
        ["ledger", "evaluation", "registration", "draw", "verdict", "consent", "promotion"],
    )

    since = Journal(lab.journal_path).end()
    status, output, _ = end_of(start(lab, prefect_environment, "1", "--json"))
    found = json.loads(output)
    assert (status, found["status"], found["promoted"]) == (0, "verified", str(promoted))
    assert Journal(lab.journal_path).end() == since, "a decided claim runs nothing"


def test_a_claim_that_does_not_hold_ends_with_status_1_and_is_kept(
    fresh_lab: Lab, prefect_environment: dict[str, str]
) -> None:
    lab = fresh_lab
    claim = claimed(lab, STANDS_STILL, LEARNS, scales=("base",), seen=())
    own = lab.candidates / f"{claim.plan.candidate.candidate_id}.py"
    source = own.read_bytes()
    own.write_bytes(source + b"\n")
    status, _, errors = end_of(start(lab, prefect_environment, "1"))
    assert status == 1
    assert f"as claim {claim.claim_id} registered linear_attention" in errors
    assert trials_that_ran(lab) == []

    own.write_bytes(source)
    status, output, errors = end_of(start(lab, prefect_environment, "1"))
    assert status == 1
    assert "claim 1 is refuted: against retnet at base" in errors
    assert len(errors.splitlines()) == 1
    assert "linear_attention is refuted" in output
    [kept] = Archive(lab.archive_path).claims()
    assert kept.status == "refuted"
    assert not (lab.root / "architectures").exists()
    require_account(lab, ["ledger", "evaluation", "registration", "draw", "verdict"])
