"""Claims of the tiny suite, registered and drawn in a real lab."""

import hashlib
from pathlib import Path

from noctuary.archive import Archive
from noctuary.bench.suite import TINY
from noctuary.candidates import human_candidates
from noctuary.claims.registration import draw, register
from noctuary.config import load_settings
from noctuary.domain import Candidate, Claim, Entrant, Plan, Scale
from noctuary.lab import Lab
from noctuary.plan import trainer_of

LEARNS, STANDS_STILL = 1e-2, 1e-9
"""Learning rates: what learns is set against what cannot, so that no verdict hangs on the seeds,
which nobody can choose."""

CAMPAIGN = 0.99
"""So that two seeds can tell."""

EVERY_SCALE: tuple[Scale, ...] = ("base", "wide", "long")


def claimed(
    lab: Lab,
    better: float = LEARNS,
    worse: float = STANDS_STILL,
    scales: tuple[Scale, ...] = EVERY_SCALE,
    seen: tuple[str, ...] = ("mqar",),
) -> Claim:
    """Return the claim that a human mixer at one rate is above another at another, on two seeds."""
    settings, archive = load_settings(lab.settings_path), Archive(lab.archive_path)
    mixers = human_candidates(lab, ["linear_attention", "retnet"])
    archive.migrate()
    with archive.attested("evaluation", {"of": "a claim"}) as write:
        write.record_candidates(mixers)
    number = len(archive.claims()) + 1
    plan = Plan(
        number=number,
        candidate=_entrant(mixers[0], better),
        baselines=(_entrant(mixers[1], worse),),
        suites={scale: TINY.scaled(scale).version for scale in scales},
        held_out=("text",),
        seen=seen,
        rung=TINY.top,
        trainer=trainer_of(settings.training, "portable"),
        seeds=2,
        smallest_effect=0.01,
        spread=0.01,
        spread_from="a test",
        power=0.8,
        campaign_alpha=CAMPAIGN,
        alpha=CAMPAIGN / (number * (number + 1)),
    )
    claim = register(lab, archive, settings.ledger, plan)
    return draw(lab, archive, settings.ledger, claim)


def _entrant(candidate: Candidate, rate: float) -> Entrant:
    source = hashlib.sha256(Path(candidate.path).read_bytes()).hexdigest()
    return Entrant(
        candidate_id=candidate.candidate_id,
        name=candidate.name,
        source=source,
        rates={"text": rate, "mqar": rate},
    )
