"""One trial, from request to files, inside a worker process.

Covers the training and evaluation of one mixer on one task with one seed. It writes
`curve.csv`, `weights.safetensors`, `outcome.json` and, where it takes long, a checkpoint into
its work folder and nothing else; whether the trial counts is decided outside
(`noctuary.trials`).
"""

import logging
import math
import platform
import random
import time
import warnings
from pathlib import Path
from typing import Any, Literal

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from pydantic import BaseModel, ConfigDict
from safetensors.torch import save

from noctuary.bench.suite import Suite, suite_by_name
from noctuary.bench.tasks import Task
from noctuary.sandbox.protocol import CHECKPOINT_FILE
from noctuary.training import measures
from noctuary.training.checkpoint import (
    Checkpoint,
    Identity,
    Keeper,
    UnusableCheckpoint,
    read_checkpoint,
)
from noctuary.training.devices import (
    Device,
    pays_to_compile,
    precision_of,
    resolve_device,
    solve_triangles_in_fp32,
)
from noctuary.training.model import build_model, count_parameters, load_mixer
from noctuary.training.module import MixerTrainer, TaskData
from noctuary.training.watch import Clock, Diverged, Pace, Watch

for _noisy in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
    logging.getLogger(_noisy).setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")


class TrialRequest(BaseModel):
    """What a worker needs to run a trial; all of it is fixed by the spec, audit and settings.

    Attributes:
        trial_id: whose checkpoint may be taken up.
        text: file of the suite's text task; None for the shipped corpus.
        learning_rate: peak of the schedule.
        compile: whether a training that is long enough may be compiled; compiling starts
            processes, which a sandbox may forbid.
        checkpoint_seconds: between two checkpoints.
        deadline_seconds: wall limit of the trial, to be seen early and not only when it is over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trial_id: str
    mixer: Path
    suite: str
    text: Path | None = None
    task: str
    rung: int
    seed: int
    learning_rate: float
    ffn_width: int
    device: Literal["auto", "cpu", "cuda"]
    compile: bool = False
    checkpoint_seconds: float
    deadline_seconds: float


def make_trainer(device: Device, folder: Path, callbacks: list[Callback]) -> lightning.Trainer:
    """Return the Trainer of every trial: one device, one pass over the data, nothing written."""
    return lightning.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        precision=precision_of(device),
        max_epochs=1,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )


def run_trial(request: TrialRequest, folder: Path, clock: Clock = time.monotonic) -> dict[str, Any]:
    """Train and evaluate; return the outcome, with files beside it in the folder.

    Raises:
        Diverged: the loss left the finite numbers, or stayed far above chance.
        TooSlow: the training would not be done before the deadline.
        Exception: whatever the candidate raises.
    """
    begin = clock()
    suite = suite_by_name(request.suite, request.text)
    task, rung = suite.task(request.task), suite.rungs[request.rung]
    device = resolve_device(request.device)
    solve_triangles_in_fp32()
    _seed_everything(request.seed)

    mixer_class = load_mixer(request.mixer)
    model = build_model(mixer_class, suite.shape, task.vocab_size, request.ffn_width, request.seed)
    module = MixerTrainer(model, rung, request.learning_rate)
    environment = _environment(device)
    identity: Identity = {
        "trial": request.trial_id,
        "feed-forward width": request.ffn_width,
        **environment,
    }
    saved, note = _earlier_life(folder / CHECKPOINT_FILE, identity, module)
    data = TaskData(task, rung, request.seed, start=saved.facts.steps_done if saved else 0)
    tokens = rung.steps * data.batch_size * task.length
    if request.compile and pays_to_compile(device, tokens):
        model.compile()
    watch = Watch(
        folder / "curve.csv",
        Pace(rung.steps, request.deadline_seconds, clock, begin),
        knowing_nothing=max(task.chance_loss, math.log(task.vocab_size)),
        saved=saved,
        keeper=Keeper(folder / CHECKPOINT_FILE, identity, request.checkpoint_seconds, clock),
    )
    trainer = make_trainer(device, folder, [watch])
    prepared = clock()
    try:
        trainer.fit(module, datamodule=data)
    finally:
        watch.close()
    trained = clock()
    earlier = saved.facts.seconds if saved else 0.0
    trainer.test(module, datamodule=data, verbose=False)
    evaluated = clock()

    weights = {name: tensor.cpu().clone() for name, tensor in model.state_dict().items()}
    # not `save_file`: it says that the disk is full in an error of its own
    (folder / "weights.safetensors").write_bytes(save(weights))
    score, metrics = _measure(module, suite, task)
    if device == "cuda":
        metrics["gpu_memory_mb"] = torch.cuda.max_memory_allocated() / 2**20
    return {
        "status": "ok",
        "score": score,
        "metrics": metrics,
        "parameters": count_parameters(model),
        "steps": module.steps_done,
        "tokens": tokens,
        "seconds": {
            "setup": prepared - begin,
            "train": trained - prepared + earlier,
            "earlier": earlier,
            "evaluate": evaluated - trained,
            "measure": clock() - evaluated,
        },
        "environment": environment | note,
    }


def _seed_everything(seed: int) -> None:
    """Seed what a mixer may draw from; a warm parent leaves its generators anywhere."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def _environment(device: Device) -> dict[str, str | int]:
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else platform.machine(),
        "accelerator": device,
        "precision": precision_of(device),
        "threads": torch.get_num_threads(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "lightning": lightning.__version__,
    }


def _earlier_life(
    path: Path, identity: Identity, module: MixerTrainer
) -> tuple[Checkpoint | None, dict[str, str | int]]:
    """Return the checkpoint to go on from, and what the trial's record says of it."""
    try:
        saved = read_checkpoint(path, identity)
        if saved is None:
            return None, {}
        saved.require_fit(module)
    except UnusableCheckpoint as error:
        print(f"the checkpoint is ignored: {error}", flush=True)
        return None, {"checkpoint_ignored": str(error)}
    return saved, {"resumed_after_step": saved.facts.steps_done}


def _measure(module: MixerTrainer, suite: Suite, task: Task) -> tuple[float, dict[str, float]]:
    """Return the score and the metrics of a trained and tested module.

    Raises:
        Diverged: the evaluation's loss is not finite.
    """
    loss, hits, scored = (float(total) for total in module.totals)
    if scored == 0 or not math.isfinite(loss):
        raise Diverged(f"the evaluation loss is {loss}")
    loss, accuracy = loss / scored, hits / scored
    learning = measures.learning(module.losses, task.chance_loss)
    model = module.model.eval()
    found = {
        "loss": loss,
        "accuracy": accuracy,
        "scored": scored,
        "learning": learning,
        "steps_to_solve": measures.steps_to_solve(
            module.losses, suite.solved_share * task.chance_loss
        ),
        "flops_per_token": measures.flops_per_token(model, task.length),
        "state_size": measures.state_size(model, task.length),
    }
    score = measures.score(task, suite.weights, loss, accuracy, learning)
    return score, {name: float(value) for name, value in found.items() if value is not None}
