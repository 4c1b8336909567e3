"""The model card: what the mixer is, what was measured of it, and what that does not say.

Covers words alone. It promises no more than was measured: a design without a verified claim says
so in its first lines, and scores stand with their seeds.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import jinja2

from noctuary.domain import Claim, Trial
from noctuary.export.folder import PROOF, Exported
from noctuary.export.source import idea, papers, requirements, without_trainer
from noctuary.plan import at_best_rate
from noctuary.report.claims import claim_line, comparison_rows, rule
from noctuary.report.cycle import interval
from noctuary.words import counted


@dataclass(frozen=True)
class Known:
    """What the lab knows of a mixer, beside what is exported.

    Attributes:
        trials: all of the candidate's.
        standings: rows of the leaderboard, of the candidate.
        titles: paper id -> title.
        claims: all about the candidate, whichever way they went.
    """

    trials: Sequence[Trial]
    standings: Sequence[Mapping[str, Any]]
    titles: Mapping[str, str]
    claims: Sequence[Claim]


def model_card(what: Exported, known: Known, proofs: Sequence[str]) -> str:
    """Return the card as markdown.

    Args:
        proofs: names of the files in `proof/`; of a claim's bundle it is `<claim id>.json`.
    """
    spec, trial = what.trial.spec, what.trial
    return _template().render(
        name=what.candidate.name,
        candidate_id=what.candidate.candidate_id,
        is_text=what.is_text,
        banner=banner(what, known.claims),
        idea=idea(what.source),
        papers=[(one, known.titles.get(f"arxiv:{one}", "")) for one in papers(what.source)],
        claims=[_claim(claim, proofs) for claim in known.claims],
        spec=spec,
        trial=trial,
        task=what.suite.task(spec.task),
        shape=what.suite.shape,
        is_last=spec.rung == what.suite.top,
        asked_for=what.asked_for,
        processor=_processor(trial),
        scores=_scores(known.trials, trial),
        standing=_standing(known.standings, trial),
        requirements=sorted(
            {"torch", "einops", "transformers>=5.24", *requirements(without_trainer(what.source))}
        ),
        cut=without_trainer(what.source) != what.source,
        proof=PROOF,
    )


def banner(what: Exported, claims: Sequence[Claim]) -> str:
    """Return in one sentence what is established about the mixer."""
    verified = [claim for claim in claims if claim.status == "verified"]
    if verified:
        among = "" if len(verified) == len(claims) else f" of {len(claims)} registered"
        return (
            f"Verified: {counted(len(verified), 'claim')}{among} about this mixer, below with what "
            "exactly was claimed. The claim is about the mixer, trained many times; these weights "
            "are those of one training run."
        )
    if claims:
        states = ", ".join(sorted({claim.status for claim in claims}))
        return (
            f"No verified claim: {counted(len(claims), 'claim')} about this mixer, {states}. Below "
            "is what was claimed, and how far it came."
        )
    unregistered = "No verified claim: no comparison of this mixer was registered beforehand."
    if what.candidate.kind == "design":
        return f"{unregistered} The scores below are those that a search saw and chose by."
    return f"{unregistered} The scores below are this lab's, not those of a mixer's authors."


def _claim(claim: Claim, proofs: Sequence[str]) -> dict[str, Any]:
    bundle = f"{claim.claim_id}.json"
    return {
        "line": claim_line(claim),
        "rule": rule(claim.plan),
        "alpha": claim.plan.alpha,
        "rows": comparison_rows(claim.plan, claim.verdict) if claim.verdict else [],
        "bundle": bundle if bundle in proofs else "",
    }


def _processor(trial: Trial) -> str:
    known = trial.environment
    parts = [str(known.get("device", "unknown processor"))]
    if "threads" in known:
        parts.append(counted(int(known["threads"]), "thread"))
    parts += [f"{name} {known[name]}" for name in ("torch", "lightning") if name in known]
    return ", ".join([*parts, str(known.get("precision", ""))]).rstrip(", ")


def _scores(trials: Sequence[Trial], exported: Trial) -> list[dict[str, Any]]:
    """Return a row a task, of the board that the exported trial stands on."""
    board = [trial for trial in trials if _board(trial) == _board(exported)]
    by_task: dict[str, list[Trial]] = {}
    for (task, _), trial in sorted(at_best_rate(board).items()):
        by_task.setdefault(task, []).append(trial)
    return [
        {
            "task": task,
            "mean": fmean(scores),
            "low": min(scores),
            "high": max(scores),
            "seeds": ", ".join(str(trial.spec.seed) for trial in found),
            "failed": sum(t.spec.task == task and t.score is None for t in board),
        }
        for task, found in by_task.items()
        if (scores := [trial.score for trial in found if trial.score is not None])
    ]


def _board(trial: Trial) -> tuple[str, str, int]:
    return trial.spec.suite, trial.spec.trainer, trial.spec.rung


def _standing(rows: Sequence[Mapping[str, Any]], exported: Trial) -> dict[str, Any] | None:
    """Return how the mixer stands on that board, beside the best human baseline."""
    for row in rows:
        here = (row["suite"], row["trainer"], row["rung"]) == _board(exported)
        if here and row["score"] is not None and row["difference"] is not None:
            return {**row, "interval": interval(row["low"], row["high"])}
    return None


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("noctuary.export"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # the output is markdown
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("card.md.jinja")
