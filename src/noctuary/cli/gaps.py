"""`noctuary gaps`: the research questions that the cycles asked, and what was tried on them."""

from pathlib import Path

import click

from noctuary.cli.common import (
    console,
    json_option,
    lab_option,
    number,
    open_lab,
    print_json,
    say_empty,
)


@click.command("gaps")
@lab_option
@json_option
def command(lab_path: Path | None, as_json: bool) -> None:
    """List the research questions, newest first, with their evidence."""
    lab, archive = open_lab(lab_path)
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
        out.print()
