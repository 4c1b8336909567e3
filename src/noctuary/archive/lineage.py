"""Where a candidate comes from and what came of it: its family, its scores, and its reasons.

Covers reading, on one open connection. Only what belongs to the candidate is looked up, so it is
as quick in an archive of a million trials. How it is shown is for the command line.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from noctuary.archive.reading import fetched, named_query
from noctuary.archive.rows import Row

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_STANDING = ("suite", "rung", "rank", "score", "difference", "low", "high", "baseline")


def read_lineage(connection: "DuckDBPyConnection", candidate_id: str, most: int) -> dict[str, Any]:
    """Return a candidate with its ancestors, its children and its reasons.

    Args:
        most: so many ancestors and so many children, the newest; `ancestor_count` and
            `child_count` say how many there are.
    """
    family = named_query(connection, "lineage", {"candidate": candidate_id, "most": most})
    placed = _standings(connection, [row["candidate_id"] for row in family])
    by_relation: dict[str, list[Row]] = {"self": [], "ancestor": [], "child": []}
    totals = {"ancestor": 0, "child": 0}
    for row in family:
        relation = row.pop("relation")
        totals[relation] = row.pop("of_all")
        by_relation[relation].append({**row, "standing": placed.get(row["candidate_id"])})
    [own] = by_relation["self"]
    return {
        **own,
        "ancestors": by_relation["ancestor"],
        "ancestor_count": totals["ancestor"],
        "children": by_relation["child"],
        "child_count": totals["child"],
        "ablations": fetched(
            connection,
            "SELECT * FROM findings WHERE kind = 'ablation' AND subject = $candidate "
            "ORDER BY cycle, baseline, task",
            {"candidate": candidate_id},
        ),
        **_reasons(connection, own),
    }


def _standings(connection: "DuckDBPyConnection", ids: list[str]) -> dict[str, Row]:
    """Return candidate -> where it stands on the last rung that it got to."""
    standings: dict[str, Row] = {}
    rows = fetched(
        connection,
        f"SELECT candidate_id, {', '.join(_STANDING)} FROM leaderboard "
        "WHERE candidate_id IN (SELECT unnest($ids::VARCHAR[]))",
        {"ids": ids},
    )
    for row in rows:  # the suite worked on last comes first, and of it the last rung
        standings.setdefault(row.pop("candidate_id"), row)
    return standings


def _reasons(connection: "DuckDBPyConnection", design: Row) -> dict[str, Any]:
    """Return the gap that a design takes up with its outcome, and what led to both."""
    gaps = fetched(
        connection, "SELECT * FROM gaps WHERE gap_id = $gap_id", {"gap_id": design["gap_id"]}
    )
    if not gaps:
        findings = _by_id(connection, "findings", "finding_id", design["findings"] or ())
        return {"gap": None, "findings": list(findings.values())}
    [gap] = gaps
    outcomes = _by_id(connection, "gap_outcomes", "gap_id", [gap["gap_id"]])
    sides = {side: gap.pop(side) for side in ("evidence_for", "evidence_against")}
    insights = _by_id(
        connection, "insights", "insight_id", [*sides["evidence_for"], *sides["evidence_against"]]
    )
    papers = _by_id(connection, "papers", "paper_id", {i["evidence"] for i in insights.values()})
    findings = _by_id(
        connection, "findings", "finding_id", {*gap.pop("findings"), *design["findings"]}
    )
    return {
        "gap": {
            **gap,
            "outcome": outcomes.get(gap["gap_id"]),
            **{
                side: [_insight(insights[i], papers) for i in ids if i in insights]
                for side, ids in sides.items()
            },
        },
        "findings": list(findings.values()),
    }


def _insight(insight: Row, papers: dict[str, Row]) -> Row:
    """Return an insight with its paper, where it is of one that we have."""
    paper = papers.get(insight["evidence"])
    about = None
    if paper is not None:
        about = {name: paper[name] for name in ("paper_id", "title", "year", "arxiv_id")}
    return {**insight, "paper": about}


def _by_id(
    connection: "DuckDBPyConnection", table: str, key: str, ids: Collection[str]
) -> dict[str, Row]:
    rows = fetched(
        connection,
        f'SELECT * FROM "{table}" WHERE {key} IN (SELECT unnest($ids::VARCHAR[])) ORDER BY {key}',
        {"ids": sorted(ids)},
    )
    return {row[key]: row for row in rows}
