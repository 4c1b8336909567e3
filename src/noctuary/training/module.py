"""The LightningModule that trains a mixer's model, and the batches it is trained on.

The learning rate warms up linearly over the first tenth and falls along a cosine to a tenth of
its peak. Does not test: that is done from logits, in another process (`training.inference`).
"""

import math
from collections.abc import Iterator
from pathlib import Path

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import IterableDataset

from noctuary.bench.tasks import IGNORED, Tokens
from noctuary.training.model import SequenceModel, WrongOutput
from noctuary.training.requests import TOKEN_TYPE

Batch = tuple[Tensor, Tensor]

OPTIMISER = "AdamW, fused"
"""Fused: the other form takes square roots that are not rounded alike on all processors."""

GRADIENT_CLIP = 1.0
"""Largest Euclidean norm of all gradients together."""


class MixerTrainer(lightning.LightningModule):
    """Trains a `SequenceModel`; the network comes in from outside.

    It takes the optimiser's step itself: the norm of the gradients is wanted, and Lightning's
    closures around an automatic step cost as much again as the rest of its loop.

    Attributes:
        steps_done: optimiser steps so far, those before an interruption included.
        losses: training loss in nats of every step, (steps,), on the device; zero where not
            yet done. `norms` holds the gradients' norms before clipping likewise.
        snapshots: step -> the weights after it, on the CPU.
    """

    losses: Tensor
    norms: Tensor

    def __init__(
        self, model: SequenceModel, *, steps: int, weight_decay: float, learning_rate: float
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.steps = steps
        self.weight_decay = weight_decay
        self.learning_rate = learning_rate
        self.steps_done = 0
        self.snapshots: dict[int, dict[str, Tensor]] = {}
        self.register_buffer("losses", torch.zeros(steps))
        self.register_buffer("norms", torch.zeros(steps))

    def model_step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return mean cross entropy in nats over the scored positions, and auxiliary loss."""
        tokens, targets = batch
        logits, auxiliary = self.model(tokens)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        return loss, auxiliary

    def raw_optimiser(self) -> torch.optim.Optimizer:
        """Return the optimiser without Lightning's wrapper, once training has begun."""
        optimiser = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimiser, torch.optim.Optimizer)
        return optimiser

    def on_train_start(self) -> None:
        self.optimiser = self.raw_optimiser()

    def training_step(self, batch: Batch, _index: int) -> None:
        step = self.steps_done
        try:
            loss, auxiliary = self.model_step(batch)
        except WrongOutput as error:
            raise WrongOutput(f"{error}, at step {step + 1}") from error
        self.optimiser.zero_grad()
        (loss + auxiliary).backward()  # type: ignore[no-untyped-call]
        (group,) = self.optimiser.param_groups
        norm = clip_grad_norm_(group["params"], GRADIENT_CLIP)
        group["lr"] = self.learning_rate * self._relative_rate(step)
        self.optimiser.step()
        self.losses[step] = loss.detach()
        self.norms[step] = norm
        self.steps_done = step + 1

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the model's weights, on the CPU."""
        return {name: tensor.cpu().clone() for name, tensor in self.model.state_dict().items()}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self.model.parameters(),
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            betas=(0.9, 0.95),
            fused=True,
        )

    def _relative_rate(self, step: int) -> float:
        warmup = max(1, self.steps // 10)
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(1, self.steps - warmup)
        return 0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, progress)))


class TokenBatches(IterableDataset[Batch]):
    """The batches of a training, whole in memory and cut without copying.

    They are whole already, so Lightning gets them without a `DataLoader` between.

    Args:
        inputs, targets: (steps * batch_size, T), in the order in which they are trained on.
        start: the first batch to give; those before it were given in an earlier life.
    """

    def __init__(self, inputs: Tokens, targets: Tokens, batch_size: int, start: int = 0) -> None:
        _, length = inputs.shape
        self.inputs = torch.from_numpy(inputs).view(-1, batch_size, length)[start:]
        self.targets = torch.from_numpy(targets).view(-1, batch_size, length)[start:]

    @classmethod
    def from_file(cls, path: Path, batch_size: int, length: int, start: int = 0) -> "TokenBatches":
        """Read the inputs and then the targets of all batches from a file of raw integers."""
        tokens = np.fromfile(path, dtype=TOKEN_TYPE).astype(np.int64)
        inputs, targets = tokens.reshape(2, -1, length)
        return cls(inputs, targets, batch_size, start)

    def __iter__(self) -> Iterator[Batch]:
        return iter(zip(self.inputs, self.targets, strict=True))

    def __len__(self) -> int:
        return len(self.inputs)
