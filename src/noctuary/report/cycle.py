"""The account of one cycle, in words: what was asked, tried and found, and why to believe it."""

from collections.abc import Collection, Sequence
from typing import Any

from noctuary.domain import Candidate, Finding
from noctuary.words import counted

MOST_ROWS = 50
"""Ranks that the leaderboard of an account shows, beside all humans and the cycle's designs."""


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


def shown(board: Sequence[dict[str, Any]], own: Collection[str]) -> list[dict[str, Any]]:
    """Return the rows that are worth a look: the best, all humans, and the cycle's own designs."""
    return [
        row
        for row in board
        if (row["rank"] is not None and row["rank"] <= MOST_ROWS)
        or row["kind"] == "human"
        or row["candidate_id"] in own
    ]


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
    conclusion: str,
    outcome: str,
    board: Sequence[dict[str, Any]],
    learnt: Sequence[Sequence[str]],
    rules: Sequence[str],
    gap_text: str,
) -> str:
    """Return the account of a cycle as markdown.

    Args:
        conclusion: how its best design did; `outcome`: what became of its question.
        learnt: the sections in between, as lines.
        rules: under which it ran, in sentences.
        gap_text: the question with its evidence.
    """
    rows = leaderboard_rows(board)
    lines = [f"# Cycle {number}", "", f"**{conclusion}**", "", f"**The question.** {outcome}"]
    lines += ["", "## Leaderboard", ""]
    if rows:
        lines += ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
        lines += ["| " + " | ".join(str(_shown(v)) for v in row.values()) + " |" for row in rows]
    lines += [
        "",
        "The last rung. Score: mean over tasks and seeds of what was reached (loss and accuracy, "
        "between chance and perfect) and of how fast it was learnt. "
        "Differences are paired by task and seed; the intervals are Student t over seeds and "
        "not corrected for the number of designs.",
    ]
    for section in learnt:
        lines += ["", *section]
    lines += ["", "## Rules", "", *(f"- {rule}" for rule in rules)]
    return "\n".join([*lines, "", gap_text])


def _seeds(count: int, failed: int) -> str:
    return f"{count}, {failed} failed" if failed else str(count)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _shown(value: Any) -> Any:
    return "" if value is None else value
