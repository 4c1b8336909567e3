"""A proof bundle holds, and whatever is changed in it is named, by both verifiers.

Changes that need no key are tried one by one; a claim is decided anew from the results in its
bundle, so that also who has the key cannot turn a verdict.
"""

import base64
import copy
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from claimed_lab import DESIGN, RIVAL
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tampered import DECIDED, DRAWN, REGISTERED, ROTATED, Account, documented, flip, signed_again

from noctuary.archive import Archive
from noctuary.errors import LedgerBroken, NotFound
from noctuary.lab import Lab
from noctuary.ledger import verify_alone
from noctuary.ledger.bundle import Bundle, check_bundle, prove, read_bundle
from noctuary.ledger.keys import LabKey, VerifierKey
from noctuary.ledger.log import Ledger
from noctuary.ledger.statements import read_statement

Json = dict[str, Any]


@pytest.fixture(scope="module")
def key(original: Lab) -> str:
    return (original.ledger / "key.pub").read_text()


def proved(lab: Lab, wanted: int | str) -> Bundle:
    with Ledger.read(lab.ledger) as ledger:
        return prove(lab, Archive(lab.archive_path), ledger, wanted)


@pytest.fixture(scope="module")
def bundle(original: Lab) -> Json:
    """Return the bundle of the claim that is verified."""
    [claim, *_] = Archive(original.archive_path).claims()
    return dict(json.loads(proved(original, claim.claim_id).text))


def ours(bundle: Json, key: str) -> list[str]:
    try:
        return list(check_bundle(read_bundle(json.dumps(bundle)), key))
    except LedgerBroken as error:
        return [str(error)]


def theirs(bundle: Json, key: str) -> list[str]:
    pinned = verify_alone.read_key(key)
    try:
        return list(verify_alone.bundle_problems(bundle, pinned))
    except verify_alone.NOT_AS_EXPECTED as error:
        return [verify_alone.told(error)]


def test_the_bundle_of_every_claim_and_entry_holds(original: Lab, key: str) -> None:
    claims = Archive(original.archive_path).claims()
    assert [claim.status for claim in claims] == [
        "verified",
        "inconclusive",
        "drawn",
        "registered",
    ]
    with Ledger.read(original.ledger) as ledger:
        size = ledger.size
    for wanted in (*(claim.claim_id for claim in claims), *range(size)):
        made = json.loads(proved(original, wanted).text)
        assert ours(made, key) == theirs(made, key) == [], wanted


def test_a_bundle_holds_all_that_decides_a_claim(original: Lab, bundle: Json) -> None:
    assert [entry["index"] for entry in bundle["entries"]] == [
        0,
        ROTATED,
        REGISTERED,
        DRAWN,
        DECIDED,
    ]
    results = [name for name in bundle["files"] if name.endswith("/result.json")]
    assert len(results) == 3 * 8 * (3 + 2 + 2)
    source = (original.candidates / f"{DESIGN}.py").read_text()
    assert bundle["files"][f"candidates/{DESIGN}.py"] == {"text": source}


def test_the_bundle_of_an_entry_has_its_files(original: Lab) -> None:
    made = proved(original, 6)
    names = [name.split("/")[-1] for name in made.files]
    assert sorted(set(names)) == [
        "curve.csv",
        "losses.bin",
        "result.json",
        "spec.json",
        "weights.safetensors",
    ]
    assert made.content(next(n for n in made.files if n.endswith("tensors"))) == bytes(range(256))


def test_what_is_not_there_cannot_be_proved(original: Lab, tmp_path: Path) -> None:
    for wanted in ("0123456789abcdef", 999):
        with pytest.raises(NotFound, match=str(wanted)):
            proved(original, wanted)
    shutil.copytree(original.root, tmp_path / "lab")
    lab = Lab.open(tmp_path / "lab")
    (lab.candidates / f"{RIVAL}.py").unlink()
    [claim, *_] = Archive(lab.archive_path).claims()
    with pytest.raises(LedgerBroken, match=f"{RIVAL}.py.*missing"):
        proved(lab, claim.claim_id)


# Without the key


def envelope_flipped(bundle: Json) -> None:
    entry = bundle["entries"][2]
    entry["envelope"] = flip(entry["envelope"], 300)


def proof_flipped(bundle: Json) -> None:
    entry = bundle["entries"][2]
    entry["proof"][0] = flip(entry["proof"][0], 3)


def proof_shortened(bundle: Json) -> None:
    bundle["entries"][2]["proof"].pop()


def entry_moved(bundle: Json) -> None:
    bundle["entries"][2]["index"] += 1


def entry_removed(bundle: Json) -> None:
    del bundle["entries"][3]


def rotation_removed(bundle: Json) -> None:
    del bundle["entries"][1]


def entries_swapped(bundle: Json) -> None:
    bundle["entries"][2:4] = bundle["entries"][3:1:-1]


def head_flipped(bundle: Json) -> None:
    bundle["head"] = flip(bundle["head"], bundle["head"].index("\n20\n") + 6)


def head_grown(bundle: Json) -> None:
    bundle["head"] = bundle["head"].replace("\n20\n", "\n21\n")


def head_unsigned(bundle: Json) -> None:
    bundle["head"] = bundle["head"].split("\n\n")[0] + "\n\n"


def consistency_flipped(bundle: Json) -> None:
    bundle["consistency"][0] = flip(bundle["consistency"][0], 3)


def consistency_removed(bundle: Json) -> None:
    bundle["consistency"] = []


def result_improved(bundle: Json) -> None:
    name = next(name for name in bundle["files"] if name.endswith("/result.json"))
    text = bundle["files"][name]["text"]
    bundle["files"][name]["text"] = re.sub(r'"score": [\d.]+', '"score": 0.99', text)


def result_removed(bundle: Json) -> None:
    del bundle["files"][next(name for name in bundle["files"] if name.endswith("/result.json"))]


def candidate_edited(bundle: Json) -> None:
    bundle["files"][f"candidates/{DESIGN}.py"]["text"] += "\n"


def candidate_removed(bundle: Json) -> None:
    del bundle["files"][f"candidates/{DESIGN}.py"]


def file_added(bundle: Json) -> None:
    bundle["files"]["candidates/mine.py"] = {"text": "class Mixer: ..."}


def of_another_claim(bundle: Json) -> None:
    bundle["claim"] = "0" * 16


def of_another_entry(bundle: Json) -> None:
    bundle |= {"claim": "", "entry": 1}


def key_beside_changed(bundle: Json) -> None:
    bundle["key"] = LabKey.make().vkey


def format_changed(bundle: Json) -> None:
    bundle["format"] = "noctuary/bundle/2"


def part_removed(bundle: Json) -> None:
    del bundle["consistency"]


CHANGES: Sequence[tuple[Callable[[Json], None], str]] = (
    (envelope_flipped, f"entry {REGISTERED}"),
    (proof_flipped, f"entry {REGISTERED}"),
    (proof_shortened, f"entry {REGISTERED}"),
    (entry_moved, f"entry {REGISTERED + 1}"),
    (entry_removed, "draw"),
    (rotation_removed, f"entry {REGISTERED}"),
    (entries_swapped, "draw|before|order"),
    (head_flipped, "head|tree"),
    (head_grown, "head|tree"),
    (head_unsigned, "head"),
    (consistency_flipped, f"entry {DRAWN}.*head"),
    (consistency_removed, f"entry {DRAWN}.*(head|length)"),
    (result_improved, r"trials/\w+/result.json"),
    (result_removed, r"trials/\w+/result.json"),
    (candidate_edited, f"candidates/{DESIGN}.py"),
    (candidate_removed, f"candidates/{DESIGN}.py"),
    (file_added, "candidates/mine.py"),
    (of_another_claim, "claim 0000000000000000"),
    (of_another_entry, "missing"),
    (key_beside_changed, "key"),
    (format_changed, "format"),
    (part_removed, "consistency"),
)


@pytest.mark.parametrize(("change", "words"), CHANGES, ids=[one[0].__name__ for one in CHANGES])
def test_a_change_is_named_by_both(
    bundle: Json, key: str, change: Callable[[Json], None], words: str
) -> None:
    changed = json.loads(json.dumps(bundle))
    change(changed)
    for found in (ours(changed, key), theirs(changed, key)):
        assert any(re.search(words, line) for line in found), found


def test_another_key_is_named_by_both(bundle: Json) -> None:
    other = LabKey.make().vkey
    for found in (ours(bundle, other), theirs(bundle, other)):
        assert VerifierKey.parse(other).name in "".join(found)


@pytest.mark.parametrize("score", ["1e999", "1e300", "-0.5", "NaN", "null", '"x"'])
def test_what_is_no_score_decides_nothing(bundle: Json, key: str, score: str) -> None:
    """Nor does it keep a verifier busy, or end it."""
    changed = copy.deepcopy(bundle)
    result = changed["files"][next(n for n in changed["files"] if n.endswith("/result.json"))]
    result["text"], count = re.subn(r'"score": [\d.]+', f'"score": {score}', result["text"])
    assert count == 1
    for found in (ours(changed, key), theirs(changed, key)):
        assert any(line.startswith("trials/") for line in found), found
        assert len(found) > 1, "the verdict rests on it"


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 127))
def test_any_letter_that_is_changed_is_found_by_both(
    bundle: Json, key: str, where: float, by: int
) -> None:
    text = json.dumps(bundle, separators=(",", ":"))
    place = int(where * len(text))
    text = text[:place] + chr(ord(text[place]) ^ by) + text[place + 1 :]
    try:
        changed = json.loads(text)
    except ValueError:
        return  # it is no JSON any more, which nobody overlooks
    if changed != bundle:
        assert ours(changed, key)
        assert theirs(changed, key)


ODD_VALUES: tuple[Any, ...] = (None, True, 0, -1, 10**30, 1e308, math.inf, math.nan, "", "x")
ODD_VALUES += ("-1", [], [0], {}, {"a": 1})


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value in a JSON value, but for the whole."""
    if above:
        yield above
    if isinstance(value, dict | list):
        inner = value if isinstance(value, dict) else range(len(value))
        for name in inner:
            yield from places(value[name], (*above, name))


def put(value: Any, place: tuple[Any, ...], new: Any) -> None:
    for name in place[:-1]:
        value = value[name]
    value[place[-1]] = new


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), st.booleans(), st.sampled_from(ODD_VALUES))
def test_any_value_that_is_changed_is_found_by_both(
    bundle: Json, key: str, data: st.DataObject, in_a_result: bool, new: Any
) -> None:
    changed = copy.deepcopy(bundle)
    if in_a_result:
        names = [name for name in bundle["files"] if name.endswith("/result.json")]
        file = changed["files"][data.draw(st.sampled_from(names))]
        result = json.loads(file["text"])
        put(result, data.draw(st.sampled_from(list(places(result)))), new)
        file["text"] = json.dumps(result, indent=1) + "\n"
    else:
        put(changed, data.draw(st.sampled_from(list(places(changed)))), new)
    if changed != bundle:
        assert ours(changed, key)
        assert theirs(changed, key)


# By hand, as an outsider


def test_a_bundle_verifies_with_the_one_file_and_its_verdict_is_told(
    original: Lab, bundle: Json, key: str, tmp_path: Path
) -> None:
    shutil.copy(verify_alone.__file__, tmp_path)
    (tmp_path / "claim.json").write_text(json.dumps(bundle))

    def status() -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-I", "verify_alone.py", "claim.json", key],
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout

    code, said = status()
    assert code == 0
    assert "verified" in said
    changed = json.loads(json.dumps(bundle))
    result_improved(changed)
    (tmp_path / "claim.json").write_text(json.dumps(changed))
    code, said = status()
    assert code == 1
    assert "result.json" in said


def turned(verdict: Json) -> None:
    verdict["status"] = "refuted"
    verdict["comparisons"][0]["high"] = 0.01


def effect_improved(verdict: Json) -> None:
    verdict["comparisons"][0]["effect"] += 0.01


def p_improved(verdict: Json) -> None:
    verdict["comparisons"][1]["p"] /= 2


@pytest.mark.parametrize("change", [turned, effect_improved, p_improved])
def test_who_has_the_key_cannot_turn_what_the_results_say(
    account: Account, bundle: Json, key: str, change: Callable[[Json], None]
) -> None:
    """Plan, seeds and results are as they were; the verdict alone is another one, and signed."""
    payloads = account.payloads()
    sizes = account.texts("SELECT size FROM heads ORDER BY size")
    payloads[DECIDED] = documented(payloads[DECIDED], change)
    signed_again(account, payloads, sizes)
    forged = json.loads(json.dumps(bundle))
    with Ledger.read(account.folder) as ledger:
        forged["head"] = ledger.head()
        old = verify_alone.read_head(json.loads(_document(payloads[DRAWN]))["head"]).size
        forged["consistency"] = _texts(ledger.consistency_proof(old))
        for entry in forged["entries"]:
            entry["envelope"] = ledger.envelope(entry["index"])
            entry["proof"] = _texts(ledger.inclusion_proof(entry["index"]))
    assert theirs({**forged, "claim": "", "entry": DECIDED}, key) == []
    for found in (ours(forged, key), theirs(forged, key)):
        assert found[0].startswith(f"entry {DECIDED}: verdict of claim")


def _document(payload: bytes) -> str:
    return str(read_statement(payload).facts["document"])


def _texts(proof: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(step).decode() for step in proof]
