"""A toy trial that loads what every trial needs: kernels, Lightning's machinery, the optimiser.

It runs in a process that is forked for each job, and leaves that process fit for it: where torch
sees a GPU, the first backward pass starts threads that no fork has and that every later backward
pass wants, and whoever asks CUDA anything spoils it for all forks. So the toy has gradients of
zero, and no GPU is seen here.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from noctuary.bench.suite import ModelShape
from noctuary.training.inference import run_inference
from noctuary.training.requests import (
    TOKEN_TYPE,
    TOKENS_FILE,
    WEIGHTS_FILE,
    LogitsRequest,
    ModelRequest,
    Part,
    TrainRequest,
)
from noctuary.training.trial import run_training

_TOY_MIXER = '''"""A mixer that mixes nothing, to warm a process up."""
from noctuary.training.warmup import Identity as Mixer
'''

VOCABULARY, LENGTH, STEPS, BATCH = 11, 16, 4, 8


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
    """Train a tiny model on counting, on the CPU, and map its tokens to logits.

    No task of a suite is touched: what this process knows, every candidate knows. And no
    gradient is computed: this process will be forked.
    """
    mixer = folder / "toy.py"
    mixer.write_text(_TOY_MIXER, encoding="utf-8")
    tokens = folder / TOKENS_FILE
    counting = np.arange(2 * STEPS * BATCH * LENGTH) % VOCABULARY
    tokens.write_bytes(counting.astype(TOKEN_TYPE).tobytes())
    model = ModelRequest(
        mixer=mixer,
        shape=ModelShape(d_model=16, n_heads=2, n_layers=2, parameter_budget=0),
        vocab_size=VOCABULARY,
        ffn_width=8,
        seed=0,
        device="cpu",
    )
    training = TrainRequest(
        **model.model_dump(),
        trial_id="toy",
        tokens=tokens,
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
    weights = folder / WEIGHTS_FILE
    whole = Part(weights=weights, sequences=BATCH, length=LENGTH)
    start = Part(weights=None, sequences=BATCH, length=LENGTH)
    inference = LogitsRequest(
        **model.model_dump(),
        tokens=tokens,
        parts=(start, whole),
        batch_tokens=BATCH * LENGTH,
        costs_at=LENGTH,
    )
    with _no_gpu_seen(), _no_backward_pass():
        run_training(training, folder)
        run_inference(inference, folder)


@contextlib.contextmanager
def _no_gpu_seen() -> Iterator[None]:
    """Let torch and Lightning find no GPU, without asking CUDA, for as long as this lasts."""
    before = dict(os.environ)
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _no_backward_pass() -> Iterator[None]:
    """Let `backward` fill gradients with zeros, and not start the engine that computes them."""
    real = torch.autograd.backward
    torch.autograd.backward = _fill_with_zeros  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.autograd.backward = real


def _fill_with_zeros(loss: Tensor, *_: object, **__: object) -> None:
    """Give every leaf that the loss depends on a gradient of zero."""
    ahead, seen = [loss.grad_fn], set()
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            leaf.grad = torch.zeros_like(leaf)
        ahead += [before for before, _ in node.next_functions]
