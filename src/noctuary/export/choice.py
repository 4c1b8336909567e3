"""Which trained weights of a mixer are exported, and what their file says of the model.

By default those of a language model on bytes, the one task whose tokens mean something outside of
the lab, from the highest rung, of the first seed: the best of several seeds would be a choice by
luck, and its scores would promise too much.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from noctuary.bench.suite import Suite
from noctuary.bench.tasks import Task
from noctuary.bench.tasks.text import ByteText
from noctuary.domain import Trial
from noctuary.errors import CheckFailed, NotFound
from noctuary.lab import Lab
from noctuary.plan import at_best_rate
from noctuary.training.requests import WEIGHTS_FILE


class Sizes(NamedTuple):
    """What the weights say of the model around the mixer."""

    vocab_size: int
    d_model: int
    n_layers: int
    ffn_width: int


def is_text(task: Task) -> bool:
    """Whether the tokens of a task are bytes of text."""
    return isinstance(task, ByteText)


def weights_of(lab: Lab, trial: Trial) -> Path:
    return lab.trials / trial.spec.trial_id / WEIGHTS_FILE


def choose_trial(lab: Lab, trials: Sequence[Trial], suite: Suite, trainer: str) -> Trial:
    """Return the language model of a candidate to export.

    Where the learning rate was still to be chosen, it is the best one of that seed. Trials of
    another trainer are taken only where the lab's own trained none.

    Raises:
        NotFound: none of the trials is one, with weights.
    """
    texts = [task.name for task in suite.tasks if is_text(task)]
    usable = [
        trial
        for trial in trials
        if trial.spec.suite == suite.version
        and trial.spec.task in texts
        and trial.status == "ok"
        and weights_of(lab, trial).is_file()
    ]
    own = [trial for trial in usable if trial.spec.trainer == trainer] or usable
    if not own:
        raise NotFound(
            f"no trial on {' or '.join(texts) or 'text'} of {suite.version} left weights; expected "
            "a trained language model"
        )
    highest = max(trial.spec.rung for trial in own)
    found = at_best_rate(trial for trial in own if trial.spec.rung == highest)
    return min(found.values(), key=lambda trial: trial.spec.seed)


def require_weights(lab: Lab, trial: Trial) -> Trial:
    """Return the trial where it can be exported.

    Raises:
        NotFound: it left no weights.
    """
    if trial.status != "ok" or not weights_of(lab, trial).is_file():
        raise NotFound(
            f"trial {trial.spec.trial_id} is {trial.status} and left no weights at "
            f"{weights_of(lab, trial)}; expected a finished trial: name another with --trial"
        )
    return trial


def sizes_of(path: Path) -> Sizes:
    """Return the sizes that a file of weights says, from its header alone.

    Raises:
        CheckFailed: the file is damaged, or of another kind of model.
    """
    try:
        with safe_open(path, framework="numpy") as weights:
            vocab_size, d_model = weights.get_slice("embedding.weight").get_shape()
            ffn_width, _ = weights.get_slice("blocks.0.mlp.0.weight").get_shape()
            layers = {name.split(".")[1] for name in weights.keys() if name.startswith("blocks.")}  # noqa: SIM118
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckFailed(
            f"{path} does not hold the weights of a model ({error}); expected what the trial "
            "wrote: remove its folder and train it again"
        ) from error
    return Sizes(vocab_size, d_model, len(layers), ffn_width)
