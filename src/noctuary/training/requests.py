"""What the jobs of a trial are asked, and the files they read and leave.

A request is numbers and paths only: which task the tokens come from, and what comes of the
logits, is not known where candidate code runs. Imports no torch, so that both sides share it.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from noctuary.bench.suite import ModelShape
from noctuary.config import Device
from noctuary.sandbox.protocol import CHECKPOINT_FILES

TOKENS_FILE = "tokens.bin"
TOKEN_TYPE = "<i4"
"""Tokens are raw little-endian integers, without a header."""

CURVE_FILE = "curve.csv"
LOSSES_FILE = "losses.bin"
LOGITS_FILE = "logits.bin"
FLOAT_TYPE = "<f4"
"""Losses and logits are raw little-endian floats, without a header."""

WEIGHTS_FILE = "weights.safetensors"
SNAPSHOTS_FILE = "snapshots.safetensors"

TRAINING_WRITES = (CURVE_FILE, LOSSES_FILE, WEIGHTS_FILE, SNAPSHOTS_FILE, *CHECKPOINT_FILES)
INFERENCE_WRITES = (LOGITS_FILE,)


class ModelRequest(BaseModel):
    """The model around a mixer.

    Attributes:
        seed: of the initialisation, and of what a mixer draws.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mixer: Path
    shape: ModelShape
    vocab_size: int
    ffn_width: int
    seed: int
    device: Device


class TrainRequest(ModelRequest):
    """What a worker needs to train.

    Attributes:
        trial_id: whose checkpoint may be taken up.
        computing: what else a checkpoint must have been computed with, by name.
        tokens: inputs (steps * batch_size, length), then targets likewise.
        learning_rate: peak of the schedule.
        snapshots: steps after which the weights are kept beside the last ones.
        knowing_nothing: loss in nats of a model that has learnt nothing.
        checkpoint_seconds: between two checkpoints.
        deadline_seconds: wall limit of the training, to be seen early and not only when it is over.
    """

    trial_id: str
    computing: dict[str, str] = {}
    tokens: Path
    length: int
    steps: int
    batch_size: int
    weight_decay: float
    learning_rate: float
    snapshots: tuple[int, ...]
    knowing_nothing: float
    checkpoint_seconds: float
    deadline_seconds: float


class Part(BaseModel):
    """Sequences of one length, and the weights that they are mapped with.

    Attributes:
        weights: a safetensors file; None for the weights as initialised.
        begin: what the names of these weights begin with in it; empty for the whole file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: Path | None
    begin: str = ""
    sequences: int
    length: int

    @property
    def tokens(self) -> int:
        return self.sequences * self.length


class LogitsRequest(ModelRequest):
    """What a worker needs to map tokens to logits.

    Attributes:
        tokens: the inputs of all parts, one after the other.
        batch_tokens: how many tokens go through the model at once.
        costs_at: length at which the costs of the model are counted; None for not at all.
    """

    tokens: Path
    parts: tuple[Part, ...]
    batch_tokens: int
    costs_at: int | None = None
