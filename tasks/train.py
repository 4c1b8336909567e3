"""Stage 5: train one candidate on the tasks of the suite, on one rung."""

import functools
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from noctuary.archive.attesting import Attested
from noctuary.domain import Audit, Candidate
from noctuary.night import CycleRun
from noctuary.stopping import heed_disk_budget, heed_stop_file
from noctuary.trials import Trained
from tasks.stage import stage
from tasks.workbench import journal_of, workshop_of

ACCELERATOR = "accelerator"
"""Tag with a concurrency limit on the server: how many candidates train at once."""

CANDIDATES_AT_ONCE = 2
"""Two keep every slot busy while one of them has its last trials to go."""


@stage(
    "train", timeout_seconds=86400, tags=(ACCELERATOR,), label="train {candidate.name}, rung {rung}"
)
def train(
    run: CycleRun, write: Attested, candidate: Candidate, verdict: Audit, rung: int
) -> Trained:
    workshop = workshop_of(run)
    specs = workshop.plan(candidate.candidate_id, rung) if verdict.accepted else ()
    artifact = create_progress_artifact(
        0.0, description=f"trials of {candidate.name} on rung {rung}"
    )
    assert isinstance(artifact, UUID)

    def told(done: int) -> None:
        update_progress_artifact(artifact, 100.0 * done / max(1, len(specs)))

    heed_disk_budget(workshop.lab, run.policy)
    heed = functools.partial(heed_stop_file, workshop.lab, run.policy)
    trained = workshop.train(candidate, verdict.ffn_width or 0, specs, told, heed)
    write.record_trials(workshop.lab.trials, trained.trial_ids)
    journal_of(run).write(
        "candidate trained",
        candidate=candidate.name,
        kind=candidate.kind,
        rung=rung,
        score=trained.score,
        reason=verdict.reason or trained.reason,
    )
    return trained
