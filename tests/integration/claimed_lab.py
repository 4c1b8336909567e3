"""A small lab whose ledger has all kinds of entries: a cycle, a rotation, claims of every status.

Nothing is trained: the files are made up, and recorded as real ones are.
"""

import datetime
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from noctuary.archive import Archive
from noctuary.attesting import flush
from noctuary.claims.decision import ClaimScores, decide
from noctuary.claims.registration import document, draw, register
from noctuary.claims.verification import all_planned
from noctuary.config import LedgerSettings
from noctuary.domain import (
    Audit,
    Candidate,
    Check,
    Claim,
    Cycle,
    Design,
    Entrant,
    Finding,
    Gap,
    GapOutcome,
    Insight,
    Paper,
    Plan,
    Trial,
    TrialSpec,
)
from noctuary.lab import Lab
from noctuary.ledger.log import Ledger

SETTINGS = LedgerSettings()
SUITES = {"base": "tiny-1-aaaaaaaa", "wide": "tiny-1-wide-bbbbbbbb", "long": "tiny-1-long-cccccccc"}
HELD_OUT, SEEN = ("copying", "counting"), ("recall",)
SEEDS = 8
DESIGN, RIVAL, OTHER = "d" * 16, "a" * 16, "b" * 16
STARTED = datetime.datetime(2026, 3, 1, 1, 0, tzinfo=datetime.UTC)

Score = Callable[[str, TrialSpec], float | None]
"""What a trial of an entrant of that name scores; None where it diverged."""


def make_lab(root: Path) -> Lab:
    """Return a lab with a cycle, and claims that are verified, open, drawn, registered."""
    lab = Lab.create_or_open(root)
    archive = Archive(lab.archive_path)
    _record_cycle(lab, archive)
    with Ledger.open(lab.ledger) as ledger:
        ledger.rotate()
    decided(lab, archive, make_plan(lab, 1))
    decided(lab, archive, make_plan(lab, 2), Unlucky())
    draw(lab, archive, SETTINGS, register(lab, archive, SETTINGS, make_plan(lab, 3)))
    register(lab, archive, SETTINGS, make_plan(lab, 4))
    return lab


def better(name: str, spec: TrialSpec) -> float:
    """Score so that the design is above its rivals by 0.1."""
    return 0.5 + 0.1 * (name == "design") + _noise(spec)


class Unlucky:
    """Scores as above, but that the first trial of the design diverges."""

    def __init__(self) -> None:
        self.happened = False

    def __call__(self, name: str, spec: TrialSpec) -> float | None:
        if name == "design" and not self.happened:
            self.happened = True
            return None
        return better(name, spec)


def make_plan(lab: Lab, number: int) -> Plan:
    design, *rivals = (
        Entrant(
            candidate_id=identity,
            name=name,
            source=hashlib.sha256((lab.candidates / f"{identity}.py").read_bytes()).hexdigest(),
            rates=dict.fromkeys((*HELD_OUT, *SEEN), 0.003),
        )
        for identity, name in ((DESIGN, "design"), (RIVAL, "rival"), (OTHER, "other"))
    )
    return Plan(
        number=number,
        candidate=design,
        baselines=tuple(rivals),
        suites=SUITES,
        held_out=HELD_OUT,
        seen=SEEN,
        rung=1,
        trainer="lightning-3-portable",
        seeds=SEEDS,
        smallest_effect=0.02,
        spread=0.01,
        spread_from="made up",
        power=0.8,
        campaign_alpha=0.05,
        alpha=0.05 / (number * (number + 1)),
    )


def decided(lab: Lab, archive: Archive, plan: Plan, score: Score = better) -> Claim:
    """Register, draw and decide a claim, on trials that score so."""
    claim = draw(lab, archive, SETTINGS, register(lab, archive, SETTINGS, plan))
    assert claim.draw is not None
    scores: dict[tuple[str, str], dict[tuple[str, int], float]] = {}
    trials, failed = [], []
    for entrant, scale, spec in all_planned(claim):
        found = score(entrant.name, spec)
        if found is None:
            failed.append(f"{entrant.name} diverged")
        else:
            scores.setdefault((scale, spec.candidate_id), {})[spec.task, spec.seed] = found
        trials.append(make_trial(spec, found))
    ids = write_trials(lab, trials)
    with archive.attested("evaluation", {"claim": claim.claim_id}) as write:
        write.record_trials(lab.trials, ids)
    digests = {
        one: hashlib.sha256((lab.trials / one / "result.json").read_bytes()).hexdigest()
        for one in ids
    }
    verdict = decide(plan, _typed(scores), digests, failed, claim.draw.seeds)
    claim = claim.model_copy(update={"verdict": verdict})
    results = {f"file:trials/{one}/result.json": sha for one, sha in digests.items()}
    facts = {"claim": claim.claim_id, "document": document(verdict)}
    with archive.attested("verdict", facts, results) as write:
        write.record_claim(claim)
    flush(lab, archive, SETTINGS)
    return claim


def make_trial(spec: TrialSpec, score: float | None) -> Trial:
    return Trial(
        spec=spec,
        status="diverged" if score is None else "ok",
        reason="loss is nan" if score is None else "",
        score=score,
        metrics={"loss": 1.5},
        parameters=1000,
        steps=2,
        tokens=128,
        seconds={"total": 1.0},
        environment={"device": "cpu"},
    )


def write_trials(lab: Lab, trials: Sequence[Trial], *, whole: bool = False) -> list[str]:
    """Write the folders of trials; the whole of one has its curve, losses and weights, too."""
    for trial in trials:
        folder = lab.trials / trial.spec.trial_id
        folder.mkdir()
        (folder / "result.json").write_text(trial.model_dump_json(indent=1) + "\n")
        if whole:
            (folder / "spec.json").write_text(trial.spec.model_dump_json(indent=1) + "\n")
            (folder / "curve.csv").write_text("step,loss,seconds\n1,3.0,0.5\n2,1.5,1.0\n")
            (folder / "losses.bin").write_bytes(bytes(range(16)))
            (folder / "weights.safetensors").write_bytes(bytes(range(256)))
    return [trial.spec.trial_id for trial in trials]


def _record_cycle(lab: Lab, archive: Archive) -> None:
    """Record a cycle, stage by stage, each flushed as it ends."""
    cycle = Cycle(number=1, seed=0, settings="0" * 16)
    sources = {one: f"class Mixer:  # {one}\n    pass\n" for one in (DESIGN, RIVAL, OTHER)}
    for identity, source in sources.items():
        (lab.candidates / f"{identity}.py").write_text(source)
    insight = _insight()
    gap = _gap(insight)
    design = Design(
        design_id=DESIGN,
        name="design",
        axes={"decay": "vector"},
        source=sources[DESIGN],
        motivation="to see",
        move="mutate",
        operator="mutation of decay",
        parents=(RIVAL,),
        gap_id=gap.gap_id,
        findings=(),
        cycle=1,
    )
    trials = [
        make_trial(
            TrialSpec(
                candidate_id=identity,
                suite=SUITES["base"],
                task="recall",
                rung=0,
                seed=0,
                learning_rate=3e-3,
                trainer="lightning-3",
            ),
            0.5,
        )
        for identity in (DESIGN, RIVAL)
    ]
    with archive.attested("stage", {"stage": "open"}) as write:
        write.open_cycle(cycle, STARTED)
    with archive.attested("stage", {"stage": "fetch literature"}) as write:
        write.record_papers([_paper()])
        write.record_insights([insight])
    flush(lab, archive, SETTINGS)
    with archive.attested("stage", {"stage": "synthesise gaps"}) as write:
        write.record_gap(gap)
    files = {
        f"file:candidates/{identity}.py": hashlib.sha256(source.encode()).hexdigest()
        for identity, source in sources.items()
    }
    with archive.attested("stage", {"stage": "design candidates"}, files) as write:
        write.record_candidates([_human(RIVAL, "rival"), _human(OTHER, "other")])
        write.record_designs([design])
    flush(lab, archive, SETTINGS)
    with archive.attested("stage", {"stage": "audit"}) as write:
        check = Check(name="causal", passed=True, measured=0.0, limit=1e-4)
        audit = Audit(candidate_id=DESIGN, suite=SUITES["base"], checks=(check,), ffn_width=8)
        write.record_audits([audit], cycle=1)
    with archive.attested("stage", {"stage": "train"}) as write:
        write.record_trials(lab.trials, write_trials(lab, trials, whole=True))
    flush(lab, archive, SETTINGS)
    with archive.attested("stage", {"stage": "analyse"}) as write:
        write.record_findings([_finding()])
        write.record_gap_outcome(_outcome(gap))
        write.close_cycle(cycle.cycle_id, "done", gap.gap_id, "it helped", STARTED)
    flush(lab, archive, SETTINGS)


def _human(identity: str, name: str) -> Candidate:
    path = f"candidates/{identity}.py"
    return Candidate(candidate_id=identity, name=name, kind="human", axes=None, path=path)


def _paper() -> Paper:
    return Paper(
        paper_id="arxiv:2406.06484",
        title="Parallelizing Linear Transformers with the Delta Rule",
        authors=("Songlin Yang",),
        year=2024,
        venue="NeurIPS",
        arxiv_id="2406.06484",
        account="It trains the delta rule in chunks.",
        source="snapshot",
    )


def _insight() -> Insight:
    return Insight(
        statement="a vector decay helps recall",
        mechanisms=("decay=vector",),
        capability="recall",
        direction=1,
        strength=0.8,
        evidence="arxiv:2406.06484",
    )


def _gap(insight: Insight) -> Gap:
    return Gap(
        cycle=1,
        question="does a vector decay help recall?",
        mechanisms=("decay=vector",),
        capability="recall",
        evidence_for=(insight.insight_id,),
        evidence_against=(),
        findings=(),
        papers_covering=1,
        trials_covering=0,
        expected_effect=0.05,
        refuted_if="the interval lies below zero",
    )


def _outcome(gap: Gap) -> GapOutcome:
    return GapOutcome(
        gap_id=gap.gap_id,
        cycle=1,
        verdict="open",
        effect=None,
        low=None,
        high=None,
        n=0,
        statement="nothing was measured",
    )


def _finding() -> Finding:
    return Finding(
        cycle=1,
        kind="comparison",
        subject=DESIGN,
        baseline=RIVAL,
        task="all",
        rung=0,
        effect=0.0,
        low=None,
        high=None,
        n=1,
        statement="no difference",
    )


def _noise(spec: TrialSpec) -> float:
    """Return something small that differs from trial to trial."""
    return int(spec.trial_id[:4], 16) / 2**16 * 0.02


def _typed(scores: dict[tuple[str, str], dict[tuple[str, int], float]]) -> ClaimScores:
    return scores  # type: ignore[return-value]  # a scale is a text
