"""Byte-level language modelling on real text.

The corpus that is on every machine is the source of the running interpreter's standard
library: real, licensed, and there without a network. Its hash is part of the suite's version,
because another Python has another library. Other text comes from a file of raw bytes, which
`noctuary.corpus` prepares.
"""

import hashlib
import lzma
import math
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from noctuary.bench.tasks import Split, Tokens, setting, stream
from noctuary.domain import Capability
from noctuary.errors import EnvironmentRefused, UsageError

CORPUS_BYTES = 2 * 2**20
TEST_SHARE = 0.1
Part = Literal["modules", "packages"]

_TABLES = {"encodings", "pydoc_data"}
"""Packages of generated tables rather than of source."""

_OPTIONAL = {
    *("distutils", "ensurepip", "idlelib", "lib2to3", "tkinter", "turtledemo", "venv"),
    *("test", "tests", "macholib", "__phello__"),
}
"""Packages that distributions leave out, ship apart or patch, and tests at any depth."""


@dataclass(frozen=True)
class ByteText:
    """Windows of `length` bytes; every position is scored with the byte that follows.

    The last tenth of the corpus is for testing, so the splits share no byte.

    Attributes:
        part: the library's top-level modules, or the files of its packages; they share no file.
        path: a file of raw bytes to use instead of the library; empty for none.
        train_share: how much of the text for training is used, from its start, in (0, 1].
    """

    capability: ClassVar[Capability] = "language_modelling"
    vocab_size: ClassVar[int] = 256
    chance_loss: ClassVar[float] = math.log(256)
    length: int
    name: str = "text"
    part: Part = "modules"
    path: str = ""
    train_share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.train_share <= 1:
            raise ValueError(f"a text needs a train_share in (0, 1], not {self.train_share}")

    @classmethod
    def at_level(cls, level: int, length: int, name: str | None = None) -> Self:
        """Return the task with less text to learn from: all, then a quarter of it at each level."""
        shares = (1.0, 1 / 4, 1 / 16, 1 / 64, 1 / 256)
        return cls(length, name or cls.name, train_share=setting(level, shares))

    @property
    def test_length(self) -> int:
        return self.length

    @cached_property
    def chance_accuracy(self) -> float:
        """The share of the commonest byte."""
        data = corpus(self.part, self.path)
        return float(np.bincount(data).max() / len(data))

    @property
    def floor_loss(self) -> float:
        """Half of what a byte of the test part costs a compressor that has read all before it.

        Models of this size stay far above what it costs in full: they see the bytes of one window
        and keep no text.
        """
        return compressed_loss(self.part, self.path) / 2

    @cached_property
    def corpus_hash(self) -> str:
        return hashlib.sha256(corpus(self.part, self.path).tobytes()).hexdigest()

    def sequences(
        self, count: int, seed: int, split: Split, salt: str = ""
    ) -> tuple[Tokens, Tokens]:
        rng = stream(self.name, seed, split, salt)
        data = corpus(self.part, self.path)
        border = _border(data)
        part = data[: int(border * self.train_share)] if split == "train" else data[border:]
        if len(part) < self.length + 2:
            raise UsageError(
                f"the {split} part of the text has {len(part)} bytes; expected at least "
                f"{self.length + 2}: name a longer text"
            )
        starts = rng.integers(0, len(part) - self.length - 1, count)
        windows = part[starts[:, None] + np.arange(self.length + 1)].astype(np.int64)
        return windows[:, :-1], windows[:, 1:]


def _border(data: NDArray[np.uint8]) -> int:
    """Return where the part for testing begins."""
    return int(len(data) * (1 - TEST_SHARE))


@lru_cache(maxsize=8)
def compressed_loss(part: Part = "modules", path: str = "") -> float:
    """Return what the test part adds to a compressed corpus, in nats a byte.

    The compressor is LZMA in a fast setting: 0.2 s for the standard library, where it comes to
    1.2 nats.
    """
    data = corpus(part, path)
    border = _border(data)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": 16 * 2**20}]
    whole, before = (
        len(lzma.compress(piece.tobytes(), format=lzma.FORMAT_RAW, filters=filters))
        for piece in (data, data[:border])
    )
    return max(0.0, (whole - before) * 8 * math.log(2) / max(1, len(data) - border))


@lru_cache(maxsize=8)
def corpus(part: Part = "modules", path: str = "") -> NDArray[np.uint8]:
    """Return the bytes of a file or, without one, the first 2 MiB of the standard library.

    Raises:
        UsageError: the file cannot be read.
        EnvironmentRefused: the standard library is not there as source.
    """
    if path:
        try:
            return np.frombuffer(Path(path).read_bytes(), dtype=np.uint8)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be read ({error.strerror}); expected a file of text"
            ) from error
    folder = Path(sysconfig.get_paths()["stdlib"])
    parts, size = [], 0
    for source in _modules(folder) if part == "modules" else _packages(folder):
        if size >= CORPUS_BYTES:
            break
        parts.append(source.read_bytes())
        size += len(parts[-1])
    if size < CORPUS_BYTES // 2:
        raise EnvironmentRefused(
            f"{folder} has {size} bytes of Python source in its {part}; expected at least "
            f"{CORPUS_BYTES // 2}: install the standard library's source files"
        )
    return np.frombuffer(b"".join(parts)[:CORPUS_BYTES], dtype=np.uint8)


def _modules(folder: Path) -> Iterator[Path]:
    return iter(sorted(folder.glob("*.py")))


def _packages(folder: Path) -> Iterator[Path]:
    """Yield the files of the library's packages, in order of name, without the optional ones."""
    for package in sorted(set(sys.stdlib_module_names) - _TABLES - _OPTIONAL):
        for path in sorted((folder / package).rglob("*.py")):
            if not _OPTIONAL & set(path.relative_to(folder).parts):
                yield path
