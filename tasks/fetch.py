"""Stage 1: read the literature, and keep papers and insights in the archive."""

from noctuary.lab import shipped
from noctuary.literature.fetch import Literature, read_literature
from noctuary.night import CycleRun
from tasks.stage import stage
from tasks.workbench import archive_of, journal_of


@stage("fetch literature", timeout_seconds=300)
def fetch_literature(run: CycleRun) -> Literature:
    snapshot = shipped("data/snapshot") / "papers.json"
    literature = read_literature(snapshot, run.settings.literature, run.offline)
    journal_of(run).write("literature read", note=literature.note)
    archive = archive_of(run)
    archive.record_papers(literature.papers)
    archive.record_insights(literature.insights)
    return literature
