"""A toy trial that loads what every trial needs: kernels, Lightning's machinery, the optimiser."""

from pathlib import Path

import torch
from torch import Tensor, nn

from noctuary.bench.suite import TINY
from noctuary.training.trial import TrialRequest, run_trial

_TOY_MIXER = '''"""A mixer that mixes nothing, to warm a process up."""
from noctuary.training.warmup import Identity as Mixer
'''


class Identity(nn.Module):
    """y = W x, token by token, by way of the operators that mixers use most."""

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()
        self.project = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, D)
        mixed = self.project(x)
        eye = torch.eye(mixed.shape[1])
        solved: Tensor = torch.linalg.solve_triangular(eye, mixed, upper=False)
        return solved

    def step(self, x_t: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mixed: Tensor = self.project(x_t)
        return mixed, x_t  # (B, D), (B, D)


def train_toy(folder: Path) -> None:
    """Run tiny trials on the CPU."""
    mixer = folder / "toy.py"
    mixer.write_text(_TOY_MIXER, encoding="utf-8")
    for task in TINY.tasks:
        request = TrialRequest(
            trial_id="toy",
            mixer=mixer,
            suite=TINY.name,
            task=task.name,
            rung=0,
            seed=0,
            learning_rate=TINY.learning_rates[0],
            ffn_width=8,
            device="cpu",
            checkpoint_seconds=600,
            deadline_seconds=600,
        )
        run_trial(request, folder)
