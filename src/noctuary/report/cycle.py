"""The account of one cycle, in words: what was asked, tried and found, and why to believe it."""

from collections.abc import Collection, Sequence
from typing import Any

from noctuary.domain import Candidate, Finding
from noctuary.words import counted

MAX_EFFECTS = 8
"""Mechanism effects that an account lists; the archive has them all."""


def headline(
    findings: Sequence[Finding],
    designs: Sequence[Candidate],
    reached: Collection[str],
    baseline: str,
) -> str:
    """Return the cycle's finding in one sentence: how its best design did against the baseline.

    Args:
        reached: candidate ids of those that were trained on the last rung.
        baseline: candidate id of the best human baseline; empty where none is complete.
    """
    ids = {design.candidate_id for design in designs}
    against = [
        finding
        for finding in findings
        if finding.kind == "comparison"
        and finding.task == "all"
        and finding.baseline == baseline
        and finding.subject in ids
    ]
    if not against:
        if not ids & set(reached):
            return (
                f"None of the {counted(len(ids), 'design')} of this cycle got to the last rung, "
                "so none is compared with the baselines."
            )
        return "No design and baseline of this cycle share a seed that both finished."
    return max(against, key=lambda finding: finding.effect).statement


def leaderboard_rows(board: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the leaderboard as rows of plain values, for a table in the Prefect UI."""
    return [
        {
            "rank": row["rank"],
            "mixer": row["name"],
            "kind": "reference" if row["reference"] else row["kind"],
            "score": _number(row["score"], "{:.4f}"),
            "to best human": _number(row["difference"], "{:+.4f}"),
            "95 % interval": interval(row["low"], row["high"]),
            "seeds": _seeds(row["n_seeds"], row["failed"]),
        }
        for row in board
    ]


def interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:+.3f} to {high:+.3f}"


def cycle_markdown(
    number: int,
    gap_text: str,
    board: Sequence[dict[str, Any]],
    findings: Sequence[Finding],
    conclusion: str,
    rules: Sequence[str] = (),
) -> str:
    """Return the account of a cycle as markdown.

    Args:
        rules: under which it ran, in sentences.
    """
    rows = leaderboard_rows(board)
    lines = [f"# Cycle {number}", "", f"**{conclusion}**", "", "## Leaderboard", ""]
    if rows:
        lines += ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
        lines += ["| " + " | ".join(str(_shown(v)) for v in row.values()) + " |" for row in rows]
    lines += [
        "",
        "The last rung. Score: mean over tasks and seeds of what was reached (loss and accuracy, "
        "between chance and perfect) and of how fast it was learnt. "
        "Differences are paired by task and seed; the intervals are Student t over seeds and "
        "not corrected for the number of designs.",
        "",
        "## What the mechanisms did",
        "",
        "On the first rung, where every design was, at the best learning rate of each task.",
        "",
    ]
    effects = [f for f in findings if f.kind == "mechanism" and f.task == "all" and f.low]
    effects.sort(key=lambda finding: (-abs(finding.effect), finding.subject))
    lines += [f"- {finding.statement}" for finding in effects[:MAX_EFFECTS]] or ["- Too few yet."]
    if rules:
        lines += ["", "## Rules", "", *(f"- {rule}" for rule in rules)]
    return "\n".join([*lines, "", gap_text])


def _seeds(count: int, failed: int) -> str:
    return f"{count}, {failed} failed" if failed else str(count)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _shown(value: Any) -> Any:
    return "" if value is None else value
