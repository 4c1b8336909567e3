"""The files of a Hugging Face model folder, put in place all at once.

Covers what is in each file; the weights are those of the trial to the byte, under the names that
the modelling code gives them. Neither chooses (`choice`) nor executes anything.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from noctuary.bench.suite import Suite
from noctuary.canonical import source_id
from noctuary.domain import Candidate, Trial
from noctuary.errors import CheckFailed, UsageError
from noctuary.export.choice import is_text, sizes_of
from noctuary.export.source import without_trainer
from noctuary.export.tokenizer import SPECIAL_BYTE, tokenizer_files
from noctuary.lab import explaining_disk_errors, sync_folder, write_atomically

MODEL_CLASS = "NoctuaryForCausalLM"
CARD = "README.md"
PROOF = "proof"
"""Where proofs of claims go in the folder."""

Content = str | bytes


@dataclass(frozen=True)
class Exported:
    """A mixer and the trial whose weights are exported.

    Attributes:
        suite: the trial's.
        weights: the trial's file.
        asked_for: whether somebody named the trial, and may have chosen it for its score.
    """

    candidate: Candidate
    source: str
    trial: Trial
    suite: Suite
    weights: Path
    asked_for: bool = False

    @property
    def is_text(self) -> bool:
        return is_text(self.suite.task(self.trial.spec.task))


def read_source(path: Path, candidate: Candidate) -> str:
    """Return a candidate's file.

    Raises:
        CheckFailed: it is missing, or not the one that was trained.
    """
    try:
        source = path.read_text(encoding="utf-8")
        if source_id(source) == candidate.candidate_id:
            return source
        seen = f"is another mixer now, {source_id(source)}"
    except (OSError, ValueError, SyntaxError) as error:
        seen = f"cannot be read ({error})"
    raise CheckFailed(
        f"{path} {seen}; expected the source of {candidate.candidate_id}: restore the file"
    )


def folder_files(what: Exported, card: str, proofs: Mapping[str, Content]) -> dict[str, Content]:
    """Return path in the folder -> content.

    Args:
        card: the model card.
        proofs: file name -> content of what goes into `proof/`.
    """
    mixer = without_trainer(what.source)
    files: dict[str, Content] = {
        CARD: card,
        "config.json": _json(_configuration(what)),
        "generation_config.json": _json(_generation(what)),
        "model.safetensors": what.weights.read_bytes(),
        "mixer.py": mixer,
        "mixer_arguments.py": _own("training", "arguments.py"),
    }
    if mixer != what.source:
        files["candidate.py"] = what.source
    for name in ("configuration_noctuary.py", "modeling_noctuary.py"):
        files[name] = _own("export", "code", name)
    if what.is_text:
        files |= tokenizer_files()
    return files | {f"{PROOF}/{name}": content for name, content in proofs.items()}


def _own(*path: str) -> str:
    return resources.files("noctuary").joinpath(*path).read_text(encoding="utf-8")


def _configuration(what: Exported) -> dict[str, Any]:
    sizes, shape, spec = sizes_of(what.weights), what.suite.shape, what.trial.spec
    if (sizes.d_model, sizes.n_layers) != (shape.d_model, shape.n_layers):
        raise CheckFailed(
            f"{what.weights} has {sizes.n_layers} layers of width {sizes.d_model}; expected "
            f"{shape.n_layers} of {shape.d_model}, as {spec.suite} has them: remove the trial's "
            "folder and train it again"
        )
    return {
        "model_type": "noctuary",
        "architectures": [MODEL_CLASS],
        "auto_map": {
            "AutoConfig": "configuration_noctuary.NoctuaryConfig",
            "AutoModelForCausalLM": f"modeling_noctuary.{MODEL_CLASS}",
        },
        "dtype": "float32",
        **sizes._asdict(),
        "n_heads": shape.n_heads,
        "trained_length": what.suite.task(spec.task).length,
        "provenance": {
            "candidate_id": what.candidate.candidate_id,
            "name": what.candidate.name,
            "trial_id": spec.trial_id,
            **spec.model_dump(exclude={"candidate_id"}),
        },
    }


def _generation(what: Exported) -> dict[str, Any]:
    if not what.is_text:
        return {}
    return {"pad_token_id": SPECIAL_BYTE, "eos_token_id": SPECIAL_BYTE}


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def require_free(folder: Path) -> None:
    """Raise UsageError where the folder is there and holds something."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        kind = "is not empty" if folder.is_dir() else "is no folder"
        raise UsageError(f"{folder} {kind}; expected a new or an empty folder: name another")


def write_folder(folder: Path, files: Mapping[str, Content]) -> None:
    """Make the folder appear with all its files in one rename.

    A kill leaves at most a hidden `.NAME.partial` beside it, which the next export clears away.

    Raises:
        UsageError: the folder holds something.
        NoSpace, EnvironmentRefused: the disk is full, or may not be written.
    """
    folder = folder.absolute()
    require_free(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    with explaining_disk_errors(folder):
        shutil.rmtree(partial, ignore_errors=True)
        try:
            for name, content in files.items():
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                write_atomically(partial / name, content)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        sync_folder(folder.parent)
