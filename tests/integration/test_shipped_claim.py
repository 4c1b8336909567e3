"""The claim that ships with the documentation holds, by the verifier in one file and by ours."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from noctuary.canonical import source_id
from noctuary.domain import ClaimVerdict
from noctuary.ledger import verify_alone
from noctuary.ledger.bundle import check_bundle, read_bundle

CLAIM = Path(__file__).parents[2] / "docs" / "claim"
BUNDLE, KEY = CLAIM / "claim.json", CLAIM / "key.pub"


def alone(bundle: Path) -> subprocess.CompletedProcess[str]:
    """Run the verifier as an outsider does: the one file, without our package."""
    command = [sys.executable, "-I", verify_alone.__file__, str(bundle), str(KEY)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def verdict() -> ClaimVerdict:
    entry = json.loads(BUNDLE.read_text())["entries"][-1]
    payload = json.loads(verify_alone.decoded(json.loads(entry["envelope"])["payload"]))
    return ClaimVerdict.model_validate_json(payload["predicate"]["document"])


def test_it_holds_for_an_outsider(verdict: ClaimVerdict) -> None:
    found = alone(BUNDLE)
    assert found.returncode == 0, found.stdout + found.stderr
    assert verdict.status in found.stdout


def test_it_holds_for_the_program() -> None:
    assert not check_bundle(read_bundle(BUNDLE.read_text()), KEY.read_text())


def test_its_sources_are_the_mixers_that_it_names() -> None:
    for name, file in json.loads(BUNDLE.read_text())["files"].items():
        if name.startswith("candidates/"):
            assert source_id(file["text"]) == Path(name).stem


def test_the_page_beside_it_says_its_verdict(verdict: ClaimVerdict) -> None:
    page = (CLAIM / "README.md").read_text()
    assert f"**{verdict.status}**" in page
    for each in verdict.comparisons:
        assert f"{each.effect:+.4f}" in page


def test_one_score_that_is_better_than_it_was_is_named(tmp_path: Path) -> None:
    bundle = json.loads(BUNDLE.read_text())
    name = next(name for name in bundle["files"] if name.startswith("trials/"))
    result = json.loads(bundle["files"][name]["text"])
    bundle["files"][name]["text"] = json.dumps({**result, "score": result["score"] + 0.1}, indent=1)
    forged = tmp_path / "claim.json"
    forged.write_text(json.dumps(bundle))
    found = alone(forged)
    assert found.returncode == 1
    assert name in found.stdout
