"""Training one mixer, from request to files, inside a worker process.

It writes `curve.csv`, `losses.bin`, `weights.safetensors`, `snapshots.safetensors` and, where it
takes long, checkpoints into its work folder and nothing else. It sees the tokens to train on and
no others. What the weights are worth is measured in other processes, and whether the trial counts
is decided outside (`noctuary.trial_jobs`).
"""

import logging
import platform
import random
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback
from safetensors.torch import save

from noctuary.sandbox.protocol import CHECKPOINT_FILES
from noctuary.training.checkpoint import (
    Checkpoint,
    Identity,
    Keeper,
    UnusableCheckpoint,
    newest_checkpoint,
)
from noctuary.training.devices import (
    Device,
    precision_of,
    resolve_device,
    solve_triangles_in_fp32,
)
from noctuary.training.model import build_model, load_mixer
from noctuary.training.module import OPTIMISER, MixerTrainer, TokenBatches
from noctuary.training.requests import (
    CURVE_FILE,
    FLOAT_TYPE,
    LOSSES_FILE,
    SNAPSHOTS_FILE,
    WEIGHTS_FILE,
    TrainRequest,
)
from noctuary.training.watch import Clock, Pace, Watch

for _noisy in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
    logging.getLogger(_noisy).setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")


def make_trainer(device: Device, folder: Path, callbacks: list[Callback]) -> lightning.Trainer:
    """Return the Trainer of every trial: one device, one pass over the data, nothing written.

    It is told that it is alone: looking for a cluster would start MPI where that is installed.
    """
    return lightning.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        plugins=[LightningEnvironment()],
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


def run_training(
    request: TrainRequest, folder: Path, clock: Clock = time.monotonic
) -> dict[str, Any]:
    """Train; return the outcome, with files beside it in the folder.

    Raises:
        Diverged: the loss left the finite numbers, or stayed far above chance.
        TooSlow: the training would not be done before the deadline.
        Exception: whatever the candidate raises.
    """
    begin = clock()
    device = resolve_device(request.device)
    solve_triangles_in_fp32()
    seed_everything(request.seed)

    mixer_class = load_mixer(request.mixer)
    model = build_model(
        mixer_class, request.shape, request.vocab_size, request.ffn_width, request.seed
    )
    module = MixerTrainer(
        model,
        steps=request.steps,
        weight_decay=request.weight_decay,
        learning_rate=request.learning_rate,
    )
    environment = _environment(device)
    identity: Identity = {
        "trial": request.trial_id,
        "feed-forward width": request.ffn_width,
        **request.computing,
        **environment,
    }
    checkpoints = [folder / name for name in CHECKPOINT_FILES]
    saved, note = _earlier_life(checkpoints, identity, module)
    start = saved.facts.steps_done if saved else 0
    batches = TokenBatches.from_file(request.tokens, request.batch_size, request.length, start)
    watch = Watch(
        folder / CURVE_FILE,
        Pace(request.steps, request.deadline_seconds, clock, begin),
        knowing_nothing=request.knowing_nothing,
        snapshots=request.snapshots,
        saved=saved,
        keeper=Keeper(
            checkpoints,
            identity,
            request.checkpoint_seconds,
            clock,
            newest=saved.path if saved else None,
        ),
    )
    trainer = make_trainer(device, folder, [watch])
    prepared = clock()
    try:
        trainer.fit(module, train_dataloaders=batches)
    finally:
        watch.close()
    trained = clock()
    _hand_over(module, folder)
    earlier = saved.facts.seconds if saved else 0.0
    return {
        "status": "ok",
        "gpu_memory_mb": torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else None,
        "seconds": {
            "setup": prepared - begin,
            "train": trained - prepared + earlier,
            "earlier": earlier,
        },
        "environment": environment | note,
    }


def _hand_over(module: MixerTrainer, folder: Path) -> None:
    """Write what the training came to; not by `save_file`, whose errors hide a full disk."""
    snapshots = {
        f"{step}.{name}": tensor
        for step, weights in sorted(module.snapshots.items())
        for name, tensor in weights.items()
    }
    losses = module.losses.cpu().numpy().astype(FLOAT_TYPE)
    (folder / LOSSES_FILE).write_bytes(losses.tobytes())
    (folder / SNAPSHOTS_FILE).write_bytes(save(snapshots))
    (folder / WEIGHTS_FILE).write_bytes(save(module.weights()))


def seed_everything(seed: int) -> None:
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
        "deterministic": "yes" if torch.are_deterministic_algorithms_enabled() else "no",
        "optimiser": OPTIMISER,
        "torch": torch.__version__,
        "lightning": lightning.__version__,
    }


def _earlier_life(
    paths: Sequence[Path], identity: Identity, module: MixerTrainer
) -> tuple[Checkpoint | None, dict[str, str | int]]:
    """Return the checkpoint to go on from, and what the trial's record says of it."""
    try:
        saved = newest_checkpoint(paths, identity)
        if saved is None:
            return None, {}
        saved.require_fit(module)
    except UnusableCheckpoint as error:
        print(f"the checkpoint is ignored: {error}", flush=True)
        return None, {"checkpoint_ignored": str(error)}
    return saved, {"resumed_after_step": saved.facts.steps_done}
