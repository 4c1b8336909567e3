"""What did not get a score, why, and which mechanisms go with it.

Covers the designs of one cycle by cause, and over all cycles up to it the mechanisms whose designs
fail more often than others (Fisher's exact test, Holm's correction). What goes with failure need
not cause it: the other axes are not held fixed.
"""

from typing import Any, NamedTuple

from noctuary.archive import Archive
from noctuary.stats import holm

MISTAKEN = 0.05
"""Chance of calling any mechanism prone to failure when none is."""

STAGES = {"refused": "refused by the audit", "trained": "training"}


class Failure(NamedTuple):
    """A cause, and the designs of a cycle that it stopped.

    Attributes:
        cause: a check of the audit, or how the trials ended.
        detail: what was said about the first of the designs.
    """

    stage: str
    cause: str
    designs: tuple[str, ...]
    detail: str


class Prone(NamedTuple):
    """A mechanism whose designs fail more often than those with another value on its axis.

    Attributes:
        p: Fisher's, corrected for the number of mechanisms.
    """

    mechanism: str
    n_with: int
    failed_with: int
    n_without: int
    failed_without: int
    p: float


def failures(archive: Archive, cycle: int, suite: str, trainer: str) -> tuple[Failure, ...]:
    """Return why designs of a cycle have no score, in a fixed order."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in archive.query("failures", cycle=cycle, suite=suite, trainer=trainer):
        grouped.setdefault((row["stage"], row["cause"]), []).append(row)
    return tuple(
        Failure(stage, cause, tuple(row["name"] for row in rows), rows[0]["detail"] or "")
        for (stage, cause), rows in grouped.items()
    )


def prone_to_fail(archive: Archive, cycle: int, suite: str, trainer: str) -> tuple[Prone, ...]:
    """Return the mechanisms that go with failure in the cycles up to this one, surest first."""
    from scipy.stats import fisher_exact

    rows = archive.query("failing_mechanisms", suite=suite, trainer=trainer, max_cycle=cycle)
    if not rows:
        return ()
    p_values = [
        float(
            fisher_exact(
                [
                    [row["failed_with"], row["n_with"] - row["failed_with"]],
                    [row["failed_without"], row["n_without"] - row["failed_without"]],
                ],
                alternative="greater",
            ).pvalue
        )
        for row in rows
    ]
    found = [
        Prone(**row, p=p) for row, p in zip(rows, holm(p_values), strict=True) if p <= MISTAKEN
    ]
    return tuple(sorted(found, key=lambda one: (one.p, one.mechanism)))
