"""Between two rungs: who goes on to the next one."""

from noctuary.archive.attesting import Attested
from noctuary.domain import Candidate
from noctuary.knowledge import Knowledge
from noctuary.night import CycleRun
from noctuary.plan import suite_of
from noctuary.trials import Trained
from tasks.stage import stage
from tasks.workbench import archive_of, journal_of, workshop_of


@stage("promote", timeout_seconds=300, label="promote to rung {rung}")
def promote(
    run: CycleRun,
    _write: Attested,
    candidates: list[Candidate],
    trained: list[Trained],
    rung: int,
) -> list[Candidate]:
    """Return the candidates that train on a rung, given how they did on the one before.

    The human baselines always get to the last rung; the ones between only screen designs.
    """
    suite = suite_of(run.settings.training)
    knowledge = Knowledge(archive_of(run), run.cycle, run.settings.training)
    scored = {one.candidate_id for one in trained if one.rung == rung - 1 and one.score is not None}
    climbing = knowledge.promoted(scored, rung - 1, run.settings.search.kept(rung - 1))
    going = [
        candidate
        for candidate in candidates
        if candidate.candidate_id in climbing or (candidate.kind == "human" and rung == suite.top)
    ]
    journal_of(run).write(
        "promoted",
        rung=rung,
        designs=[candidate.name for candidate in going if candidate.kind == "design"],
        planned=workshop_of(run).missing(going, rung),
    )
    return going
