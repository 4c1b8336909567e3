"""One trial, from request to files, inside a worker process.

Covers the training and evaluation of one mixer on one task with one seed. It writes
`curve.csv`, `weights.safetensors` and `outcome.json` into its work folder and nothing else;
whether the trial counts is decided outside (`noctuary.trials`).
"""

import csv
import logging
import math
import platform
import time
import warnings
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from pydantic import BaseModel, ConfigDict
from safetensors.torch import save

from noctuary.bench.suite import Rung, suite_by_name
from noctuary.training.model import build_model, count_parameters, load_mixer
from noctuary.training.module import Diverged, MixerTrainer, TaskData

CURVE_POINTS = 60
GRADIENT_CLIP = 1.0
"""Largest Euclidean norm of all gradients together."""

for _noisy in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
    logging.getLogger(_noisy).setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")


class TrialRequest(BaseModel):
    """What a worker needs to run a trial; all of it is fixed by the spec and the audit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mixer: Path
    suite: str
    task: str
    rung: int
    seed: int
    ffn_width: int
    device: Literal["auto", "cpu", "cuda"]


class CurveWriter(Callback):
    """Appends the mean training loss since the last point to `curve.csv`, and stops divergence.

    Reading the loss only at the points spares a GPU the waiting.
    """

    def __init__(self, path: Path, steps: int) -> None:
        self.every = max(1, steps // CURVE_POINTS)
        self.started = time.monotonic()
        self.handle = path.open("w", newline="", encoding="utf-8")
        self.writer = csv.writer(self.handle)
        self.writer.writerow(["step", "loss", "seconds"])

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any
    ) -> None:
        step = trainer.global_step
        if step % self.every and step != trainer.max_steps:
            return
        assert isinstance(pl_module, MixerTrainer)
        loss = float(torch.stack(pl_module.losses).mean())
        pl_module.losses.clear()
        self.writer.writerow([step, f"{loss:.6f}", f"{time.monotonic() - self.started:.3f}"])
        self.handle.flush()
        if not math.isfinite(loss):
            raise Diverged(f"the training loss is {loss} at step {step}")

    def close(self) -> None:
        self.handle.close()


def resolve_device(device: str) -> str:
    """Return `cuda` where it was asked for or is there, else `cpu`. Touches CUDA: after a fork."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def make_trainer(
    rung: Rung, device: str, folder: Path, callbacks: list[Callback]
) -> lightning.Trainer:
    """Return the Trainer of every trial: one device, no logs, no checkpoints, no bar."""
    return lightning.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        precision="32-true",  # the triangular solve of the delta rule knows no bf16
        max_steps=rung.steps,
        max_epochs=1,
        gradient_clip_val=GRADIENT_CLIP,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )


def run_trial(request: TrialRequest, folder: Path) -> dict[str, Any]:
    """Train and evaluate; return the outcome, with files beside it in the folder.

    Raises:
        Diverged: the loss left the finite numbers.
        Exception: whatever the candidate raises.
    """
    begin = time.monotonic()
    suite = suite_by_name(request.suite)
    task, rung = suite.task(request.task), suite.rungs[request.rung]
    device = resolve_device(request.device)

    mixer_class = load_mixer(request.mixer)
    model = build_model(mixer_class, suite.shape, task.vocab_size, request.ffn_width, request.seed)
    module = MixerTrainer(model, rung)
    data = TaskData(task, rung, request.seed)
    curve = CurveWriter(folder / "curve.csv", rung.steps)
    trainer = make_trainer(rung, device, folder, [curve])
    prepared = time.monotonic()
    try:
        trainer.fit(module, datamodule=data)
    finally:
        curve.close()
    trained = time.monotonic()
    trainer.test(module, datamodule=data, verbose=False)
    evaluated = time.monotonic()

    loss, hits, scored = (float(total) for total in module.totals)
    if scored == 0 or not math.isfinite(loss):
        raise Diverged(f"the evaluation loss is {loss}")
    loss /= scored
    weights = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    # not `save_file`: it says that the disk is full in an error of its own
    (folder / "weights.safetensors").write_bytes(save(weights))
    return {
        "status": "ok",
        "score": 1.0 - loss / task.chance_loss,
        "metrics": {"loss": loss, "accuracy": hits / scored, "scored": scored},
        "parameters": count_parameters(model),
        "steps": trainer.global_step,
        "tokens": rung.steps * data.batch_size * task.length,
        "seconds": {
            "setup": prepared - begin,
            "train": trained - prepared,
            "evaluate": evaluated - trained,
        },
        "environment": {
            "device": torch.cuda.get_device_name() if device == "cuda" else platform.machine(),
            "accelerator": device,
            "threads": torch.get_num_threads(),
            "instruction_set": torch.backends.cpu.get_cpu_capability(),
            "torch": torch.__version__,
            "lightning": lightning.__version__,
        },
    }
