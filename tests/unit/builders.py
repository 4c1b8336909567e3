"""Small labs for tests: candidates, designs, gaps and finished trials, made without training."""

import datetime
import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

from noctuary.archive import Archive
from noctuary.domain import (
    Audit,
    Axes,
    Candidate,
    Capability,
    Check,
    Cycle,
    Design,
    Finding,
    Gap,
    GapOutcome,
    Insight,
    Move,
    Paper,
    Status,
    Trial,
    TrialSpec,
)

SUITE = "tiny-2-abcdef01"
TRAINER = "lightning-3"
TASKS = ("mqar", "recall", "text")
CAPABILITIES: dict[str, Capability] = {
    "mqar": "recall",
    "recall": "recall",
    "text": "language_modelling",
}
STARTED = datetime.datetime(2024, 5, 1, 1, 0, tzinfo=datetime.UTC)


def make_axes(**changes: str) -> Axes:
    """Return the axes of plain linear attention, with changes."""
    plain = {
        "feature_map": "elu",
        "decay": "none",
        "update": "additive",
        "beta_range": "none",
        "short_conv": "none",
        "qk_norm": "none",
        "output_gate": "none",
        "output_norm": "rms",
    }
    return {**plain, **changes}


DELTA = {"update": "delta", "beta_range": "unit", "qk_norm": "l2", "feature_map": "silu"}


def make_human(name: str, axes: Axes | None = None) -> Candidate:
    return Candidate(
        candidate_id=f"human_{name}",
        name=name,
        kind="human",
        axes=axes,
        path=f"/somewhere/{name}.py",
    )


def make_design(
    identity: str,
    axes: Axes,
    cycle: int = 1,
    *,
    parents: tuple[str, ...] = (),
    gap_id: str = "gap",
    findings: tuple[str, ...] = (),
    move: Move = "mutate",
) -> Design:
    return Design(
        design_id=identity,
        name=f"design-{identity}",
        axes=axes,
        source=f"# {identity}\n",
        motivation="to see",
        move=move,
        operator="mutation of decay",
        parents=parents,
        gap_id=gap_id,
        findings=findings,
        cycle=cycle,
    )


def make_gap(cycle: int = 1, **changes: object) -> Gap:
    content: dict[str, object] = {
        "cycle": cycle,
        "question": "does a vector decay help recall?",
        "mechanisms": ("decay=vector",),
        "capability": "recall",
        "evidence_for": (),
        "evidence_against": (),
        "findings": (),
        "papers_covering": 1,
        "trials_covering": 0,
        "expected_effect": 0.05,
        "refuted_if": "the interval lies below zero",
    }
    return Gap.model_validate({**content, **changes})


def make_outcome(gap_id: str, **changes: object) -> GapOutcome:
    """Return what became of a gap, with changes."""
    content: dict[str, object] = {
        "gap_id": gap_id,
        "cycle": 1,
        "verdict": "refuted",
        "effect": -0.02,
        "low": -0.03,
        "high": -0.01,
        "n": 3,
        "statement": "refuted",
    }
    return GapOutcome.model_validate({**content, **changes})


def make_paper(**changes: object) -> Paper:
    content: dict[str, object] = {
        "paper_id": "arxiv:2406.06484",
        "title": "Parallelizing Linear Transformers with the Delta Rule",
        "authors": ("Songlin Yang", "Bailin Wang"),
        "year": 2024,
        "venue": "NeurIPS",
        "arxiv_id": "2406.06484",
        "account": "It trains the delta rule in chunks.",
        "mechanisms": ("update=delta",),
        "axes": make_axes(**DELTA),
        "source": "snapshot",
    }
    return Paper.model_validate({**content, **changes})


def make_insight(**changes: object) -> Insight:
    content: dict[str, object] = {
        "statement": "the delta rule helps recall",
        "mechanisms": ("update=delta",),
        "capability": "recall",
        "direction": 1,
        "strength": 0.8,
        "evidence": "arxiv:2406.06484",
    }
    return Insight.model_validate({**content, **changes})


def make_audit(candidate_id: str, passed: bool = True) -> Audit:
    check = Check(name="causal", passed=passed, measured=0.0, limit=1e-4, detail="future moved")
    return Audit(
        candidate_id=candidate_id, suite=SUITE, checks=(check,), ffn_width=96, parameters=96_000
    )


def make_trial(
    candidate_id: str,
    task: str,
    seed: int,
    score: float | None,
    status: Status = "ok",
    *,
    suite: str = SUITE,
    rung: int = 0,
    trainer: str = TRAINER,
    learning_rate: float = 5e-3,
) -> Trial:
    return Trial(
        spec=TrialSpec(
            candidate_id=candidate_id,
            suite=suite,
            task=task,
            rung=rung,
            seed=seed,
            learning_rate=learning_rate,
            trainer=trainer,
        ),
        status=status,
        reason="" if status == "ok" else f"it {status}",
        score=score,
        metrics={"loss": 1.5},
        parameters=100_000,
        steps=6,
        tokens=768,
        seconds={"train": random.random(), "total": 1.0},
        peak_memory_mb=random.uniform(100, 200),
        environment={"device": "cpu", "threads": 1},
    )


def write_trials(folder: Path, trials: Iterable[Trial]) -> list[str]:
    """Write the folders of finished trials, with wall times that differ at every call."""
    written = []
    for trial in trials:
        place = folder / trial.spec.trial_id
        place.mkdir(parents=True, exist_ok=True)
        clock = random.random()
        lines = ["step,loss,seconds"]
        lines += [f"{step},{3 / step:.6f},{clock + step:.3f}" for step in range(1, 7)]
        (place / "curve.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (place / "result.json").write_text(json.dumps(trial.model_dump(mode="json")))
        written.append(trial.spec.trial_id)
    return written


Scores = Mapping[tuple[str, str, int], float | None]
"""(candidate id, task, seed) -> score, or None for a trial that diverged."""


def record_scores(
    archive: Archive,
    scores: Scores,
    suite: str = SUITE,
    *,
    rung: int = 0,
    trainer: str = TRAINER,
) -> list[str]:
    """Write and record one trial for each score, all at one learning rate."""
    return record_trials(
        archive,
        [
            make_trial(
                candidate,
                task,
                seed,
                score,
                "ok" if score is not None else "diverged",
                suite=suite,
                rung=rung,
                trainer=trainer,
            )
            for (candidate, task, seed), score in scores.items()
        ],
    )


def record_trials(archive: Archive, trials: Iterable[Trial]) -> list[str]:
    """Write and record trials; return their ids."""
    folder = archive.path.parent / "trials"
    ids = write_trials(folder, trials)
    archive.record_trials(folder, ids)
    return ids


def small_study(
    archive: Archive, seed: int = 0, holes: float = 0.0
) -> dict[tuple[str, str, int], float | None]:
    """Record five humans and six designs of three cycles with random scores; return the scores.

    Args:
        holes: share of the trials that diverged; as many again were never run.
    """
    rng = random.Random(seed)
    humans = [
        make_human("linear_attention", make_axes()),
        make_human("deltanet", make_axes(**DELTA)),
        make_human("gated_delta_net", make_axes(**DELTA, decay="scalar", short_conv="conv4")),
        make_human("retnet", make_axes(decay="fixed", output_gate="silu")),
        make_human("softmax_attention"),
    ]
    decays, gates = ("none", "fixed", "scalar", "vector"), ("none", "sigmoid", "silu")
    designs = [
        make_design(
            f"d{number}",
            make_axes(
                **(DELTA if rng.random() < 0.5 else {}),
                decay=rng.choice(decays),
                output_gate=rng.choice(gates),
            ),
            cycle=1 + number // 2,
        )
        for number in range(6)
    ]
    archive.record_candidates(humans)
    archive.record_designs(designs)
    scores: dict[tuple[str, str, int], float | None] = {}
    for candidate in [h.candidate_id for h in humans] + [d.design_id for d in designs]:
        level = rng.random()
        for task in TASKS:
            for number in range(3):
                fate = rng.random()
                if fate >= holes:
                    failed = fate < 2 * holes
                    score = None if failed else level + rng.gauss(0, 0.1)
                    scores[candidate, task, number] = score
    record_scores(archive, scores)
    return scores


def tuned_study(archive: Archive, seed: int = 0) -> list[Trial]:
    """Record three humans and three designs, tried with three rates each; return their trials.

    Of the trials a third diverged, and one in twenty broke or was never run.
    """
    rng = random.Random(seed)
    humans = [make_human(name, make_axes()) for name in ("gla", "retnet", "softmax_attention")]
    designs = [make_design(f"d{number}", make_axes(decay="fixed")) for number in range(3)]
    archive.record_candidates(humans)
    archive.record_designs(designs)
    trials = []
    for candidate in [h.candidate_id for h in humans] + [d.design_id for d in designs]:
        for task in TASKS[:2]:
            for number in range(2):
                for rate in (5e-3, 2e-3, 1.2e-2):
                    status: Status = rng.choices(
                        ("ok", "diverged", "crashed", "timeout", "oom"), (62, 34, 2, 1, 1)
                    )[0]
                    score = rng.choice((0.25, 0.5, rng.random())) if status == "ok" else None
                    if rng.random() < 0.98:
                        trials.append(
                            make_trial(candidate, task, number, score, status, learning_rate=rate)
                        )
    record_trials(archive, trials)
    return trials


def make_finding(**changes: object) -> Finding:
    """Return what screening has found about a mechanism, with changes."""
    content: dict[str, object] = {
        "cycle": 1,
        "kind": "mechanism",
        "subject": "decay=vector",
        "baseline": "decay!=vector",
        "task": "mqar",
        "rung": 0,
        "effect": 0.1,
        "low": 0.05,
        "high": 0.15,
        "n": 4,
        "statement": "in words",
    }
    return Finding.model_validate({**content, **changes})


def whole_lab(archive: Archive) -> dict[str, str]:
    """Record two linked cycles, down to findings and lineage; return ids by what they are."""
    archive.record_papers([make_paper()])
    insight = make_insight()
    archive.record_insights([insight])
    gap = make_gap(evidence_for=(insight.insight_id,))
    archive.record_gap(gap)
    archive.record_candidates(
        [make_human("deltanet", make_axes(**DELTA)), make_human("softmax_attention")]
    )
    first = make_design(
        "aaaa000000000001",
        make_axes(decay="vector"),
        parents=("human_deltanet",),
        gap_id=gap.gap_id,
    )
    archive.record_designs([first])
    finding = make_finding(
        statement="candidates with a vector decay score 0.100 above those without on mqar"
    )
    archive.record_findings([finding])
    learned = make_insight(
        statement=finding.statement,
        mechanisms=("decay=vector",),
        evidence=f"finding:{finding.finding_id}",
        cycle=1,
    )
    archive.record_insights([learned])
    later = make_gap(
        2, evidence_for=(learned.insight_id,), findings=(finding.finding_id,), question="and now?"
    )
    archive.record_gap(later)
    second = make_design(
        "bbbb000000000002",
        make_axes(**DELTA, decay="vector"),
        2,
        parents=(first.design_id, "human_deltanet"),
        gap_id=later.gap_id,
        findings=(finding.finding_id,),
    )
    archive.record_designs([second])
    archive.record_audits([make_audit(first.design_id), make_audit("human_deltanet")], 1)
    archive.record_audits([make_audit(second.design_id)], 2)
    scores = {
        (candidate, task, seed): base + 0.01 * seed
        for candidate, base in (
            ("human_deltanet", 0.5),
            ("human_softmax_attention", 0.9),
            (first.design_id, 0.4),
            (second.design_id, 0.6),
        )
        for task in TASKS
        for seed in range(3)
    }
    trials = record_scores(archive, scores)
    cycles = [Cycle(number=number, seed=7, settings="s") for number in (1, 2)]
    for cycle, its_gap in zip(cycles, (gap, later), strict=True):
        archive.open_cycle(cycle, STARTED, "run")
        archive.close_cycle(cycle.cycle_id, "done", its_gap.gap_id, "two designs", STARTED)
    return {
        "paper": "arxiv:2406.06484",
        "insight": insight.insight_id,
        "gap": gap.gap_id,
        "later_gap": later.gap_id,
        "finding": finding.finding_id,
        "first": first.design_id,
        "second": second.design_id,
        "trial": trials[0],
        "cycle": cycles[0].cycle_id,
    }
