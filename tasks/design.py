"""Stage 3: design candidates for the gap; the human baselines come along."""

import itertools

from noctuary.archive.attesting import Attested
from noctuary.candidates import design_candidate, human_candidates, human_genomes
from noctuary.designing import make_designs
from noctuary.domain import Candidate, Gap
from noctuary.knowledge import Knowledge
from noctuary.literature.fetch import Literature
from noctuary.night import CycleRun
from noctuary.search.pipeline import search_by
from tasks.stage import stage
from tasks.workbench import archive_of, journal_of, lab_of, workshop_of


@stage("design candidates", timeout_seconds=300)
def design_candidates(
    run: CycleRun, write: Attested, literature: Literature, gap: Gap
) -> list[Candidate]:
    archive, lab = archive_of(run), lab_of(run)
    humans = human_candidates(lab)
    designs = make_designs(
        run.cycle,
        gap,
        literature.papers,
        literature.insights,
        humans,
        Knowledge(archive, run.cycle, run.settings.training),
        search_by(run.settings.search),
        published=human_genomes(),
        count=run.settings.search.designs,
        forbidden=run.policy.code.forbidden,
    )
    write.record_candidates(humans)
    write.record_designs(designs.made)
    write.note_search(run.cycle.cycle_id, designs.refused, designs.notice)
    candidates = [design_candidate(lab, design) for design in designs.made]
    for one in (*humans, *candidates):
        write.attest_file(lab.root, f"candidates/{one.candidate_id}.py")
    workshop = workshop_of(run)
    journal_of(run).write(
        "designs made",
        designs=[design.name for design in designs.made],
        notice=designs.notice,
        planned=workshop.missing([*humans, *candidates], rung=0),
    )
    # taking turns: a design means something only beside the baselines, and both are seen early
    turns = itertools.zip_longest(candidates, humans)
    return [candidate for turn in turns for candidate in turn if candidate is not None]
