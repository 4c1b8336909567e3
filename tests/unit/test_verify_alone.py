"""The verifier that stands alone: its parts against slow twins and the program's, and as a file.

That it finds what was tampered with is in `test_tampering`, `test_forging` and `test_bundles`.
"""

import ast
import datetime
import itertools
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noctuary.claims.seeds import draw_seeds
from noctuary.claims.sign_flips import lower_bound, positive_p, steps_of
from noctuary.ledger import verify_alone
from noctuary.ledger.log import Ledger
from noctuary.ledger.merkle import consistency_proof, grown, inclusion_proof, leaf_hash, root
from noctuary.ledger.statements import Statement, utc_text
from noctuary.ledger.verify import verify_ledger

MANY = 10_000
BEGUN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
SCRIPT = Path(verify_alone.__file__)

differences = st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=1, max_size=9)


def test_it_imports_nothing_but_the_standard_library_and_cryptography() -> None:
    names = set()
    for found in ast.walk(ast.parse(SCRIPT.read_text(encoding="utf-8"))):
        if isinstance(found, ast.Import):
            names |= {one.name.split(".")[0] for one in found.names}
        elif isinstance(found, ast.ImportFrom):
            names.add(str(found.module).split(".")[0])
    assert names - set(sys.stdlib_module_names) == {"cryptography"}


# Statistics


@settings(max_examples=50, deadline=None)
@given(differences)
def test_the_p_value_counts_all_flips(found: list[float]) -> None:
    steps = [round(one * 100_000) for one in found]
    flips = itertools.product((-1, 1), repeat=len(steps))
    rarer = sum(sum(a * b for a, b in zip(steps, f, strict=True)) >= sum(steps) for f in flips)
    assert verify_alone.chance(steps) == rarer / 2 ** len(steps)
    assert verify_alone.chance(steps) == pytest.approx(positive_p(steps_of(found)))


@settings(max_examples=30, deadline=None)
@given(differences, st.sampled_from([0.025, 0.1, 0.3]))
def test_the_bound_is_that_of_the_program(found: list[float], level: float) -> None:
    steps = [round(one * 100_000) for one in found]
    assert verify_alone.lowest(steps, level) == lower_bound(steps_of(found), level)


# The tree, and the seeds


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.randoms(use_true_random=False))
def test_proofs_of_the_program_hold_and_changed_ones_do_not(size: int, rng: random.Random) -> None:
    entries = [str(number).encode() for number in range(size)]
    nodes = {
        (level, index): digest
        for level, index, digest in grown(0, list(map(leaf_hash, entries)), lambda _l, _i: b"")
    }
    tree = verify_alone.Tree()
    assert [one for entry in entries for one in tree.add(entry)] == sorted(
        [(level, index, digest) for (level, index), digest in nodes.items()],
        key=lambda one: ((one[1] + 1) << one[0], one[0]),
    )

    def node(level: int, index: int) -> bytes:
        return nodes[level, index]

    whole = root(size, node)
    assert tree.root() == whole
    index = rng.randrange(size)
    proof = inclusion_proof(index, size, node)
    digest = leaf_hash(entries[index])
    assert verify_alone.root_by(digest, index, size, proof) == whole
    if proof:
        proof[rng.randrange(len(proof))] = bytes(32)
        assert verify_alone.root_by(digest, index, size, proof) != whole
    old = verify_alone.Head("", "", index + 1, root(index + 1, node), "")
    kept = consistency_proof(old.size, size, node)
    assert verify_alone.roots_by(old, size, kept) == (old.root, whole)
    if kept:
        kept[rng.randrange(len(kept))] = bytes(32)
        assert verify_alone.roots_by(old, size, kept) != (old.root, whole)


@pytest.mark.parametrize("change", [lambda proof: proof[1:], lambda proof: [*proof, bytes(32)]])
def test_a_proof_of_another_length_is_refused(change: object) -> None:
    assert callable(change)
    proof = change([bytes(32)] * 3)
    with pytest.raises(verify_alone.NOT_AS_EXPECTED):
        verify_alone.root_by(bytes(32), 5, 8, proof)


def test_the_seeds_are_those_of_the_program() -> None:
    note = "noctuary/0011223344556677\n12\n" + "A" * 43 + "=\n\nsignature\n"
    head = verify_alone.read_head(note)
    for randomness, beacon in (("", None), ("ab" * 32, {"url": "", "round": 1})):
        plan = {"seeds": 40, "beacon": beacon}
        drawn = verify_alone.drawn(plan, head, "f" * 16, randomness)
        assert tuple(drawn) == draw_seeds(note, "f" * 16, 40, randomness)


# As a file of its own


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a ledger of 10,000 entries, with a rotation and many heads."""
    folder = tmp_path_factory.mktemp("many") / "ledger"
    moments = (BEGUN + datetime.timedelta(seconds=number) for number in itertools.count())
    payloads = [
        Statement(
            kind="stage",
            subjects={f"trials/{number}": f"{number:064x}"},
            facts={"time": utc_text(next(moments)), "stage": "train"},
        ).payload
        for number in range(MANY - 2)
    ]
    with Ledger.open(folder, now=lambda: BEGUN) as ledger:
        for start in range(0, 4_000, 500):
            ledger.append(payloads[start : start + 500])
        ledger.rotate()
        ledger.append(payloads[4_000:9_000])
        for payload in payloads[9_000:9_100]:
            ledger.append([payload])
        ledger.append(payloads[9_100:])
    return folder


def test_no_false_alarm_over_10_000_entries(many: Path) -> None:
    key = (many / "key.pub").read_text()
    with Ledger.read(many) as ledger:
        heads = [ledger.head_containing(index) for index in (0, 3_999, 4_000, 9_050, MANY - 1)]
    found = verify_ledger(many, key, heads)
    assert (found.ok, found.size, found.problems) == (True, MANY, ())
    pinned, kept = verify_alone.read_key(key), [verify_alone.read_head(head) for head in heads]
    assert list(verify_alone.ledger_problems(many / "ledger.sqlite", pinned, kept)) == []


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a folder that holds the file, a small ledger, its key and a head, and nothing else."""
    folder = tmp_path / "outside"
    folder.mkdir()
    shutil.copy(SCRIPT, folder)
    with Ledger.open(tmp_path / "ledger", now=lambda: BEGUN) as ledger:
        facts = {"time": utc_text(BEGUN), "stage": "train"}
        ledger.append([Statement(kind="stage", subjects={}, facts=facts).payload])
        (folder / "head").write_text(ledger.head())
    shutil.copy(tmp_path / "ledger" / "ledger.sqlite", folder)
    shutil.copy(tmp_path / "ledger" / "key.pub", folder)
    return folder


def test_it_runs_alone_and_its_status_says_how_it_ended(outside: Path) -> None:
    def status(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-I", "verify_alone.py", *arguments],
            cwd=outside,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout

    key = (outside / "key.pub").read_text()
    assert status("ledger.sqlite", "key.pub", "head") == (0, "ledger.sqlite: all holds\n")
    assert status(".", key)[0] == 0
    assert status(".", key.replace(key[-10:-4], "AAAAAA")) == (2, "")
    assert (
        status()[0] == status("nowhere", key)[0] == status("ledger.sqlite", "key.pub", "?")[0] == 2
    )
    (outside / "bundle.json").write_text("{}")
    assert status("bundle.json", "key.pub")[0] == 1
    (outside / "ledger.sqlite").write_bytes(b"nothing")
    assert status("ledger.sqlite", "key.pub")[0] == 1
