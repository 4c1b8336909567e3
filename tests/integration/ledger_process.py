"""A lab whose writer is killed again and again, as a script:

`python ledger_process.py LAB ROUNDS SEED` forks a process that records blocks as stages do, and
gives them to the ledger, until it is killed at a random moment; and then one that looks whether
all agrees, takes up what the ledger lacks, and looks again. Each look is one line of JSON.

The first process imports everything once, and opens nothing: it would be open in its children.
"""

import json
import os
import random
import signal
import sys
import time
from itertools import count
from pathlib import Path

import duckdb  # noqa: F401 - by the children, which should not have to import it
import numpy as np  # noqa: F401 - by duckdb, where rows are fetched

from noctuary.archive import Archive
from noctuary.attesting import agreement, flush
from noctuary.config import LedgerSettings
from noctuary.domain import Audit, Candidate, Check, Cycle, Finding, Trial, TrialSpec
from noctuary.lab import Lab
from noctuary.ledger import database
from noctuary.ledger.log import Ledger
from noctuary.ledger.verify import verify_ledger

LONGEST = 0.15
"""CPU seconds until a writer is killed, at most, so that other work on the machine does not count;
a block and its flush take about 0.05."""

SETTINGS = LedgerSettings()


def write(lab: Lab, seed: int) -> None:
    """Record what the stages of cycles record, until the end of this process."""
    archive = Archive(lab.archive_path)
    flush(lab, archive, SETTINGS)
    for number in count(1):
        cycle = Cycle(number=number, seed=seed, settings="x")
        identity = f"{seed:08x}{number:08x}"
        with archive.attested("stage", {"stage": "open", "cycle": cycle.cycle_id}) as block:
            block.open_cycle(cycle, archive._now())
        flush(lab, archive, SETTINGS)
        source = lab.candidates / f"{identity}.py"
        source.write_text(f"# {identity}\n", encoding="utf-8")
        candidate = Candidate(
            candidate_id=identity, name=identity, kind="design", axes=None, path=source.name
        )
        check = Check(name="causal", passed=True)
        with archive.attested("stage", {"stage": "audit", "cycle": cycle.cycle_id}) as block:
            block.record_candidates([candidate])
            block.attest_file(lab.root, f"candidates/{identity}.py")
            block.record_audits([Audit(candidate_id=identity, suite="s", checks=(check,))], number)
        flush(lab, archive, SETTINGS)
        trials = [_trial(lab, identity, one) for one in range(3)]
        with archive.attested("stage", {"stage": "train", "cycle": cycle.cycle_id}) as block:
            block.record_trials(lab.trials, trials)
        # two blocks at once for the ledger: a flush that was left out is made up for
        with archive.attested("stage", {"stage": "publish", "cycle": cycle.cycle_id}) as block:
            block.record_findings([_finding(identity, number)])
            block.close_cycle(cycle.cycle_id, "done")
        flush(lab, archive, SETTINGS)


def _trial(lab: Lab, candidate_id: str, seed: int) -> str:
    spec = TrialSpec(
        candidate_id=candidate_id,
        suite="s",
        task="mqar",
        rung=0,
        seed=seed,
        learning_rate=0.005,
        trainer="t",
    )
    folder = lab.trials / spec.trial_id
    folder.mkdir()
    (folder / "spec.json").write_text(spec.model_dump_json(), encoding="utf-8")
    (folder / "curve.csv").write_text("step,loss,seconds\n1,3.5,0.25\n2,3.25,0.5\n")
    (folder / "weights.safetensors").write_bytes(os.urandom(4096))
    trial = Trial(spec=spec, status="ok", score=0.5, seconds={"total": time.monotonic()})
    (folder / "result.json").write_text(trial.model_dump_json(), encoding="utf-8")
    return spec.trial_id


def _finding(subject: str, cycle: int) -> Finding:
    return Finding(
        cycle=cycle,
        kind="comparison",
        subject=subject,
        baseline="b",
        task="all",
        rung=0,
        effect=0.01,
        low=None,
        high=None,
        n=1,
        statement="x",
    )


def look(lab: Lab) -> dict[str, object]:
    """Return what verification says as the writer left it, and after the next flush."""
    archive = Archive(lab.archive_path)
    if not archive.exists():
        return {"problems": [], "waiting": 0, "size": 0}
    before = _said(lab, archive)
    flush(lab, archive, SETTINGS)
    after = _said(lab, archive)
    waited = [remark for remark in before[1] if "wait for the ledger" in remark]
    still = [remark for remark in after[1] if "wait for the ledger" in remark]
    return {
        "problems": [*before[0], *after[0], *still],
        "waiting": int(waited[0].split()[0]) if waited else 0,
        "size": after[2],
    }


def _said(lab: Lab, archive: Archive) -> tuple[list[str], tuple[str, ...], int]:
    if not (lab.ledger / database.NAME).exists():
        return [], (), 0
    whole = verify_ledger(lab.ledger, None)
    with Ledger.read(lab.ledger) as ledger:
        agreed = agreement(lab, archive, ledger)
    return [str(one) for one in (*whole.problems, *agreed.problems)], agreed.remarks, whole.size


def _wait(pid: int, seconds: float) -> None:
    """Return when a process has had so much of a processor."""
    while int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) < seconds * 1e9:
        time.sleep(0.001)


def main() -> None:
    lab, rounds, seed = Lab(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)
    for number in range(rounds):
        writer = os.fork()
        if writer == 0:
            write(lab, number)
        _wait(writer, rng.uniform(0, LONGEST))
        os.kill(writer, signal.SIGKILL)
        _, status = os.waitpid(writer, 0)
        assert os.WIFSIGNALED(status), "the writer ended before it was killed"
        looker = os.fork()
        if looker == 0:
            print(json.dumps(look(lab)), flush=True)
            os._exit(0)
        assert os.waitpid(looker, 0)[1] == 0


if __name__ == "__main__":
    main()
