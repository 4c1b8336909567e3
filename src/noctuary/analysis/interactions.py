"""Pairs of mechanisms that do more, or less, together than the sum of what each does alone.

Covers the difference of differences over the candidates of one board: (both - one alone) minus
(the other alone - neither). Thousands of pairs are looked at, so those that nobody asked about
are findings only after a correction for their number; what the cycle asked about beforehand is
one either way. Confounding by the other axes is not taken out.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from noctuary.analysis.wording import (
    interval_words,
    mechanism_words,
    on_task,
    rounded,
)
from noctuary.archive import Archive
from noctuary.domain import Finding
from noctuary.space.mechanisms import AXES, mechanism
from noctuary.stats import Contrast, Moments, benjamini_hochberg, contrast
from noctuary.words import counted

LEAST_IN_CELL = 3
"""Candidates that each of the four groups must have; with fewer, a variance says nothing."""

FALSE_SHARE = 0.1
"""Expected share of false ones among the interactions that are reported."""

MOST = 20
"""Interactions nobody asked about that a cycle reports, the surest; the archive can give all."""

TELLING = tuple(
    mechanism(axis, value) for axis, values in AXES.items() for value in list(values)[1:]
)
"""Mechanisms that are not the plainest of their axis. Pairs with a plain one say the same."""

_SIGNS = {"both": 1, "one": -1, "other": -1, "neither": 1}


class _Pair(NamedTuple):
    row: Mapping[str, Any]
    seen: Contrast


def interactions(
    archive: Archive, board: Mapping[str, Any], cycle: int, question: Sequence[str]
) -> list[Finding]:
    """Return the interactions that a cycle reports.

    Args:
        board: the parameters of `queries/interactions.sql` that say which trials.
        question: mechanisms that the cycle asked about; two of them are a pair.
    """
    rows = archive.query("interactions", mechanisms=TELLING, least=LEAST_IN_CELL, **board)
    pairs = [_Pair(row, _contrast(row["cells"])) for row in rows]
    asked = [p for p in pairs if {p.row["one"], p.row["other"]} == set(question)]
    others = [p for p in pairs if {p.row["one"], p.row["other"]} != set(question)]
    corrected = benjamini_hochberg([p.seen.p for p in others]) if others else ()
    found = [(q, p) for q, p in zip(corrected, others, strict=True) if q <= FALSE_SHARE]
    found.sort(key=lambda item: (item[0], item[1].row["one"], item[1].row["other"]))
    findings = [_finding(p, cycle, board["rung"], "asked about beforehand") for p in asked]
    findings += [
        _finding(
            p,
            cycle,
            board["rung"],
            f"q = {q:.3f} among {counted(len(others), 'pair')} and tasks looked at",
        )
        for q, p in found[:MOST]
    ]
    return findings


def _contrast(cells: Mapping[str, Mapping[str, Any]]) -> Contrast:
    groups = [
        Moments(cells[name]["n"], cells[name]["mean"], cells[name]["variance"]) for name in _SIGNS
    ]
    return contrast(groups, list(_SIGNS.values()))


def _finding(pair: _Pair, cycle: int, rung: int, standing: str) -> Finding:
    row, seen = pair
    effect, low, high = rounded(seen.effect, seen.low, seen.high)
    cells = row["cells"]
    sizes = ", ".join(f"{cells[name]['n']} {words}" for name, words in _CELLS.items())
    return Finding(
        cycle=cycle,
        kind="interaction",
        subject=f"{row['one']}+{row['other']}",
        baseline="sum of both alone",
        task=row["task"],
        rung=rung,
        effect=effect,
        low=low,
        high=high,
        n=sum(cells[name]["n"] for name in _CELLS),
        statement=(
            f"{mechanism_words(row['one'])} and {mechanism_words(row['other'])} together score "
            f"{abs(effect):.3f} {'less' if effect < 0 else 'more'} than their effects alone add up "
            f"to {on_task(row['task'])} ({interval_words(low, high)}, {sizes}; {standing}): "
            f"{_verdict(seen)}"
        ),
    )


_CELLS = {
    "both": "with both",
    "one": "with the first alone",
    "other": "with the second alone",
    "neither": "with neither",
}


def _verdict(seen: Contrast) -> str:
    if seen.low <= 0 <= seen.high:
        return "no clear interaction"
    return "they help each other" if seen.low > 0 else "they get in each other's way"
