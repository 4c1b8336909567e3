"""Candidates as files: the human baselines that ship, and the designs of a lab.

Reads mixer files as text. Never executes one: that is for sandboxed processes.
"""

import ast
from collections.abc import Iterable
from pathlib import Path

from noctuary.canonical import source_id
from noctuary.domain import Axes, Candidate, Design
from noctuary.errors import UsageError
from noctuary.lab import Lab, shipped, write_atomically

REFERENCE = "softmax_attention"
"""Quadratic in T: shown beside the others, never the baseline that a design must beat."""

BASELINES = ("linear_attention", "delta_net", "gated_delta_net", REFERENCE)
"""The human mixers that every cycle's designs are trained beside."""


def human_candidates(lab: Lab, names: Iterable[str] = BASELINES) -> tuple[Candidate, ...]:
    """Return the named human mixers, with a copy of each file kept in the lab."""
    folder = shipped("architectures") / "human"
    return tuple(_human(lab, folder / f"{name}.py") for name in names)


def design_candidate(lab: Lab, design: Design) -> Candidate:
    """Write a design's file where it is not there yet, and return the candidate."""
    return Candidate(
        candidate_id=design.design_id,
        name=design.name,
        kind="design",
        axes=design.axes,
        path=str(_keep(lab, design.design_id, design.source)),
    )


def genome_of(source: str) -> Axes | None:
    """Return the literal `GENOME` of a mixer file, or None where it has none."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "GENOME" for target in node.targets
        ):
            value = ast.literal_eval(node.value)
            return {str(axis): str(choice) for axis, choice in value.items()} if value else None
    return None


def _human(lab: Lab, path: Path) -> Candidate:
    if not path.exists():
        known = ", ".join(sorted(other.stem for other in path.parent.glob("*.py")))
        raise UsageError(f"{path.stem!r} is no human baseline; expected one of {known}")
    source = path.read_text(encoding="utf-8")
    candidate_id = source_id(source)
    return Candidate(
        candidate_id=candidate_id,
        name=path.stem,
        kind="human",
        axes=genome_of(source),
        path=str(_keep(lab, candidate_id, source)),
    )


def _keep(lab: Lab, candidate_id: str, source: str) -> Path:
    path = lab.candidates / f"{candidate_id}.py"
    if not path.exists():
        write_atomically(path, source)
    return path
