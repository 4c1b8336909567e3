"""Stage 1: read the literature, and keep papers and insights in the archive."""

from random import Random

from noctuary.archive.attesting import Attested
from noctuary.domain import Gap
from noctuary.knowledge import Knowledge
from noctuary.lab import shipped
from noctuary.literature.fetch import Literature, read_literature
from noctuary.literature.questions import Interest, interest_of
from noctuary.night import CycleRun
from tasks.stage import stage
from tasks.workbench import archive_of, journal_of, lab_of


@stage("fetch literature", timeout_seconds=300)
def fetch_literature(run: CycleRun, write: Attested) -> Literature:
    literature = read_literature(
        shipped("data/snapshot") / "papers.json",
        lab_of(run).literature,
        run.settings.literature,
        run.offline,
        Interest() if run.offline else _interest(run),
    )
    journal_of(run).write("literature read", note=literature.note)
    write.record_papers(literature.papers)
    write.record_insights(literature.insights)
    write.note_literature(run.cycle.cycle_id, literature.note)
    return literature


def _interest(run: CycleRun) -> Interest:
    """Return what the cycles before this one leave to read about."""
    archive = archive_of(run)
    knowledge = Knowledge(archive, run.cycle, run.settings.training)
    designs = {design.design_id: design for design in archive.designs(knowledge.before)}
    ranked = knowledge.history().ranked(Random(run.cycle.seed))
    best = [designs[one.candidate_id] for one in ranked if one.candidate_id in designs]
    gaps = sorted(knowledge.earlier_gaps(), key=_cycle)
    return interest_of(gaps, best, archive.insights(knowledge.before))


def _cycle(gap: Gap) -> int:
    return gap.cycle
