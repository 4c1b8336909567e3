"""`noctuary gaps`: the research questions that the cycles asked, and what became of them.

Also the questions that the next cycle would choose from, and the evidence table behind them.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from noctuary.cli.common import (
    console,
    json_option,
    lab_option,
    number,
    open_lab,
    print_json,
    printable,
    say_empty,
    table,
)
from noctuary.domain import Capability
from noctuary.words import counted

if TYPE_CHECKING:
    from noctuary.archive import Archive
    from noctuary.domain import Cycle
    from noctuary.gap import Known, RankedGap
    from noctuary.knowledge import Knowledge
    from noctuary.lab import Lab

TELLING = 0.005
"""Effects in score below which a mechanism without any trial is not worth a line."""


@click.command("gaps")
@lab_option
@json_option
@click.option(
    "--open",
    "count",
    type=click.IntRange(min=1),
    metavar="N",
    help="List the N questions that are worth most now; the next cycle takes the first.",
)
@click.option(
    "--evidence",
    "capability",
    type=click.Choice(get_args(Capability)),
    help="Show what is known of each mechanism for a capability: papers, our trials, both.",
)
def command(
    lab_path: Path | None, as_json: bool, count: int | None, capability: Capability | None
) -> None:
    """List the research questions, newest first, with their evidence and their answers."""
    lab, archive = open_lab(lab_path)
    if capability is not None:
        _show_evidence(_known(lab, archive)[0], capability, as_json)
    elif count is not None:
        _show_open(*_ranked(lab, archive, count), as_json)
    else:
        _show_asked(lab, archive, as_json)


def _show_asked(lab: "Lab", archive: "Archive", as_json: bool) -> None:
    rows = archive.query("gaps") if archive.exists() else []
    if as_json:
        print_json(rows)
        return
    if not rows:
        say_empty(lab, "gaps")
        return
    out = console()
    for row in rows:
        out.print(f"cycle {row['cycle']}  {row['gap_id']}  ({row['capability']})", style="bold")
        out.print(f"  {row['question']}")
        out.print(
            f"  for: {len(row['evidence_for'])} insights, against: "
            f"{len(row['evidence_against'])}, own findings: {len(row['findings'])}, "
            f"covered by {row['papers_covering']} papers and {row['trials_covering']} trials"
        )
        out.print(
            f"  expected {number(row['expected_effect'], sign=True)}; refuted if "
            f"{row['refuted_if']}"
        )
        tried = f"  tried with {row['designs']} designs"
        if row["best_difference"] is not None:
            best = number(row["best_difference"], sign=True)
            tried += f"; the best scores {best} against the best human baseline"
        out.print(tried)
        out.print(f"  {row['outcome'] or 'no answer yet'}")
        out.print()


def _show_open(ranked: "tuple[RankedGap, ...]", known: "Known", as_json: bool) -> None:
    if as_json:
        print_json([one.model_dump(mode="json") for one in ranked])
        return
    out, insights = console(), {insight.insight_id: insight for insight in known.insights}
    for place, one in enumerate(ranked, start=1):
        gap = one.gap
        names = " with ".join(gap.mechanisms)
        out.print(f"{place}. {names} for {gap.capability.replace('_', ' ')}", style="bold")
        out.print(
            f"  worth {number(one.value)}: expected to differ from the best design known by "
            f"{number(one.gain, sign=True)}, give or take {number(one.gain_sd)}"
        )
        out.print(
            f"  covered by {counted(gap.papers_covering, 'paper')} and "
            f"{counted(gap.trials_covering, 'trial')} of ours"
        )
        for side, ids in (("for", gap.evidence_for), ("against", gap.evidence_against)):
            line = f"  {side}: {counted(len(ids), 'insight')}"
            if ids:
                best = insights[ids[0]]
                line += f", first {printable(best.statement)} ({printable(best.evidence)})"
            out.print(line)
        out.print()


def _show_evidence(known: "Known", capability: Capability, as_json: bool) -> None:
    from noctuary.errors import UsageError
    from noctuary.gap import evidence_table

    if capability not in known.asked_about():
        raise UsageError(
            f"no task of the suite measures {capability}; expected one of "
            f"{', '.join(known.asked_about())}"
        )
    cells = [cell for cell in evidence_table(known) if cell.capability == capability]
    if as_json:
        print_json([cell.model_dump(mode="json") for cell in cells])
        return
    told = [c for c in cells if c.designs or c.insights or abs(c.expected) >= TELLING]
    shown = table(
        f"What is known for {capability.replace('_', ' ')}: differences in score to the mean "
        "choice on the same axis",
        [
            ("mechanism", False),
            ("papers say", True),
            ("our trials say", True),
            ("both", True),
            ("insights", True),
            ("papers", True),
            ("designs", True),
        ],
    )
    for cell in sorted(told, key=lambda c: -c.expected):
        shown.add_row(
            printable(cell.mechanisms[0]),
            number(cell.literature, sign=True),
            _give_or_take(cell.measured, cell.measured_sd),
            _give_or_take(cell.expected, cell.sd),
            str(cell.insights),
            str(cell.papers),
            str(cell.designs),
        )
    console().print(shown)


def _give_or_take(mean: float | None, sd: float | None) -> str:
    return "-" if mean is None else f"{number(mean, sign=True)} ± {number(sd)}"


def _ranked(lab: "Lab", archive: "Archive", count: int) -> "tuple[tuple[RankedGap, ...], Known]":
    from noctuary.designing import seeded
    from noctuary.gap import ranked_gaps
    from noctuary.policy import load_policy

    known, knowledge, cycle = _known(lab, archive)
    ranked = ranked_gaps(
        known,
        earlier=knowledge.earlier_gaps(),
        outcomes=archive.gap_outcomes(),
        cycle=cycle.number,
        rng=seeded(cycle, "gap"),
        forbidden=load_policy(lab.policy_path).code.forbidden,
        count=count,
    )
    return ranked, known


def _known(lab: "Lab", archive: "Archive") -> "tuple[Known, Knowledge, Cycle]":
    """Return what the next cycle would know, without asking any service for papers."""
    from noctuary.config import load_settings
    from noctuary.domain import Cycle
    from noctuary.knowledge import Knowledge
    from noctuary.lab import shipped
    from noctuary.literature.fetch import read_literature

    archive.migrate()
    settings = load_settings(lab.settings_path)
    before: dict[str, Any] = max(
        archive.cycles(), key=lambda row: row["number"], default={"number": 0, "seed": 0}
    )
    cycle = Cycle(number=before["number"] + 1, seed=before["seed"], settings=settings.settings_id)
    knowledge = Knowledge(archive, cycle, settings.training)
    literature = read_literature(
        shipped("data/snapshot") / "papers.json", lab.literature, settings.literature, True
    )
    return knowledge.known(literature.papers, literature.insights), knowledge, cycle
