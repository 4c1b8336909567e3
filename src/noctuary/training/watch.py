"""What watches a training run: the curve and snapshots it takes, and when it is stopped early.

Looks at the loss at `CURVE_POINTS` points only, since reading it makes a GPU wait. Covers runs
that diverge and runs that would take too long; a step that never ends is the launcher's to end.
"""

import csv
import statistics
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from noctuary.training.checkpoint import Checkpoint, Keeper
from noctuary.training.module import MixerTrainer

CURVE_POINTS = 60
WORSE_THAN_CHANCE = 1.5
"""A mean loss above this many times that of knowing nothing, after a quarter of the training."""

FIRST_LOOK = 5
"""Steps after which the wall time of the whole trial is first projected."""
PATIENCE = 1.2
"""A projection may exceed the limit by so much before it is believed: steps vary."""

Clock = Callable[[], float]
"""Returns seconds that only grow."""


class Diverged(RuntimeError):
    """The loss or its gradient is not finite, or the loss is far above chance."""


class TooSlow(RuntimeError):
    """The trial would not be done within its wall limit."""


class Pace:
    """Projects the wall time of a trial from the median step.

    Args:
        limit: wall seconds that the whole trial may take.
        begin: what the clock said when it began.
    """

    def __init__(self, steps: int, limit: float, clock: Clock, begin: float) -> None:
        self.steps = steps
        self.limit = limit
        self.clock = clock
        self.begin = begin
        self.ticks = 0
        self._last = begin
        self._durations: deque[float] = deque(maxlen=1000)

    def start(self) -> float:
        """Begin the first step; return what the clock says."""
        self._last = self.clock()
        return self._last

    def tick(self) -> float:
        """Count a step that ended; return what the clock says."""
        now = self.clock()
        self._durations.append(now - self._last)
        self._last = now
        self.ticks += 1
        return now

    def require(self, step: int) -> None:
        """Raise TooSlow where the steps after this one take the trial beyond its limit."""
        left = (self.steps - step) * statistics.median(self._durations)
        projected = self._last - self.begin + left
        if projected > PATIENCE * self.limit:
            raise TooSlow(
                f"would take about {projected:.0f} s, limit {self.limit:g} s; stopped at step "
                f"{step}"
            )


class Watch(Callback):
    """Appends the mean training loss since the last point to a curve file, and stops bad runs.

    After the steps that are asked for it keeps a copy of the weights in the module.

    Args:
        knowing_nothing: loss in nats of a model that has learnt nothing.
        snapshots: steps after which the weights are kept.
        saved: where an earlier life of the trial got to; it is taken up when training starts.
        keeper: writes checkpoints at the points.
    """

    def __init__(
        self,
        path: Path,
        pace: Pace,
        knowing_nothing: float,
        snapshots: Collection[int] = (),
        saved: Checkpoint | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self.pace = pace
        self.knowing_nothing = knowing_nothing
        self.snapshots = snapshots
        self.saved = saved
        self.keeper = keeper
        self.every = max(1, pace.steps // CURVE_POINTS)
        self.rows = list(saved.facts.curve) if saved else []
        self.seconds = saved.facts.seconds if saved else 0.0
        self.handle = path.open("w", newline="", encoding="utf-8")
        self.writer = csv.writer(self.handle)
        self.writer.writerows([["step", "loss", "seconds"], *self.rows])

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        assert isinstance(pl_module, MixerTrainer)
        if self.saved is not None:
            self.saved.restore(pl_module)
        self.started = self.pace.start() - self.seconds

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any
    ) -> None:
        assert isinstance(pl_module, MixerTrainer)
        step = pl_module.steps_done
        self.seconds = self.pace.tick() - self.started
        at_end = step == self.pace.steps
        at_point = at_end or step % self.every == 0
        if step in self.snapshots:
            pl_module.snapshots[step] = pl_module.weights()
        if at_point:
            self._look(pl_module, step)
        if self.pace.ticks == FIRST_LOOK or (at_point and self.pace.ticks > FIRST_LOOK):
            self.pace.require(step)
        if at_point and not at_end and self.keeper is not None:
            self.keeper.keep(pl_module, self.seconds, self.rows)

    def _look(self, module: MixerTrainer, step: int) -> None:
        since = (step - 1) // self.every * self.every
        losses, norms = module.losses[since:step].cpu(), module.norms[since:step].cpu()
        loss = float(losses.mean())
        self.rows.append([str(step), f"{loss:.6f}", f"{self.seconds:.3f}"])
        self.writer.writerow(self.rows[-1])
        self.handle.flush()

        finite = losses.isfinite() & norms.isfinite()
        if not finite.all():
            bad = int(finite.logical_not().nonzero()[0])
            of_loss = not losses[bad].isfinite()
            what = "training loss" if of_loss else "norm of the gradients"
            seen = losses[bad] if of_loss else norms[bad]
            raise Diverged(f"the {what} is {float(seen)} at step {since + bad + 1}")
        if since >= self.pace.steps / 4 and loss > WORSE_THAN_CHANCE * self.knowing_nothing:
            raise Diverged(
                f"the training loss is {loss:.3g} at step {step}, above {WORSE_THAN_CHANCE} times "
                f"the {self.knowing_nothing:.3g} of knowing nothing"
            )

    def close(self) -> None:
        self.handle.close()
