"""Jobs that train a mixer behind the layers, for the tests of the layers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from noctuary.bench.suite import ModelShape
from noctuary.policy import Layer
from noctuary.sandbox.limits import Limits
from noctuary.sandbox.protocol import OUTCOME_FILE, OUTPUT_FILE, Job
from noctuary.training.requests import TOKEN_TYPE, TOKENS_FILE, TRAINING_WRITES, TrainRequest

STEPS, BATCH, LENGTH, VOCABULARY = 6, 8, 16, 11
READ = "candidate code was read"

MIXER = '''"""A mixer that says that it was read, and does something."""
print("{read}", flush=True)
import ctypes, gc, mmap, os, socket, threading
import torch
from torch import nn

{statements}

class Mixer(nn.Module):
    def __init__(self, d_model, n_heads=2):
        super().__init__()
        self.project = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x):
        return torch.cumsum(self.project(x), dim=1) / 16
'''


@dataclass(frozen=True)
class Work:
    """A folder with a job's data, and a mixer beside it."""

    folder: Path
    mixer: Path

    @property
    def printed(self) -> str:
        return (self.folder / OUTPUT_FILE).read_text()

    @property
    def outcome(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.folder / OUTCOME_FILE).read_text())
        return found

    def request(self, device: str = "cpu") -> TrainRequest:
        return TrainRequest(
            mixer=self.mixer,
            shape=ModelShape(d_model=16, n_heads=2, n_layers=2, parameter_budget=0),
            vocab_size=VOCABULARY,
            ffn_width=8,
            seed=3,
            device=device,
            trial_id="confined",
            tokens=self.folder / TOKENS_FILE,
            length=LENGTH,
            steps=STEPS,
            batch_size=BATCH,
            weight_decay=0.01,
            learning_rate=5e-3,
            snapshots=(STEPS // 2,),
            knowing_nothing=10.0,
            checkpoint_seconds=600,
            deadline_seconds=600,
        )

    def job(
        self,
        *,
        device: str = "cpu",
        demanded: Sequence[Layer] = (),
        wall_seconds: float = 60,
        memory_mb: int = 512,
        file_mb: int = 4,
    ) -> Job:
        return Job(
            kind="train",
            request=self.request(device).model_dump(mode="json"),
            folder=str(self.folder),
            limits=Limits(wall_seconds=wall_seconds, memory_mb=memory_mb, file_mb=file_mb),
            readable=(str(self.mixer),),
            writable=TRAINING_WRITES,
            demanded=tuple(demanded),
        )


def make_work(root: Path, statements: str = "", **layers: Sequence[str] | str) -> Work:
    """Make a folder for a job whose mixer runs the statements when it is read.

    Args:
        layers: what `weaker_server` is to do with them.
    """
    folder = root / "work"
    folder.mkdir(parents=True)
    mixer = root / "mixer.py"
    mixer.write_text(MIXER.format(read=READ, statements=statements))
    tokens = np.arange(2 * STEPS * BATCH * LENGTH) * 7 % 13 % VOCABULARY
    (folder / TOKENS_FILE).write_bytes(tokens.astype(TOKEN_TYPE).tobytes())
    (folder / "layers.json").write_text(json.dumps(layers))
    return Work(folder, mixer)
