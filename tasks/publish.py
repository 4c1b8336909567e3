"""Stage 7: the cycle's account for people, in the lab and in the Prefect UI."""

import base64

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from noctuary.archive.attesting import Attested
from noctuary.domain import Candidate, Finding, Gap, Trial
from noctuary.lab import explaining_disk_errors, read_json, write_atomically
from noctuary.night import CycleRun, CycleSummary
from noctuary.report.curves import curves_png
from noctuary.report.cycle import leaderboard_rows
from noctuary.report.summary import summarise
from noctuary.trials import Trained
from tasks.stage import stage
from tasks.workbench import archive_of, lab_of


@stage("publish", timeout_seconds=600)
def publish(
    run: CycleRun,
    write: Attested,
    gap: Gap,
    candidates: list[Candidate],
    trained: list[Trained],
    findings: list[Finding],
) -> CycleSummary:
    archive, lab = archive_of(run), lab_of(run)
    trials = [
        Trial.model_validate(read_json(lab.trials / trial_id / "result.json"))
        for one in trained
        for trial_id in one.trial_ids
    ]
    account = summarise(archive, run, gap, candidates, trained, findings)
    picture = curves_png(candidates, trials, lab.trials)
    name = run.cycle.cycle_id
    with explaining_disk_errors(lab.reports):
        write_atomically(lab.reports / f"{name}.png", picture)
        write_atomically(lab.reports / f"{name}.md", account.markdown)

    create_table_artifact(
        leaderboard_rows(account.board), key="leaderboard", description=account.summary.statement
    )
    image = base64.b64encode(picture).decode("ascii")
    create_markdown_artifact(
        f"# Learning curves of cycle {run.cycle.number}\n\n"
        f"![training loss over steps](data:image/png;base64,{image})\n",
        key="learning-curves",
        description="Means over the seeds, at the best learning rate: designs in colour, human "
        "baselines in grey",
    )
    create_markdown_artifact(
        account.markdown, key="account", description=f"All about cycle {run.cycle.number}"
    )
    write.close_cycle(name, "done", gap_id=gap.gap_id, summary=account.summary.statement)
    return account.summary
