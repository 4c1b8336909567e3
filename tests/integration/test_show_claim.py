"""`noctuary show` of a claim: its plan, its seeds, its verdict, and which entry attests it."""

import json
from pathlib import Path

from claimed_lab import make_lab
from click.testing import CliRunner

from noctuary.archive import Archive
from noctuary.cli.show import command


def test_show_tells_all_that_became_of_a_claim(tmp_path: Path) -> None:
    lab = make_lab(tmp_path / "lab")
    claims = Archive(lab.archive_path).claims()
    told = {}
    for claim in claims:
        done = CliRunner().invoke(command, [claim.claim_id, "--lab", str(lab.root)])
        assert done.exit_code == 0, done.output
        told[claim.status] = " ".join(done.output.split())
        assert f"number {claim.plan.number}: {claim.status}" in told[claim.status]
        assert "attested_by: entry" in told[claim.status]
        for seed in claim.draw.seeds if claim.draw else ():
            assert str(seed) in told[claim.status]
    decided = next(claim for claim in claims if claim.status == "verified")
    assert decided.verdict is not None
    assert decided.verdict.reason in told["verified"]
    for compared in decided.verdict.comparisons:
        assert f"{compared.effect:+.4f}" in told["verified"]
        assert f"{compared.low:+.4f} to" in told["verified"]
    assert "drawn seeds:" not in told["registered"]

    as_json = [decided.claim_id[:10], "--json", "--lab", str(lab.root)]
    found = json.loads(CliRunner().invoke(command, as_json).output)
    assert found["record"] == "claim"
    assert found["verdict"] == decided.verdict.model_dump(mode="json")
