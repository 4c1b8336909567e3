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
from torch.utils.data import DataLoader, IterableDataset

from noctuary.bench.suite import Rung
from noctuary.bench.tasks import IGNORED, Task
from noctuary.training.model import SequenceModel

Batch = tuple[Tensor, Tensor]


class Diverged(RuntimeError):
    """The training loss is not finite."""


class MixerTrainer(lightning.LightningModule):
    """Trains a `SequenceModel`; the network comes in from outside."""

    def __init__(self, model: SequenceModel, rung: Rung) -> None:
        super().__init__()
        self.model = model
        self.rung = rung
        self.losses: list[Tensor] = []
        self.totals = torch.zeros(3, dtype=torch.float64)  # summed loss, hits, scored positions

    def model_step(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean cross entropy in nats over the scored positions, auxiliary loss, logits."""
        tokens, targets = batch
        logits, auxiliary = self.model(tokens)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        return loss, auxiliary, logits

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        loss, auxiliary, _ = self.model_step(batch)
        self.losses.append(loss.detach())
        return loss + auxiliary

    def test_step(self, batch: Batch, _index: int) -> None:
        loss, _, logits = self.model_step(batch)
        scored = batch[1] != IGNORED
        hits = ((logits.argmax(-1) == batch[1]) & scored).sum()
        count = scored.sum()
        self.totals += torch.stack([loss.double() * count, hits.double(), count.double()]).cpu()

    def configure_optimizers(self) -> Any:
        optimiser = torch.optim.AdamW(
            self.parameters(),
            lr=self.rung.learning_rate,
            weight_decay=self.rung.weight_decay,
            betas=(0.9, 0.95),
            fused=True,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, self._relative_rate)
        return [optimiser], [{"scheduler": schedule, "interval": "step"}]

    def _relative_rate(self, step: int) -> float:
        warmup = max(1, self.rung.steps // 10)
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(1, self.rung.steps - warmup)
        return 0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, progress)))


class TaskBatches(IterableDataset[Batch]):
    """The batches of one split, generated at once and cut without copying."""

    def __init__(self, task: Task, *, count: int, batch_size: int, seed: int, train: bool) -> None:
        inputs, targets = task.sequences(count * batch_size, seed, "train" if train else "test")
        self.inputs = torch.from_numpy(inputs).view(count, batch_size, -1)
        self.targets = torch.from_numpy(targets).view(count, batch_size, -1)

    def __iter__(self) -> Iterator[Batch]:
        return iter(zip(self.inputs, self.targets, strict=True))

    def __len__(self) -> int:
        return len(self.inputs)


class TaskData(lightning.LightningDataModule):
    """Training and test batches of a task. The order of the data depends on the seed alone."""

    def __init__(self, task: Task, rung: Rung, seed: int) -> None:
        super().__init__()
        self.batch_size = max(1, rung.tokens_per_step // task.length)
        self.training = TaskBatches(
            task, count=rung.steps, batch_size=self.batch_size, seed=seed, train=True
        )
        self.testing = TaskBatches(
            task,
            count=max(1, rung.test_sequences // self.batch_size),
            batch_size=self.batch_size,
            seed=seed,
            train=False,
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(self.training, batch_size=None)

    def test_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(self.testing, batch_size=None)
