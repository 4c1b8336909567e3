"""`noctuary export`: a mixer with its trained weights, as a Hugging Face model folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from noctuary.cli.common import find_record, json_option, lab_option, open_lab, print_json
from noctuary.errors import NotFound, UsageError
from noctuary.words import counted

if TYPE_CHECKING:
    from noctuary.archive import Archive
    from noctuary.bench.suite import Suite
    from noctuary.domain import Candidate, Trial
    from noctuary.lab import Lab


@click.command("export")
@click.argument("design")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--trial", "trial_id", metavar="TRIAL", help="The trial whose weights to take.")
@lab_option
@json_option
def command(
    design: str, folder: Path, trial_id: str | None, lab_path: Path | None, as_json: bool
) -> None:
    """Write DESIGN and its trained weights to DIR, a model folder for transformers.

    DESIGN is an id, the beginning of one, or a mixer's name, human or discovered. Without --trial
    the weights are those of its language model on bytes from the highest rung, of the first seed.
    DIR is new or empty. `AutoModelForCausalLM.from_pretrained(DIR, trust_remote_code=True)` loads
    it, and needs no noctuary.
    """
    from noctuary.cli.show import source_path
    from noctuary.export.card import Known, model_card
    from noctuary.export.choice import weights_of
    from noctuary.export.folder import (
        Exported,
        folder_files,
        read_source,
        require_free,
        write_folder,
    )
    from noctuary.export.proof import proofs_of

    require_free(folder)
    lab, archive = open_lab(lab_path)
    candidate = _find_candidate(archive, design)
    source = source_path(lab, candidate.candidate_id, candidate.path)
    trials = archive.trials(candidate_id=candidate.candidate_id)
    trial, suite = _choose(lab, source, trials, trial_id)
    what = Exported(
        candidate=candidate,
        source=read_source(source, candidate),
        trial=trial,
        suite=suite,
        weights=weights_of(lab, trial),
        asked_for=trial_id is not None,
    )
    known = Known(
        trials=trials,
        standings=archive.leaderboard(candidate=candidate.candidate_id),
        titles={paper.paper_id: paper.title for paper in archive.papers()},
        claims=[
            claim
            for claim in archive.claims()
            if claim.plan.candidate.candidate_id == candidate.candidate_id
        ],
    )
    proofs = proofs_of(lab, archive, known.claims)
    files = folder_files(what, model_card(what, known, tuple(proofs)), proofs)
    write_folder(folder, files)
    if as_json:
        print_json(
            {
                "folder": folder.absolute(),
                "candidate_id": candidate.candidate_id,
                "trial_id": trial.spec.trial_id,
                "claims": {claim.claim_id: claim.status for claim in known.claims},
                "files": sorted(files),
            }
        )
        return
    spec = trial.spec
    click.echo(
        f"{folder}: {candidate.name} with the weights of trial {spec.trial_id} "
        f"({spec.task}, rung {spec.rung}, seed {spec.seed})"
    )


def _find_candidate(archive: "Archive", text: str) -> "Candidate":
    try:
        kind, identity = find_record(archive, text)
    except NotFound as error:
        shipped_file = _architecture(text)
        if shipped_file is None:
            raise
        raise NotFound(
            f"{text} was never trained in {archive.path.parent}; expected a trial with weights: "
            f"{_evaluating(shipped_file)}"
        ) from error
    if kind != "candidate":
        raise UsageError(
            f"{text!r} is a {kind}; expected a design: `noctuary leaderboard` lists them"
        )
    (found,) = (one for one in archive.candidates() if one.candidate_id == identity)
    return found


def _architecture(name: str) -> Path | None:
    """Return the file of a mixer that ships, human or discovered."""
    from noctuary.lab import shipped

    files = shipped("architectures").rglob("*.py")
    return next((path for path in sorted(files) if path.stem == name), None)


def _evaluating(source: Path) -> str:
    return f"`noctuary evaluate {source}` trains it"


def _choose(
    lab: "Lab", source: Path, trials: Sequence["Trial"], trial_id: str | None
) -> tuple["Trial", "Suite"]:
    """Return the trial to export, and its suite."""
    from noctuary.bench.suite import suite_by_name
    from noctuary.config import load_settings
    from noctuary.export.choice import choose_trial, require_weights
    from noctuary.plan import suite_of, text_of, trainer_of, with_text

    settings = with_text(load_settings(lab.settings_path), lab, offline=True).training
    if trial_id is None:
        suite = suite_of(settings)
        try:
            return choose_trial(lab, trials, suite, trainer_of(settings)), suite
        except NotFound as error:
            raise NotFound(
                f"{error}: {_evaluating(source)}, or name another with --trial"
            ) from error
    found = [trial for trial in trials if trial.spec.trial_id.startswith(trial_id)]
    if len(found) != 1:
        raise NotFound(
            f"--trial {trial_id}: {counted(len(found), 'trial')} of the design; expected one: "
            "`noctuary show DESIGN` lists them"
        )
    trial = require_weights(lab, found[0])
    return trial, suite_by_name(trial.spec.suite, text_of(settings))
