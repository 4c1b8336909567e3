"""Candidates as files: the human baselines that ship, and the designs of a lab.

Reads mixer files as text. Never executes one: that is for sandboxed processes.
"""

import ast
import functools
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from noctuary.canonical import ID_LENGTH, MAX_BYTES, parsed, source_id
from noctuary.domain import Axes, Candidate, Design
from noctuary.errors import UsageError
from noctuary.lab import Lab, shipped, write_atomically
from noctuary.space.genome import Genome

REFERENCE = "softmax_attention"
"""Quadratic in T: shown beside the others, never the baseline that a design must beat."""

BASELINES = (
    "mamba2_no_gate",
    "delta_net_neg",
    "gated_delta_net_no_gate",
    "delta_product",
    REFERENCE,
)
"""The human mixers that every cycle's designs are trained beside: the two best of
`docs/baselines.md`, and the best additive and the best gated one of the design space."""


def human_candidates(lab: Lab, names: Iterable[str] = BASELINES) -> tuple[Candidate, ...]:
    """Return the named human mixers, with a copy of each file kept in the lab."""
    files = {path.stem: path for path in _human_files()}
    wanted = list(names)
    unknown = [name for name in wanted if name not in files]
    if unknown:
        raise UsageError(
            f"{unknown[0]!r} is no human baseline; expected one of {', '.join(sorted(files))}"
        )
    return tuple(_human(lab, files[name]) for name in wanted)


def human_names() -> tuple[str, ...]:
    """Return the names of all human mixers that ship, the published ones first."""
    return tuple(path.stem for path in _human_files())


@functools.cache
def human_genomes() -> dict[str, Axes]:
    """Return name -> axes of the human mixers that are points of the design space."""
    found = {path.stem: genome_of(path.read_text(encoding="utf-8")) for path in _human_files()}
    return {name: axes for name, axes in found.items() if axes is not None}


def design_candidate(lab: Lab, design: Design) -> Candidate:
    """Write a design's file where it is not there yet, and return the candidate."""
    return Candidate(
        candidate_id=design.design_id,
        name=design.name,
        kind="design",
        axes=design.axes,
        path=str(_keep(lab, design.design_id, design.source)),
    )


def file_candidate(lab: Lab, path: Path, class_name: str = "Mixer") -> Candidate:
    """Return any mixer file as a candidate: a baseline of the nights where it is one, else foreign.

    The other human mixers are foreign as well: cycles must not see what was evaluated between
    them, or a rerun would see something else. A class of another name gets a `Mixer` below it.

    Raises:
        UsageError: the file cannot be read, is not Python, or has no class of that name.
    """
    source = _text(path)
    if class_name != "Mixer":
        _require_class(path, source, class_name)
        source += f'\n\nclass Mixer({class_name}):\n    """{class_name}, as it is evaluated."""\n'
    name = path.stem if class_name == "Mixer" else class_name
    return _given(lab, source_id(source), name, source)


def audited_candidate(lab: Lab, path: Path) -> Candidate:
    """Return any file as a candidate to audit: as it is, even where it is not Python.

    Raises:
        UsageError: the file cannot be read.
    """
    data = read_source(path)
    try:
        candidate_id = source_id(data.decode("utf-8"))
    except (ValueError, SyntaxError):
        candidate_id = hashlib.sha256(data).hexdigest()[:ID_LENGTH]
    return _given(lab, candidate_id, path.stem, data)


def read_source(path: Path) -> bytes:
    """Return the bytes of a mixer file; of a file that is too long, one more than is parsed.

    Raises:
        UsageError: it is not there, not to be read, or no regular file.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as handle:
            if stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
                return handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror}); expected a Python file with a mixer"
        ) from error
    raise UsageError(f"{path} is no regular file; expected a Python file with a mixer")


def genome_of(source: str) -> Axes | None:
    """Return all axes of the point in the design space that the literal `GENOME` of a file names.

    None where it has none, or where what it says is no genome.
    """
    for node in parsed(source).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "GENOME" for target in node.targets
        ):
            try:
                return Genome.model_validate(ast.literal_eval(node.value)).axes
            except ValueError:  # of pydantic's, and of what is no literal
                return None
    return None


def _given(lab: Lab, candidate_id: str, name: str, source: str | bytes) -> Candidate:
    """Return what somebody gave us: a baseline where it is one, else foreign."""
    for human in human_candidates(lab):
        if human.candidate_id == candidate_id:
            return human
    return Candidate(
        candidate_id=candidate_id,
        name=name,
        kind="foreign",
        axes=None,
        path=str(_keep(lab, candidate_id, source)),
    )


def _human(lab: Lab, path: Path) -> Candidate:
    source = path.read_text(encoding="utf-8")
    candidate_id = source_id(source)
    return Candidate(
        candidate_id=candidate_id,
        name=path.stem,
        kind="human",
        axes=genome_of(source),
        path=str(_keep(lab, candidate_id, source)),
    )


def _human_files() -> list[Path]:
    folder = shipped("architectures") / "human"
    return [*sorted(folder.glob("*.py")), *sorted((folder / "tuned").glob("*.py"))]


def _text(path: Path) -> str:
    try:
        source = read_source(path).decode("utf-8")
        source = source.replace("\r\n", "\n").replace("\r", "\n")
        parsed(source)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise UsageError(
            f"{path} is no Python file ({' '.join(str(error).split())}); expected one that "
            "defines class Mixer"
        ) from error
    return source


def _require_class(path: Path, source: str, name: str) -> None:
    known = [node.name for node in parsed(source).body if isinstance(node, ast.ClassDef)]
    if name not in known:
        raise UsageError(
            f"{path} defines no class {name} at the top level; expected one of "
            f"{', '.join(known) or 'none'}"
        )


def _keep(lab: Lab, candidate_id: str, source: str | bytes) -> Path:
    path = lab.candidates / f"{candidate_id}.py"
    if not path.exists():
        write_atomically(path, source)
    return path
