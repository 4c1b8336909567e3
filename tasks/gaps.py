"""Stage 2: name the gap that this cycle works on."""

from prefect.artifacts import create_markdown_artifact

from noctuary.archive.attesting import Attested
from noctuary.designing import seeded
from noctuary.domain import Gap
from noctuary.gap import gap_markdown, gap_title, synthesise_gap
from noctuary.knowledge import Knowledge
from noctuary.literature.fetch import Literature
from noctuary.night import CycleRun
from tasks.stage import stage
from tasks.workbench import archive_of, journal_of


@stage("synthesise gaps", timeout_seconds=300)
def synthesise_gaps(run: CycleRun, write: Attested, literature: Literature) -> Gap:
    archive = archive_of(run)
    knowledge = Knowledge(archive, run.cycle, run.settings.training)
    known = knowledge.known(literature.papers, literature.insights)
    gap = synthesise_gap(
        known,
        earlier=knowledge.earlier_gaps(),
        outcomes=archive.gap_outcomes(),
        cycle=run.cycle.number,
        rng=seeded(run.cycle, "gap"),
        forbidden=run.policy.code.forbidden,
    )
    write.record_gap(gap)
    journal_of(run).write("gap named", question=gap.question)
    create_markdown_artifact(
        gap_markdown(
            gap,
            {insight.insight_id: insight for insight in known.insights},
            {paper.paper_id: paper for paper in literature.papers},
        ),
        key="gap",
        description=gap_title(gap),
    )
    return gap
