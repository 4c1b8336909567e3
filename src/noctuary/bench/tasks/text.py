"""Byte-level language modelling on real text that is on every machine.

The corpus is the source of the running interpreter's standard library: real, licensed, and
there without a network. Its hash is part of the suite's version, because another Python has
another library.
"""

import hashlib
import math
import sysconfig
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noctuary.bench.tasks import Split, Tokens, stream
from noctuary.errors import EnvironmentRefused

CORPUS_BYTES = 2 * 2**20
TEST_SHARE = 0.1


@dataclass(frozen=True)
class ByteText:
    """Windows of `length` bytes; every position is scored with the byte that follows.

    The last tenth of the corpus is for testing, so the splits share no byte.
    """

    length: int
    name: str = "text"
    vocab_size: int = 256
    chance_loss: float = field(default=math.log(256))

    @cached_property
    def corpus_hash(self) -> str:
        return hashlib.sha256(corpus().tobytes()).hexdigest()

    def sequences(self, count: int, seed: int, split: Split) -> tuple[Tokens, Tokens]:
        rng = stream(self.name, seed, split)
        data = corpus()
        border = int(len(data) * (1 - TEST_SHARE))
        part = data[:border] if split == "train" else data[border:]
        starts = rng.integers(0, len(part) - self.length - 1, count)
        windows = part[starts[:, None] + np.arange(self.length + 1)].astype(np.int64)
        return windows[:, :-1], windows[:, 1:]


@lru_cache(maxsize=1)
def corpus() -> NDArray[np.uint8]:
    """Return the first 2 MiB of the standard library's top-level modules, in order of name."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    parts, size = [], 0
    for path in sorted(folder.glob("*.py")):
        if size >= CORPUS_BYTES:
            break
        parts.append(path.read_bytes())
        size += len(parts[-1])
    if size < CORPUS_BYTES // 2:
        raise EnvironmentRefused(
            f"{folder} has {size} bytes of Python source; expected at least "
            f"{CORPUS_BYTES // 2}: install the standard library's source files"
        )
    return np.frombuffer(b"".join(parts)[:CORPUS_BYTES], dtype=np.uint8)
