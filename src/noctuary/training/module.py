"""The LightningModule that trains a mixer's model, and the data it is trained on.

One `model_step` serves training and testing. The learning rate warms up linearly over the
first tenth and falls along a cosine to a tenth of its peak.
"""

import math
from collections.abc import Iterator
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import IterableDataset

from noctuary.bench.suite import Rung
from noctuary.bench.tasks import IGNORED, Split, Task
from noctuary.training.model import SequenceModel, WrongOutput

Batch = tuple[Tensor, Tensor]

GRADIENT_CLIP = 1.0
"""Largest Euclidean norm of all gradients together."""

TEST_BATCH = 4
"""Tokens of a test batch, in training batches: larger ones are cheaper, and keep no gradients."""


class MixerTrainer(lightning.LightningModule):
    """Trains a `SequenceModel`; the network comes in from outside.

    It takes the optimiser's step itself: the norm of the gradients is wanted, and Lightning's
    closures around an automatic step cost as much again as the rest of its loop.

    Attributes:
        steps_done: optimiser steps so far, those before an interruption included.
        losses: training loss in nats of every step, (steps,), on the device; zero where not
            yet done. `norms` holds the gradients' norms before clipping likewise.
        totals: of the evaluation: summed loss, hits, scored positions.
    """

    losses: Tensor
    norms: Tensor
    totals: Tensor

    def __init__(self, model: SequenceModel, rung: Rung, learning_rate: float) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.rung = rung
        self.learning_rate = learning_rate
        self.steps_done = 0
        self.register_buffer("losses", torch.zeros(rung.steps))
        self.register_buffer("norms", torch.zeros(rung.steps))
        self.register_buffer("totals", torch.zeros(3, dtype=torch.float64))

    def model_step(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean cross entropy in nats over the scored positions, auxiliary loss, logits."""
        tokens, targets = batch
        logits, auxiliary = self.model(tokens)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        return loss, auxiliary, logits

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
            loss, auxiliary, _ = self.model_step(batch)
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

    def test_step(self, batch: Batch, _index: int) -> None:
        loss, _, logits = self.model_step(batch)
        scored = batch[1] != IGNORED
        hits = ((logits.argmax(-1) == batch[1]) & scored).sum()
        count = scored.sum()
        self.totals += torch.stack([loss.double() * count, hits.double(), count.double()])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self.model.parameters(),
            lr=self.learning_rate,
            weight_decay=self.rung.weight_decay,
            betas=(0.9, 0.95),
            fused=True,
        )

    def _relative_rate(self, step: int) -> float:
        warmup = max(1, self.rung.steps // 10)
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(1, self.rung.steps - warmup)
        return 0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, progress)))


class TaskBatches(IterableDataset[Batch]):
    """The batches of one split, generated at once and cut without copying.

    Args:
        start: the first batch to give; those before it were given in an earlier life.
    """

    def __init__(
        self, task: Task, *, count: int, batch_size: int, seed: int, split: Split, start: int = 0
    ) -> None:
        inputs, targets = task.sequences(count * batch_size, seed, split)
        self.inputs = torch.from_numpy(inputs).view(count, batch_size, -1)[start:]
        self.targets = torch.from_numpy(targets).view(count, batch_size, -1)[start:]

    def __iter__(self) -> Iterator[Batch]:
        return iter(zip(self.inputs, self.targets, strict=True))

    def __len__(self) -> int:
        return len(self.inputs)


class TaskData(lightning.LightningDataModule):
    """Training and test batches of a task. The order of the data depends on the seed alone.

    The batches are whole already, so Lightning gets them without a `DataLoader` between.

    Args:
        start: the optimiser steps that are done.
    """

    def __init__(self, task: Task, rung: Rung, seed: int, start: int = 0) -> None:
        super().__init__()
        self.batch_size = max(1, rung.tokens_per_step // task.length)
        test_batch = max(1, TEST_BATCH * rung.tokens_per_step // task.test_length)
        test_batch = min(test_batch, rung.test_sequences)
        self.training = TaskBatches(
            task,
            count=rung.steps,
            batch_size=self.batch_size,
            seed=seed,
            split="train",
            start=start,
        )
        self.testing = TaskBatches(
            task,
            count=rung.test_sequences // test_batch,
            batch_size=test_batch,
            seed=seed,
            split="test",
        )

    def train_dataloader(self) -> Any:
        return self.training

    def test_dataloader(self) -> Any:
        return self.testing
