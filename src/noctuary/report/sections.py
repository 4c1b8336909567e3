"""The parts of a cycle's account that say what was learnt: lists in plain words.

Covers effects, interactions, ablations, failures, and what the search refused. Lists and no
tables, which the Prefect UI cuts off. What is not there is said, not left out.
"""

from collections.abc import Mapping, Sequence

from noctuary.analysis.failures import STAGES, Failure, Prone
from noctuary.analysis.interactions import LEAST_IN_CELL
from noctuary.analysis.wording import ALL_TASKS, mechanism_words
from noctuary.domain import Finding
from noctuary.words import counted

MAX_EFFECTS = 8
"""Mechanism effects and interactions that an account lists; the archive has them all."""

MAX_NAMES = 6
"""Designs that a line names."""


def effects_section(findings: Sequence[Finding]) -> list[str]:
    """Return the largest effects of single mechanisms, and of pairs beyond their sum."""
    single = [f for f in findings if f.kind == "mechanism" and f.task == ALL_TASKS]
    sure = sorted(
        (f for f in single if f.low is not None), key=lambda f: (-abs(f.effect), f.subject)
    )
    outside = sum(f.low > 0 or f.high < 0 for f in sure if f.low is not None and f.high is not None)
    lines = [
        "## What the mechanisms did",
        "",
        "On the first rung, where every design was, at the best learning rate of each task, over "
        "the mean of the tasks. The other parts of the candidates are not held fixed.",
        "",
        *([f"- {f.statement}" for f in sure[:MAX_EFFECTS]] or ["- Too few yet."]),
    ]
    if sure:
        lines += [
            "",
            f"Of {counted(len(sure), 'interval')} {outside} exclude zero; about "
            f"{len(sure) * 0.05:.1f} would by chance alone. They are not corrected for their "
            "number.",
        ]
    pairs = sorted(
        (f for f in findings if f.kind == "interaction"),
        key=lambda f: ("asked about" not in f.statement, f.task != ALL_TASKS, -abs(f.effect)),
    )
    return [
        *lines,
        "",
        "## What goes together",
        "",
        "Two mechanisms whose effect together is not the sum of their effects alone, where at "
        f"least {counted(LEAST_IN_CELL, 'candidate')} have both, either one, and neither. The pair "
        "of the question is then listed whatever comes out; of all others only those that hold "
        "after a correction for the number looked at (Benjamini-Hochberg).",
        "",
        *([f"- {f.statement}" for f in pairs[:MAX_EFFECTS]] or ["- None."]),
    ]


def ablations_section(findings: Sequence[Finding]) -> list[str]:
    """Return what the parts of the last winner contribute."""
    found = [f for f in findings if f.kind == "ablation"]
    whole = [f for f in found if f.task == ALL_TASKS]
    lines = [
        "## What the parts of the last winner contribute",
        "",
        "This cycle made the best design of the last one again without one of its parts, and "
        "compares the two on the last rung that both got to. A design without a part gets to a "
        "later rung only where it does well without it, which flatters it there.",
        "",
    ]
    if not whole:
        return [*lines, "- Nothing was taken apart, or the two share no seed."]
    for f in whole:
        tasks = [
            f"{one.task} {one.effect:+.3f}"
            for one in found
            if (one.subject, one.baseline) == (f.subject, f.baseline) and one.task != ALL_TASKS
        ]
        lines.append(f"- {f.statement}. Rung {f.rung}; by task: {', '.join(tasks)}.")
    return lines


def failures_section(failed: Sequence[Failure], prone: Sequence[Prone], designs: int) -> list[str]:
    """Return what failed by cause, and which mechanisms go with failure.

    Args:
        designs: of the cycle.
    """
    lines = ["## What failed", ""]
    for one in failed:
        names = ", ".join(f"`{name}`" for name in one.designs[:MAX_NAMES])
        more = len(one.designs) - MAX_NAMES
        lines.append(
            f"- {STAGES[one.stage]}, {one.cause}: {len(one.designs)} of "
            f"{counted(designs, 'design')} ({names}{f' and {more} more' if more > 0 else ''})"
            + (f": {_one_line(one.detail)}" if one.detail else "")
        )
    if not failed:
        lines.append(f"- None of the {counted(designs, 'design')} of this cycle.")
    lines += [
        "",
        "Mechanisms whose designs fail more often than others, over all cycles so far:",
        "",
    ]
    lines += [
        f"- {mechanism_words(one.mechanism)}: {one.failed_with} of {one.n_with} with it, "
        f"{one.failed_without} of {one.n_without} without (Fisher's exact test, p = {one.p:.3g} "
        "after Holm's correction)"
        for one in prone
    ] or ["- No mechanism stands out, after a correction for their number (Holm)."]
    return lines


def search_section(refused: Mapping[str, int], notice: str) -> list[str]:
    """Return what the search refused to try, why, and whether it stands still."""
    lines = ["## What was not tried", ""]
    lines += [f"- {_one_line(reason)}: {counted(n, 'idea')}" for reason, n in refused.items()]
    if not refused:
        lines.append("- No idea was refused.")
    return [*lines, "", notice or "The search does not stand still."]


def _one_line(text: str) -> str:
    return " ".join(text.split())
