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
    """y = W x, token by token."""

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()
        self.project = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, D)
        mixed: Tensor = self.project(x)
        return mixed


def train_toy(folder: Path) -> None:
    """Run one tiny trial on the CPU, and the operators that mixers use most."""
    mixer = folder / "toy.py"
    mixer.write_text(_TOY_MIXER, encoding="utf-8")
    for task in TINY.tasks:
        request = TrialRequest(
            mixer=mixer,
            suite=TINY.name,
            task=task.name,
            rung=0,
            seed=0,
            ffn_width=8,
            device="cpu",
        )
        run_trial(request, folder)
    square = torch.eye(4, requires_grad=True)
    torch.linalg.solve_triangular(square, square, upper=False).sum().backward()
